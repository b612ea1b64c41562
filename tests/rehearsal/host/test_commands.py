from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from rehearsal.host import commands
from rehearsal.host.sandbox import wait_until


def test_a_failed_tool_is_named_with_the_end_of_its_output(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "print('x' * 5000); import sys; sys.exit('no such mirror')"
    with pytest.raises(commands.ToolError, match=r"exited with code 1: (?s:.*)no such mirror") as failed:
        commands.run([sys.executable, "-c", script], timeout=20, log=log)
    assert len(str(failed.value)) < 2000
    assert "x" * 5000 in log.read_text()


def test_a_tool_that_hangs_is_killed_with_its_child_processes(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"sleep 60 & echo $! >{child}; echo half way; wait"
    with pytest.raises(commands.ToolError, match=r"did not finish within 2 s: half way"):
        commands.run(["/bin/sh", "-c", script], timeout=2)
    wait_until(lambda: why_running(int(child.read_text())), what="the child's end", deadline=5)


def why_running(pid: int) -> str | None:
    alive = psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return f"{pid} runs" if alive else None


def test_a_missing_tool_is_a_sentence() -> None:
    with pytest.raises(commands.ToolError, match="no-such-tool is not installed"):
        commands.run(["no-such-tool"], timeout=1)

"""The scripts on the Pulumi CLI: what an update that was killed leaves, and a backend that can't be written to."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rehearsal.workspace import Workspace
from scripts.exits import Exit
from scripts.stacks import NO_STACK

from .conftest import OpenStack
from .test_killed import killed

pytestmark = pytest.mark.engine
TIMEOUT_S = 300


def script(workspace: Workspace, name: str, *args: str) -> tuple[int, dict[str, Any]]:
    """As a person runs it in the project's folder."""
    done = subprocess.run(
        [sys.executable, "-m", f"scripts.{name}", *args, "--stack", "dev", "--json"],
        cwd=workspace.project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_after_a_killed_update_the_next_command_names_pulumis_lock_and_goes_on_without_it(
    workspace: Workspace, stack_in_bucket: OpenStack
) -> None:
    dev = stack_in_bucket("dev")
    killed(dev, after=3, pause=0)
    code, answer = script(workspace, "up")
    assert code == Exit.LOCKED
    assert "Pulumi's own lock of the stack is held since an update by" in answer["error"]
    assert "`pulumi cancel --stack dev` and the same command again" in answer["error"]
    dev.cancel()
    code, answer = script(workspace, "up")
    assert (code, answer["ok"]) == (Exit.OK, True)
    dev.refresh(clear_pending_creates=True)
    assert (dev.export_stack().deployment or {}).get("pending_operations") in (None, [])
    assert script(workspace, "up")[1]["changed_resources"] == 0


def test_the_selected_stack_is_pulumis_own_also_where_pulumi_is_not_asked(
    workspace: Workspace, stack: OpenStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "from scripts.stacks import {0}; print({0}())"
    asked = [program.format("selected_stack"), program.format("selected_stack_on_disk")]
    run = functools.partial(subprocess.run, cwd=workspace.project, capture_output=True, text=True, check=False)
    for name in ("dev", "prod"):  # making a stack selects it
        stack(name)
        assert [run([sys.executable, "-c", each]).stdout for each in asked] == [f"{name}\n"] * 2
    monkeypatch.setenv("PULUMI_STACK", "dev")
    assert [run([sys.executable, "-c", each]).stdout for each in asked] == ["dev\n"] * 2
    monkeypatch.delenv("PULUMI_STACK")
    run(["pulumi", "stack", "unselect"])
    none = run([sys.executable, "-m", "scripts.status", "--json"])
    assert (none.returncode, json.loads(none.stdout)["error"]) == (Exit.USAGE, NO_STACK)


def test_a_backend_that_is_no_folder_is_one_sentence(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{file}/state")
    code, answer = script(workspace, "status")
    assert code == Exit.FAILED
    assert str(file) in answer["error"]
    assert len(answer["error"].splitlines()) == 1

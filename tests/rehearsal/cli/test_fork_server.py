"""Fork server: commands run as if Python had been started for each, and end with their clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.cli import fork_client, supervised
from rehearsal.host.processes import alive, identify
from tests.rehearsal.cli.host import wait_until

REPORT = """
import json, os, sys
sent = sys.stdin.read()
loaded = "Vpc" in vars(sys.modules["pulumi_aws.ec2"]) if "pulumi_aws.ec2" in sys.modules else False
print(json.dumps([__name__, sys.argv[1:], sent, os.environ["OWN"], "THEIRS" in os.environ, os.getcwd(), loaded]))
print("said", file=sys.stderr)
import other
sys.exit(other.CODE)
"""
BLOCKED = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("part", "w").write(f"{os.getpid()} {child.pid}")
os.rename("part", "pids")
time.sleep(600)
"""


@pytest.fixture(scope="module")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("fork-server") / "socket"
    argv = [sys.executable, "-I", "-S", supervised.__file__, *fork_client.serve_command(str(path))]
    theirs = {**os.environ, "THEIRS": "1"}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, env=theirs, start_new_session=True) as process:
        wait_until(path.exists)
        yield path
        assert process.stdin is not None
        process.stdin.close()


def start(folder: Path, *argv: str, socket: Path | None) -> subprocess.Popen[str]:
    own = {"OWN": "mine", "PYTHONPATH": str(folder / "modules")}
    return subprocess.Popen(
        [sys.executable, "-I", "-S", fork_client.__file__, *argv],
        cwd=folder,
        env=own | ({fork_client.VARIABLE: str(socket)} if socket else {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "report.py").write_text(REPORT)
    (tmp_path / "modules" / "other.py").write_text("CODE = 7")
    (tmp_path / "blocked.py").write_text(BLOCKED)
    return tmp_path


@pytest.mark.parametrize("argv", [("-u", "modules/report.py"), ("-P", "-m", "report"), ("-m", "report")], ids=" ".join)
@pytest.mark.parametrize("server", ["running", "unset", "not listening"])
def test_a_command_runs_as_if_python_had_been_started(
    request: pytest.FixtureRequest, folder: Path, server: str, argv: tuple[str, ...]
) -> None:
    socket = {"unset": None, "not listening": folder / "socket"}.get(server) or (
        request.getfixturevalue("fork_server") if server == "running" else None
    )
    process = start(folder, *argv, "a", "b c", socket=socket)
    output, errors = process.communicate("sent")
    assert json.loads(output) == ["__main__", ["a", "b c"], "sent", "mine", False, str(folder), server == "running"]
    assert (process.returncode, errors) == (7, "said\n")


def blocked(folder: Path, fork_server: Path) -> tuple[subprocess.Popen[str], list[int]]:
    process = start(folder, "blocked.py", socket=fork_server)
    wait_until((folder / "pids").exists)
    return process, [int(pid) for pid in (folder / "pids").read_text().split()]


@pytest.mark.parametrize("number", ["KILL", "INT", "TERM"])
def test_a_command_ends_with_its_client(folder: Path, fork_server: Path, number: str) -> None:
    process, pids = blocked(folder, fork_server)
    running = [found for pid in pids if (found := identify(pid))]
    assert len(running) == 2
    subprocess.run(["kill", f"-{number}", str(process.pid)], check=True)
    assert process.communicate()[1] == ""
    wait_until(lambda: not any(alive(each) for each in running))


def test_a_command_ends_with_its_clients_parent(folder: Path, fork_server: Path) -> None:
    """A plugin has its own process group: a signal to the engine's does not reach the client."""
    argv = [sys.executable, "-I", "-S", fork_client.__file__, "blocked.py"]
    parent = f"import subprocess; subprocess.run({argv!r}, process_group=0)"
    environment = {fork_client.VARIABLE: str(fork_server)}
    with subprocess.Popen([sys.executable, "-c", parent], cwd=folder, env=environment) as process:
        wait_until((folder / "pids").exists)
        running = [found for pid in (folder / "pids").read_text().split() if (found := identify(int(pid)))]
        assert len(running) == 2
        process.kill()
    wait_until(lambda: not any(alive(each) for each in running))


def test_a_killed_commands_exit_code_is_as_in_shells(folder: Path, fork_server: Path) -> None:
    process, pids = blocked(folder, fork_server)
    subprocess.run(["kill", "-KILL", str(pids[0])], check=True)
    process.communicate()
    assert process.returncode == 128 + 9


def test_commands_run_concurrently(folder: Path, fork_server: Path) -> None:
    first, second = (start(folder, "modules/report.py", each, socket=fork_server) for each in "12")
    assert json.loads(second.communicate("x")[0])[1] == ["2"]
    assert json.loads(first.communicate("y")[0])[1] == ["1"]

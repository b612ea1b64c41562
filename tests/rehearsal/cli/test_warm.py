"""Commands of a warm Python: what each gets and gives as if it had been started itself, and when it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.cli import supervised, warmed
from rehearsal.host.processes import alive, identify
from tests.rehearsal.cli.machine import wait_until

TELL = """
import json, os, sys
asked = sys.stdin.read()
loaded = "Vpc" in vars(sys.modules["pulumi_aws.ec2"]) if "pulumi_aws.ec2" in sys.modules else False
print(json.dumps([__name__, sys.argv[1:], asked, os.environ["OWN"], "THEIRS" in os.environ, os.getcwd(), loaded]))
print("said", file=sys.stderr)
import beside
sys.exit(beside.CODE)
"""
BLOCKED = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("part", "w").write(f"{os.getpid()} {child.pid}")
os.rename("part", "pids")
time.sleep(600)
"""


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("warm") / "socket"
    argv = [sys.executable, "-I", "-S", supervised.__file__, *warmed.serve_command(str(path))]
    theirs = {**os.environ, "THEIRS": "1"}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, env=theirs, start_new_session=True) as process:
        wait_until(path.exists)
        yield path
        assert process.stdin is not None
        process.stdin.close()


def start(folder: Path, *argv: str, socket: Path | None) -> subprocess.Popen[str]:
    own = {"OWN": "mine", "PYTHONPATH": str(folder / "modules")}
    return subprocess.Popen(
        [sys.executable, "-I", "-S", warmed.__file__, *argv],
        cwd=folder,
        env=own | ({warmed.VARIABLE: str(socket)} if socket else {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "tell.py").write_text(TELL)
    (tmp_path / "modules" / "beside.py").write_text("CODE = 7")
    (tmp_path / "blocked.py").write_text(BLOCKED)
    return tmp_path


@pytest.mark.parametrize("argv", [("-u", "modules/tell.py"), ("-P", "-m", "tell"), ("-m", "tell")], ids=" ".join)
@pytest.mark.parametrize("place", ["warm", "nowhere", "nobody"])
def test_a_command_runs_as_if_python_had_been_started(
    request: pytest.FixtureRequest, folder: Path, place: str, argv: tuple[str, ...]
) -> None:
    socket = {"nowhere": None, "nobody": folder / "socket"}.get(place) or (
        request.getfixturevalue("warm") if place == "warm" else None
    )
    process = start(folder, *argv, "a", "b c", socket=socket)
    said, told = process.communicate("asked")
    assert json.loads(said) == ["__main__", ["a", "b c"], "asked", "mine", False, str(folder), place == "warm"]
    assert (process.returncode, told) == (7, "said\n")


def blocked(folder: Path, warm: Path) -> tuple[subprocess.Popen[str], list[int]]:
    process = start(folder, "blocked.py", socket=warm)
    wait_until((folder / "pids").exists)
    return process, [int(pid) for pid in (folder / "pids").read_text().split()]


@pytest.mark.parametrize("number", ["KILL", "INT", "TERM"])
def test_a_command_ends_with_its_client(folder: Path, warm: Path, number: str) -> None:
    process, pids = blocked(folder, warm)
    running = [found for pid in pids if (found := identify(pid))]
    assert len(running) == 2
    subprocess.run(["kill", f"-{number}", str(process.pid)], check=True)
    assert process.communicate()[1] == ""
    wait_until(lambda: not any(alive(each) for each in running))


def test_a_command_ends_with_its_clients_parent(folder: Path, warm: Path) -> None:
    """A plugin is a process group of its own: what kills the engine's does not reach its client."""
    argv = [sys.executable, "-I", "-S", warmed.__file__, "blocked.py"]
    parent = f"import subprocess; subprocess.run({argv!r}, process_group=0)"
    environment = {warmed.VARIABLE: str(warm)}
    with subprocess.Popen([sys.executable, "-c", parent], cwd=folder, env=environment) as process:
        wait_until((folder / "pids").exists)
        running = [found for pid in (folder / "pids").read_text().split() if (found := identify(int(pid)))]
        assert len(running) == 2
        process.kill()
    wait_until(lambda: not any(alive(each) for each in running))


def test_a_killed_command_is_told_as_shells_do(folder: Path, warm: Path) -> None:
    process, pids = blocked(folder, warm)
    subprocess.run(["kill", "-KILL", str(pids[0])], check=True)
    process.communicate()
    assert process.returncode == 128 + 9


def test_commands_run_side_by_side(folder: Path, warm: Path) -> None:
    first, second = (start(folder, "modules/tell.py", each, socket=warm) for each in "12")
    assert json.loads(second.communicate("x")[0])[1] == ["2"]
    assert json.loads(first.communicate("y")[0])[1] == ["1"]

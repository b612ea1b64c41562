"""Playground from start to stop: all printed commands are executed, and nothing is left behind."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from rehearsal.playground import session
from rehearsal.playground.instructions import BROKEN, CHAPTERS

ROOT = Path(__file__).resolve().parent.parent
READY = "docs/app-contract.md"  # in the last line that a start prints
START_LIMIT_S, COMMAND_LIMIT_S, END_LIMIT_S = 600.0, 600.0, 300.0  # generous, for a busy host
SETTINGS = ROOT / "Pulumi.playground.yaml"

Ending = Callable[[subprocess.Popen[bytes], int], None]

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="the playground needs root"),
]


@dataclass
class Playground:
    process: subprocess.Popen[str]
    output: Path
    git: str

    @property
    def printed(self) -> str:
        return self.output.read_text()

    @property
    def page(self) -> str:
        return str(re.findall(r"^page: (http\S+)$", self.printed, re.MULTILINE)[0])

    @property
    def commands(self) -> list[str]:
        """The printed commands, in order."""
        return re.findall(r"^    (\S.*)$", self.printed, re.MULTILINE)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{self.page}state.json", timeout=10).json()
        return found

    def type(self, *commands: str) -> subprocess.CompletedProcess[str]:
        """Run commands in a new shell, as a person would, with Pulumi's confirmations skipped."""
        return subprocess.run(
            ["bash", "-e", "-c", "\n".join(commands)],
            cwd=ROOT,
            env={**os.environ, "PULUMI_SKIP_CONFIRMATIONS": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )


@pytest.fixture
def playground(tmp_path: Path) -> Iterator[Playground]:
    output = tmp_path / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "rehearsal.playground", "start", "--port", "28700"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    started = Playground(process=process, output=output, git=git_status())
    try:
        wait_ready(started)
        yield started
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=END_LIMIT_S)


def wait_ready(playground: Playground) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while READY not in playground.printed:
        if playground.process.poll() == 3:
            pytest.skip(f"this host can't run the playground: {playground.printed}")
        assert playground.process.poll() is None, playground.printed
        assert time.monotonic() < deadline, playground.printed
        time.sleep(0.5)


def git_status() -> str:
    return subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def live(state: dict[str, Any]) -> list[str]:
    return [color["color"] for color in state["colors"] if color["live"]]


def left(run: str) -> list[str]:
    """Leftovers: files, and processes of the run."""
    files = [str(path) for path in (SETTINGS, session.FOLDER) if path.exists()]
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [*files, *(line for line in listed.splitlines() if run in line)]


def test_all_printed_commands_work_and_nothing_is_left(playground: Playground) -> None:
    commands = playground.commands
    assert commands == [command for chapter in CHAPTERS for command in chapter.commands]
    enter, *shown, stop = commands
    assert git_status() == playground.git
    broken = next(index for index, command in enumerate(shown) if BROKEN in command)
    faults = next(index for index, command in enumerate(shown) if "FAULT=" in command)

    done = playground.type(enter, *shown[:broken])
    assert done.returncode == 0, done.stdout + done.stderr
    state = playground.state()
    assert live(state) == ["green"]
    assert sum(row["failed"] for row in state["traffic"]) == 0
    entries = [event["text"] for event in state["events"]]
    assert any("blue 90 %, green 10 %" in text for text in entries)
    assert any(text.startswith("Rollback: ok after ") for text in entries)

    refused = next(index for index in range(broken, faults) if shown[index] == "pulumi up")
    done = playground.type(enter, *shown[broken : refused + 1])
    assert done.returncode != 0
    assert 'before hook "gate-before-users" failed' in done.stdout + done.stderr
    done = playground.type(enter, *shown[refused + 1 :], stop)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"instance: killed i-\w+ of green", done.stdout)
    assert "restore: ended database." in done.stdout
    assert playground.process.wait(timeout=10) == 0
    assert left(state["run"]) == []
    assert git_status() == playground.git


def close_terminal(_process: subprocess.Popen[bytes], terminal: int) -> None:
    os.close(terminal)


def send(number: signal.Signals) -> Ending:
    return lambda process, _terminal: process.send_signal(number)


@pytest.mark.parametrize(
    "end",
    [send(signal.SIGKILL), send(signal.SIGINT), close_terminal],
    ids=["killed", "Ctrl-C", "terminal closed"],
)
def test_however_it_ends_during_its_start_nothing_is_left(end: Ending) -> None:
    terminal, inner = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "rehearsal.playground"],
        cwd=ROOT,
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
    )
    os.close(inner)
    deadline = time.monotonic() + START_LIMIT_S
    while not SETTINGS.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
    assert SETTINGS.exists(), os.read(terminal, 10_000).decode()
    running = session.find()
    assert running is not None
    assert running.process.pid == process.pid
    end(process, terminal)
    process.wait(timeout=END_LIMIT_S)
    deadline = time.monotonic() + END_LIMIT_S
    while (found := left(running.run)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert found == []

"""Commands of the playground: without one, with another one running, or without root."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rehearsal.host import processes
from rehearsal.host.claims import Claims
from rehearsal.playground import __main__ as playground
from rehearsal.playground import session
from rehearsal.playground.board import Board
from rehearsal.playground.server import CommandRefusedError, PageServer
from rehearsal.playground.session import Session

RUNNER = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary project: the real one may have a playground."""
    found = tmp_path / "build" / "playground"
    found.mkdir(parents=True)
    monkeypatch.setattr(session, "FOLDER", found)
    monkeypatch.setattr(playground, "ROOT", tmp_path)
    monkeypatch.setattr(playground, "SETTINGS", tmp_path / "Pulumi.playground.yaml")
    monkeypatch.setattr(playground, "sweep", lambda: ())
    return found


@pytest.fixture
def other(folder: Path) -> Iterator[Session]:
    """Another process with a page, as `stop` and `fault` see a running playground."""

    def inject(name: str) -> dict[str, str]:
        if name == "zone":
            raise CommandRefusedError("FAULT=zone: this fault is active already")
        return {"did": f"broke {name}", "check": "the page"}

    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    def end(_: str) -> dict[str, str]:
        process.terminate()
        process.wait()
        return {}

    server = PageServer(Board("run-1"), {"faults": inject, "stop": end}, port=0)
    identity = processes.identify(process.pid)
    assert identity is not None
    found = Session(process=identity, page=server.url, run="run-1", token=server.token)
    found.write()
    yield found
    server.close()
    process.kill()
    process.wait()


def invoke(*argv: str) -> tuple[int, str]:
    done = RUNNER.invoke(playground.cli, list(argv))
    return done.exit_code, done.output.strip()


def test_without_root_the_message_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    code, text = invoke("start")
    assert (code, text.count("\n")) == (3, 0)
    assert "sudo make playground" in text
    assert invoke()[0] == 3


def test_stop_without_a_playground_is_no_failure(folder: Path) -> None:
    assert invoke("stop") == (0, session.NOT_RUNNING)


def test_a_fault_without_a_playground_is_one_sentence(folder: Path) -> None:
    assert invoke("fault", "zone") == (3, session.NOT_RUNNING)


def test_an_unknown_fault_lists_all(folder: Path) -> None:
    code, text = invoke("fault", "fire")
    assert (code, text.count("\n")) == (2, 0)
    assert "instance, zone, database, docker, app, slow, s3, restore" in text


@pytest.mark.parametrize("argv", [("faults",), ("fault", "list")])
def test_faults_are_listed_without_a_playground(folder: Path, argv: tuple[str, ...]) -> None:
    code, text = invoke(*argv)
    assert (code, text.count("make playground FAULT=")) == (0, 8)


def test_a_session_of_a_dead_process_counts_as_none(folder: Path, other: Session) -> None:
    other.post("stop")
    assert session.find() is None
    assert invoke("stop") == (0, session.NOT_RUNNING)


def test_the_session_file_is_readable_by_its_owner_only(folder: Path, other: Session) -> None:
    assert (folder / session.FILE).stat().st_mode & 0o777 == 0o600


def test_a_fault_is_sent_to_the_running_playground(other: Session) -> None:
    code, text = invoke("fault", "instance")
    assert code == 0
    assert text.splitlines() == ["instance: broke instance.", "What to check: the page.", other.page]
    assert invoke("fault", "zone") == (1, "FAULT=zone: this fault is active already")


def test_stop_waits_for_the_end(other: Session) -> None:
    assert invoke("stop") == (0, "The playground has stopped and is torn down.")
    assert not other.alive


def test_stop_ends_a_playground_whose_page_does_not_answer(folder: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    identity = processes.identify(process.pid)
    assert identity is not None
    Session(process=identity, page="http://127.0.0.1:9/", run="run-1", token="t").write()
    assert invoke("stop")[0] == 0
    assert process.wait(timeout=10) != 0


def test_a_second_start_names_the_first_ones_page_and_touches_nothing(
    other: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Claims, "exclusive", lambda *_: False)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    code, text = invoke("start")
    assert (code, text.count("\n")) == (3, 0)
    assert all(each in text for each in (other.page, str(other.process.pid), "make playground-stop"))
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_start_gives_up_waiting_for_another_playground(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Claims, "exclusive", lambda *_: False)
    monkeypatch.setattr(playground, "TEARDOWN_TIMEOUT_S", 0.0)
    code, text = invoke("start")
    assert code == 3
    assert "make playground-stop" in text


def test_an_existing_stack_file_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    playground.SETTINGS.write_text("config: {}\n")
    code, text = invoke("start")
    assert (code, playground.SETTINGS.read_text()) == (3, "config: {}\n")
    assert str(playground.SETTINGS) in text

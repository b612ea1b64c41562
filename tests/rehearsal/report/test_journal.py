"""Journal of a rehearsal: during the run, after success, and after a failure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rehearsal.report.journal import CutoverRecord, Journal


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(tmp_path: Path, clock: Clock) -> Journal:
    return Journal(path=tmp_path / "deep" / "report.json", engine="pulumi", clock=clock)


def written(journal: Journal) -> dict[str, object]:
    content: dict[str, object] = json.loads(journal.path.read_text())
    return content


def test_a_step_is_timed_from_the_start_of_the_rehearsal(journal: Journal, clock: Clock) -> None:
    clock.now = 102.5
    with journal.step("publish v1") as step:
        clock.now = 104.0
        step.note = "3 bytes"
    assert written(journal)["steps"] == [
        {"name": "publish v1", "started": 2.5, "seconds": 1.5, "ok": True, "note": "3 bytes"}
    ]


def test_a_failed_step_is_written_and_its_error_propagates(journal: Journal) -> None:
    with pytest.raises(ValueError, match="no such thing"), journal.step("smoke-test green"):
        raise ValueError("no such thing")
    steps = written(journal)["steps"]
    assert isinstance(steps, list)
    assert [(step["name"], step["ok"]) for step in steps] == [("smoke-test green", False)]
    assert written(journal)["ok"] is False


def test_a_rehearsal_is_ok_only_when_it_finished_and_no_request_failed(journal: Journal) -> None:
    with journal.step("all of it"):
        pass
    assert not journal.ok
    journal.finished = True
    assert journal.ok
    journal.load = {"requests": 10, "failed": 1}
    assert not journal.ok
    journal.load = {"requests": 10, "failed": 0}
    journal.error = "interrupted"
    assert not journal.ok


def test_the_report_has_the_fields_that_outside_checks_read(journal: Journal) -> None:
    journal.cutovers.append(
        CutoverRecord(
            source="blue v1",
            target="green v2",
            seconds=2.34567,
            changed_resources=1,
            requests=900,
            failed=0,
            command_seconds=3.0,
            up_seconds=2.0,
            started=50.0,
        )
    )
    journal.write()
    report = written(journal)
    fixed = ["engine", "resources", "hello_seconds", "steps", "cutovers", "load", "boots", "gaps", "ok"]
    assert list(report)[: len(fixed)] == fixed
    assert report["hello_seconds"] is None
    assert report["cutovers"] == [
        {
            "from": "blue v1",
            "to": "green v2",
            "seconds": 2.346,
            "changed_resources": 1,
            "requests": 900,
            "failed": 0,
            "command_seconds": 3.0,
            "up_seconds": 2.0,
            "started": 50.0,
        }
    ]


def test_no_temporary_file_stays_next_to_the_report(journal: Journal) -> None:
    journal.write()
    journal.write()
    assert [path.name for path in journal.path.parent.iterdir()] == ["report.json"]

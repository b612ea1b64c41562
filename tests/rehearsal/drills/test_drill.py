"""Drill runs: verification by the request log, deadlines, reset, and failures that don't stop the others."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

import pytest

from rehearsal.drills.drill import Drill, DrillError, DrillOutcome, DrillRun, run_drills
from rehearsal.drills.fixture import Fixture
from rehearsal.load.request_log import Request, RequestLog

GOOD = DrillOutcome(
    detected_by="boot step verify", detected_seconds=0.25, recovered_seconds=4.5, notified=True, note="notified"
)


class FakeFixture(Fixture):
    """A fixture without an environment: it counts how often it was asked to be calm, and may refuse."""

    def __init__(self, *refusals: str) -> None:
        self.refusals, self.calls = list(refusals), 0

    def reset(self) -> None:
        self.calls += 1
        if self.refusals and (reason := self.refusals.pop(0)):
            raise TimeoutError(reason)


def request(due: float, error: str = "") -> Request:
    return Request(due, 0.0, 10.0, 503 if error else 200, "v1", "blue", error)


def drill(play: Callable[[Fixture], DrillOutcome] = lambda _scene: GOOD, **changes: object) -> Drill:
    return dataclasses.replace(Drill(fault="bundle corrupt", inject=play), **changes)  # type: ignore[arg-type]


def ran(subject: Drill, outcome: DrillOutcome | None = GOOD, error: str = "") -> DrillRun:
    return DrillRun(drill=subject, began=100.0, ended=110.0, outcome=outcome, error=error)


def failing(problem: Exception) -> Callable[[Fixture], DrillOutcome]:
    def play(_scene: Fixture) -> DrillOutcome:
        raise problem

    return play


def test_a_row_has_the_outcome_and_the_requests_of_the_window() -> None:
    log = RequestLog([request(99.9, "before"), request(100.0), request(109.9), request(110.0, "after")])
    assert ran(drill()).row(log).as_json() == {
        "fault": "bundle corrupt",
        "detected_by": "boot step verify",
        "detected_seconds": 0.25,
        "recovered_seconds": 4.5,
        "requests": 2,
        "failed": 0,
        "notified": True,
        "ok": True,
        "retried": 0,
        "seconds": 10.0,
        "note": "notified",
    }


@pytest.mark.parametrize(
    ("subject", "outcome", "problem"),
    [
        (drill(), GOOD, "1 requests failed, allowed are 0; notified"),
        (
            drill(max_error_rate=0.5),
            dataclasses.replace(GOOD, notified=False),
            "the alerts topic was not notified; notified",
        ),
        (drill(max_error_rate=0.5, max_detection_seconds=0.2), GOOD, "detected after 0.2 s, allowed are 0.2; notified"),
        (drill(max_error_rate=0.5, max_recovery_seconds=4.0), GOOD, "recovered after 4.5 s, allowed are 4; notified"),
    ],
)
def test_a_finished_drill_can_still_fail(subject: Drill, outcome: DrillOutcome, problem: str) -> None:
    row = ran(subject, outcome).row(RequestLog([request(101.0), request(102.0, "status 503")]))
    assert (row.ok, row.note) == (False, problem)


def test_without_must_notify_no_notification_is_needed() -> None:
    row = ran(drill(must_notify=False), dataclasses.replace(GOOD, notified=False)).row(RequestLog([request(101.0)]))
    assert (row.ok, row.notified) == (True, False)


def test_without_traffic_a_drill_fails() -> None:
    row = ran(drill()).row(RequestLog([]))
    assert (row.ok, row.note) == (False, "there was no traffic; notified")


def test_a_drill_that_failed_has_no_times() -> None:
    row = ran(drill(), None, "failed at image, expected verify").row(RequestLog([request(101.0)]))
    assert (row.ok, row.detected_seconds, row.recovered_seconds, row.note) == (
        False,
        None,
        None,
        "failed at image, expected verify",
    )


def test_a_note_is_one_line() -> None:
    row = ran(drill(), None, "it did not become healthy\n  i-1 failed:\n\n  at run").row(RequestLog([request(101.0)]))
    assert row.note == "it did not become healthy i-1 failed: at run"


def test_retried_requests_are_counted_separately() -> None:
    log = RequestLog([request(101.0), request(102.0)], retried=frozenset([99.0, 102.0]))
    row = ran(drill()).row(log)
    assert (row.requests, row.failed, row.retried) == (2, 0, 1)


def test_a_failed_drill_does_not_stop_the_others() -> None:
    fixture, seen = FakeFixture(), list[DrillRun]()
    drills = [drill(failing(DrillError("not detected"))), drill(failing(ValueError("no such thing"))), drill()]
    runs = run_drills(fixture, drills, seen.append)
    assert [run.error for run in runs] == ["not detected", "ValueError: no such thing", ""]
    assert seen == runs


def test_a_hanging_drill_is_ended_at_its_deadline() -> None:
    def hang(_scene: Fixture) -> DrillOutcome:
        threading.Event().wait(60)
        return GOOD

    runs = run_drills(FakeFixture(), [drill(hang, deadline=0.05), drill()], lambda _run: None)
    assert [run.error for run in runs] == ["bundle corrupt: not finished within 0.05 s", ""]


def test_a_failed_reset_fails_the_drill_and_is_retried_once() -> None:
    fixture = FakeFixture("green is left")
    runs = run_drills(fixture, [drill(), drill()], lambda _run: None)
    assert [run.error for run in runs] == ["the fixture could not be reset: TimeoutError: green is left", ""]
    assert fixture.calls == 3


def test_after_a_second_failed_reset_all_drills_are_skipped() -> None:
    fixture = FakeFixture("green is left", "green is still left")
    runs = run_drills(fixture, [drill(), drill(), drill()], lambda _run: None)
    skipped = "skipped: the fixture could not be reset: TimeoutError: green is still left"
    assert [run.error for run in runs[1:]] == [skipped, skipped]
    assert fixture.calls == 2

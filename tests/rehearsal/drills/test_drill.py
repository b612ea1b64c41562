"""A drill is judged by what its users met, and one that fails or hangs doesn't stop the others."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

import pytest

from rehearsal.drills.drill import Drill, DrillError, Outcome, Played, perform
from rehearsal.drills.fixture import Scene
from rehearsal.load.request_log import Request, RequestLog

GOOD = Outcome(detected_by="boot step verify", detected_seconds=0.25, recovered_seconds=4.5, notified=True, note="told")


class Stand(Scene):
    """A scene without a stage: it counts how often it was asked to be calm, and may refuse."""

    def __init__(self, *refusals: str) -> None:
        self.refusals, self.calls = list(refusals), 0

    def calm(self) -> None:
        self.calls += 1
        if self.refusals and (reason := self.refusals.pop(0)):
            raise TimeoutError(reason)


def request(due: float, error: str = "") -> Request:
    return Request(due, 0.0, 10.0, 503 if error else 200, "v1", "blue", error)


def drill(play: Callable[[Scene], Outcome] = lambda _scene: GOOD, **changes: object) -> Drill:
    return dataclasses.replace(Drill(fault="bundle corrupt", play=play), **changes)  # type: ignore[arg-type]


def played(of: Drill, outcome: Outcome | None = GOOD, error: str = "") -> Played:
    return Played(drill=of, began=100.0, ended=110.0, outcome=outcome, error=error)


def failing(problem: Exception) -> Callable[[Scene], Outcome]:
    def play(_scene: Scene) -> Outcome:
        raise problem

    return play


def test_a_row_tells_what_the_drill_saw_and_its_users_met() -> None:
    log = RequestLog([request(99.9, "before"), request(100.0), request(109.9), request(110.0, "after")])
    assert played(drill()).row(log).as_json() == {
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
        "note": "told",
    }


@pytest.mark.parametrize(
    ("of", "outcome", "problem"),
    [
        (drill(), GOOD, "1 requests failed, allowed are 0; told"),
        (drill(bad_share=0.5), dataclasses.replace(GOOD, notified=False), "nobody was told; told"),
        (drill(bad_share=0.5, detected_within=0.2), GOOD, "detected after 0.2 s, allowed are 0.2; told"),
        (drill(bad_share=0.5, recovered_within=4.0), GOOD, "recovered after 4.5 s, allowed are 4; told"),
    ],
)
def test_a_drill_that_came_to_its_end_can_still_be_bad(of: Drill, outcome: Outcome, problem: str) -> None:
    row = played(of, outcome).row(RequestLog([request(101.0), request(102.0, "status 503")]))
    assert (row.ok, row.note) == (False, problem)


def test_where_nobody_has_to_be_told_silence_is_fine() -> None:
    row = played(drill(notifies=False), dataclasses.replace(GOOD, notified=False)).row(RequestLog([request(101.0)]))
    assert (row.ok, row.notified) == (True, False)


def test_without_users_nothing_is_proven() -> None:
    row = played(drill()).row(RequestLog([]))
    assert (row.ok, row.note) == (False, "no user asked for anything meanwhile; told")


def test_a_drill_that_failed_has_no_times() -> None:
    row = played(drill(), None, "told was image, expected verify").row(RequestLog([request(101.0)]))
    assert (row.ok, row.detected_seconds, row.recovered_seconds, row.note) == (
        False,
        None,
        None,
        "told was image, expected verify",
    )


def test_a_note_is_one_line() -> None:
    row = played(drill(), None, "it did not come up\n  i-1 failed:\n\n  at run").row(RequestLog([request(101.0)]))
    assert row.note == "it did not come up i-1 failed: at run"


def test_what_users_sent_again_is_counted_apart() -> None:
    log = RequestLog([request(101.0), request(102.0)], retried=frozenset([99.0, 102.0]))
    row = played(drill()).row(log)
    assert (row.requests, row.failed, row.retried) == (2, 0, 1)


def test_one_that_fails_does_not_stop_the_others() -> None:
    scene, seen = Stand(), list[Played]()
    drills = [drill(failing(DrillError("nobody saw it"))), drill(failing(ValueError("no such thing"))), drill()]
    done = perform(scene, drills, seen.append)
    assert [one.error for one in done] == ["nobody saw it", "ValueError: no such thing", ""]
    assert seen == done


def test_one_that_hangs_is_ended_at_its_deadline() -> None:
    def hang(_scene: Scene) -> Outcome:
        threading.Event().wait(60)
        return GOOD

    done = perform(Stand(), [drill(hang, deadline=0.05), drill()], lambda _one: None)
    assert [one.error for one in done] == ["bundle corrupt: not over within 0.05 s", ""]


def test_a_scene_that_does_not_become_calm_fails_the_drill_and_is_asked_once_more() -> None:
    scene = Stand("green is left")
    done = perform(scene, [drill(), drill()], lambda _one: None)
    assert [one.error for one in done] == ["the scene did not become calm: TimeoutError: green is left", ""]
    assert scene.calls == 3


def test_on_a_scene_that_stays_broken_nothing_more_is_played() -> None:
    scene = Stand("green is left", "green is still left")
    done = perform(scene, [drill(), drill(), drill()], lambda _one: None)
    skipped = "not played: the scene did not become calm: TimeoutError: green is still left"
    assert [one.error for one in done[1:]] == [skipped, skipped]
    assert scene.calls == 2

"""Run drills: timing, deadline, reset in between, and verification by the load's request log."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

from rehearsal.drills.fixture import Fixture
from rehearsal.load.request_log import RequestLog

NOTE_LENGTH = 500  # of a note in the report; the full text is in the run's logs


class DrillError(Exception):
    """The stack did not handle the fault as expected; the message says how."""


class DeadlineError(DrillError):
    """The drill exceeded its deadline."""


@dataclass(frozen=True, kw_only=True)
class DrillOutcome:
    """Result of a drill. Times: seconds since the start of the fault; `notified`: on the alerts topic."""

    detected_by: str
    detected_seconds: float
    recovered_seconds: float
    notified: bool
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Drill:
    """One fault: `inject` returns once the stack has recovered from it, or raises.

    `deadline`: seconds for the entire drill. `must_notify`: whether the alerts topic must be notified.
    `max_error_rate`: allowed share of failed requests (0.01 is one in a hundred).
    """

    fault: str
    inject: Callable[[Fixture], DrillOutcome]
    deadline: float = 150.0
    must_notify: bool = True
    max_error_rate: float = 0.0
    max_detection_seconds: float = float("inf")
    max_recovery_seconds: float = float("inf")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table and of drills.json. The two times are None when the drill failed before.

    `retried`: requests that clients retried, because they were lost with an instance.
    """

    fault: str
    detected_by: str
    detected_seconds: float | None
    recovered_seconds: float | None
    requests: int
    failed: int
    notified: bool
    ok: bool
    retried: int
    seconds: float
    note: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class DrillRun:
    """A drill that ran from `began` to `ended` (epoch seconds); `error`: why it failed or was skipped."""

    drill: Drill
    began: float
    ended: float
    outcome: DrillOutcome | None = None
    error: str = ""

    def row(self, log: RequestLog) -> Row:
        """The run's row, with requests by the load's log: those still in flight are not counted."""
        window, outcome = log.between(self.began, self.ended), self.outcome
        problems = [self.error] if self.error else violations(self.drill, outcome, window.requests, window.failed)
        return Row(
            fault=self.drill.fault,
            detected_by=outcome.detected_by if outcome else "",
            detected_seconds=round(outcome.detected_seconds, 3) if outcome else None,
            recovered_seconds=round(outcome.recovered_seconds, 3) if outcome else None,
            requests=window.requests,
            failed=window.failed,
            notified=outcome.notified if outcome else False,
            ok=outcome is not None and not problems,
            retried=window.retried,
            seconds=round(self.ended - self.began, 3),
            note=_line("; ".join([*problems, *([outcome.note] if outcome and outcome.note else [])])),
        )


def _line(text: str) -> str:
    """The text as one line, truncated."""
    return " ".join(text.split())[:NOTE_LENGTH]


def violations(drill: Drill, outcome: DrillOutcome | None, requests: int, failed: int) -> list[str]:
    """Expectations that a finished drill did not meet, as sentences."""
    if outcome is None:
        return ["it was not run"]
    allowed = int(drill.max_error_rate * requests)
    checks = {
        "there was no traffic": requests == 0,
        f"{failed} requests failed, allowed are {allowed}": failed > allowed,
        "the alerts topic was not notified": drill.must_notify and not outcome.notified,
        f"detected after {outcome.detected_seconds:.1f} s, allowed are {drill.max_detection_seconds:g}": (
            outcome.detected_seconds > drill.max_detection_seconds
        ),
        f"recovered after {outcome.recovered_seconds:.1f} s, allowed are {drill.max_recovery_seconds:g}": (
            outcome.recovered_seconds > drill.max_recovery_seconds
        ),
    }
    return [violation for violation, violated in checks.items() if violated]


def run_drills(fixture: Fixture, drills: Sequence[Drill], report: Callable[[DrillRun], None]) -> list[DrillRun]:
    """Run the drills in sequence; a failed drill doesn't stop the others, a fixture that can't be reset does."""
    runs: list[DrillRun] = []
    broken = ""
    for drill in drills:
        run = _skipped(drill, broken) if broken else _run(fixture, drill)
        broken = broken or (_reset_error(fixture) if run.error else "")
        runs.append(run)
        report(run)
    return runs


def _run(fixture: Fixture, drill: Drill) -> DrillRun:
    """Run one drill. Its window includes the reset: requests that fail in the cleanup count as well."""
    began = time.time()
    outcome, error = None, ""
    try:
        with time_limit(drill.deadline, drill.fault):
            outcome = drill.inject(fixture)
    except Exception as problem:
        error = _sentence(problem)
    reset_error = _reset_error(fixture)
    return DrillRun(drill=drill, began=began, ended=time.time(), outcome=outcome, error=error or reset_error)


def _reset_error(fixture: Fixture) -> str:
    """Reset the fixture; empty on success, else the reason."""
    try:
        fixture.reset()
    except Exception as problem:
        return f"the fixture could not be reset: {_sentence(problem)}"
    return ""


def _skipped(drill: Drill, reason: str) -> DrillRun:
    now = time.time()
    return DrillRun(drill=drill, began=now, ended=now, error=f"skipped: {reason}")


def _sentence(problem: Exception) -> str:
    return str(problem) if isinstance(problem, DrillError) else f"{type(problem).__name__}: {problem}"


@contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Raises DeadlineError in the main thread, for example in a script that hangs, when the block takes longer."""

    def expire(_number: int, _frame: FrameType | None) -> None:
        raise DeadlineError(f"{what}: not finished within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

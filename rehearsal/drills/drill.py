"""A drill plays one fault; here it is played, timed, and judged by what its users met."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

from rehearsal.drills.fixture import Scene
from rehearsal.load.request_log import RequestLog

NOTE_LENGTH = 500  # of a drill's own words in the report: the whole of it stays in the run's logs


class DrillError(Exception):
    """The fault was not met as it must be; the message says in what."""


class DeadlineError(DrillError):
    """The drill was not over in time."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the drill saw. Times are seconds since the fault's begin; `notified`: somebody was told of this fault."""

    detected_by: str
    detected_seconds: float
    recovered_seconds: float
    notified: bool
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Drill:
    """One fault by its name, and how to play it: `play` returns when the fault is over, or raises.

    `deadline`: seconds for the whole of it. `notifies`: whether somebody must be told. `bad_share`: how much of all
    requests may fail (0.01 is one in a hundred). `detected_within`, `recovered_within`: seconds.
    """

    fault: str
    play: Callable[[Scene], Outcome]
    deadline: float = 150.0
    notifies: bool = True
    bad_share: float = 0.0
    detected_within: float = float("inf")
    recovered_within: float = float("inf")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table and of drills.json. The two times are None where the drill did not come so far.

    `retried`: requests that users sent again, because the balancer had lost them with a machine.
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
class Played:
    """A drill that was played from `began` to `ended` (epoch seconds), or why it could not be."""

    drill: Drill
    began: float
    ended: float
    outcome: Outcome | None = None
    error: str = ""

    def row(self, log: RequestLog) -> Row:
        """Judged by the load's own log: complete only for requests that have been answered or given up."""
        users, outcome = log.between(self.began, self.ended), self.outcome
        problems = [self.error] if self.error else objections(self.drill, outcome, users.requests, users.failed)
        return Row(
            fault=self.drill.fault,
            detected_by=outcome.detected_by if outcome else "",
            detected_seconds=round(outcome.detected_seconds, 3) if outcome else None,
            recovered_seconds=round(outcome.recovered_seconds, 3) if outcome else None,
            requests=users.requests,
            failed=users.failed,
            notified=outcome.notified if outcome else False,
            ok=outcome is not None and not problems,
            retried=users.retried,
            seconds=round(self.ended - self.began, 3),
            note=_line("; ".join([*problems, *([outcome.note] if outcome and outcome.note else [])])),
        )


def _line(text: str) -> str:
    """What others wrote may be of several lines, and long."""
    return " ".join(text.split())[:NOTE_LENGTH]


def objections(drill: Drill, outcome: Outcome | None, requests: int, failed: int) -> list[str]:
    """In what a drill that came to its end was not as it must be."""
    if outcome is None:
        return ["it was not played"]
    allowed = int(drill.bad_share * requests)
    found = {
        "no user asked for anything meanwhile": requests == 0,
        f"{failed} requests failed, allowed are {allowed}": failed > allowed,
        "nobody was told": drill.notifies and not outcome.notified,
        f"detected after {outcome.detected_seconds:.1f} s, allowed are {drill.detected_within:g}": (
            outcome.detected_seconds > drill.detected_within
        ),
        f"recovered after {outcome.recovered_seconds:.1f} s, allowed are {drill.recovered_within:g}": (
            outcome.recovered_seconds > drill.recovered_within
        ),
    }
    return [problem for problem, there in found.items() if there]


def perform(scene: Scene, drills: Sequence[Drill], tell: Callable[[Played], None]) -> list[Played]:
    """Play them one after the other; one that fails doesn't stop the others, a scene that stays broken does."""
    done: list[Played] = []
    broken = ""
    for drill in drills:
        played = _skipped(drill, broken) if broken else _play(scene, drill)
        broken = broken or (_calmed(scene) if played.error else "")
        done.append(played)
        tell(played)
    return done


def _play(scene: Scene, drill: Drill) -> Played:
    """Its time ends when all is calm again: what clearing up costs the users is the fault's, too."""
    began = time.time()
    outcome, error = None, ""
    try:
        with limited(drill.deadline, drill.fault):
            outcome = drill.play(scene)
    except Exception as problem:
        error = _sentence(problem)
    calm = _calmed(scene)
    return Played(drill=drill, began=began, ended=time.time(), outcome=outcome, error=error or calm)


def _calmed(scene: Scene) -> str:
    """Empty when everything is as before the drill, else why not."""
    try:
        scene.calm()
    except Exception as problem:
        return f"the scene did not become calm: {_sentence(problem)}"
    return ""


def _skipped(drill: Drill, reason: str) -> Played:
    now = time.time()
    return Played(drill=drill, began=now, ended=now, error=f"not played: {reason}")


def _sentence(problem: Exception) -> str:
    return str(problem) if isinstance(problem, DrillError) else f"{type(problem).__name__}: {problem}"


@contextmanager
def limited(seconds: float, what: str) -> Iterator[None]:
    """DeadlineError in whatever the main thread does, be it a script that hangs, when the block takes longer."""

    def over(_number: int, _frame: FrameType | None) -> None:
        raise DeadlineError(f"{what}: not over within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

"""Whoever changes a stack holds its lock meanwhile, and leaves a record of how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from checks.colors import Color
from checks.fleet import Fleet
from checks.gates import GateClosed
from scripts import history
from scripts.exits import InterruptedByUserError, RefusedError, StuckError, TurnedBackError
from scripts.history import Place, Record
from scripts.interrupts import shielded
from scripts.lock import locked
from scripts.stacks import StackFacts


@dataclass(kw_only=True)
class Run:
    """One change of a stack while it happens."""

    action: str
    source: Place = field(default_factory=Place)
    target: Place = field(default_factory=Place)
    changed_resources: int = 0
    state: str = "nothing was changed"
    """What an interrupted run left, as a person wants to read it."""
    notice: str = ""
    """Whether people were told, as `notices.tell` answers; empty when there was nothing to tell."""
    started: float = field(default_factory=time.monotonic)
    record: Record | None = None

    def end(self, outcome: str, detail: str = "") -> Record:
        self.record = Record(
            action=self.action,
            outcome=outcome,
            seconds=round(time.monotonic() - self.started, 3),
            source=self.source,
            target=self.target,
            detail=detail,
            changed_resources=self.changed_resources,
            notice=self.notice,
        )
        return self.record


@contextmanager
def changing(facts: StackFacts, action: str, *, break_lock: bool = False) -> Iterator[Run]:
    """Hold the stack's lock for one change, and record its outcome, however it ends."""
    run = Run(action=action)
    with locked(facts.s3, facts.bucket, facts.stack, action, break_lock=break_lock) as holder:
        try:
            yield run
        except BaseException as error:
            with shielded():
                history.write(facts.s3, facts.bucket, facts.stack, run.end(_outcome(error), _detail(error)), holder.id)
            if isinstance(error, KeyboardInterrupt):
                raise InterruptedByUserError(f"interrupted; {run.state}") from None
            raise
        with shielded():
            history.write(facts.s3, facts.bucket, facts.stack, run.end("ok"), holder.id)


def place(fleet: Fleet, color: Color) -> Place:
    """What belongs together on this color now."""
    side = fleet.sides[color]
    return Place(
        color=color,
        release=side.release,
        ami=side.group.ami if side.group else "",
        asg=side.group.name if side.group else "",
        target_group=side.target_group_arn,
    )


def _outcome(error: BaseException) -> str:
    endings: tuple[tuple[type[BaseException], str], ...] = (
        (KeyboardInterrupt, "interrupted"),
        (TurnedBackError, "turned back"),
        (StuckError, "stuck"),
        (RefusedError, "refused"),
        (GateClosed, "refused"),
    )
    return next((outcome for kind, outcome in endings if isinstance(error, kind)), "failed")


def _detail(error: BaseException) -> str:
    return str(error)[:2000]

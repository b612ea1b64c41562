"""Whoever changes a stack holds its lock meanwhile, and leaves a record of how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from checks.colors import Color
from checks.fleet import Fleet, client
from checks.gates import GateClosed
from scripts import history, notices
from scripts.display import Display
from scripts.exits import InterruptedByUserError, LockedError, RefusedError, StuckError, TurnedBackError
from scripts.history import Place, Record
from scripts.interrupts import shielded
from scripts.lock import Holder, enter_stage, locked, me
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
    why: str = ""
    took_over: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
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
            why=self.why,
            took_over=self.took_over,
            figures=self.figures,
        )
        return self.record


@contextmanager
def changing(
    facts: StackFacts,
    action: str,
    *,
    break_lock: bool = False,
    why: str = "",
    told_by: Display | None = None,
    lock_required: bool = True,
) -> Iterator[Run]:
    """Hold the stack's lock for one change, and record its outcome, however it ends.

    `told_by`: whose stages belong in the account, of which people hear then unless nothing was changed, and in the
    lock, for the case that nobody comes to write an account. A lock that is not required holds no stages: those cost
    two requests each, while users wait. Without a bucket there is neither lock nor record.
    """
    run, display = Run(action=action, why=why), told_by or Display()
    where = facts.s3, facts.bucket, facts.stack, action
    lock = locked(*where, break_lock=break_lock, required=lock_required, note=display.warn)
    with (
        lock if facts.bucket else nullcontext(me(action)) as holder,
        _stages_in_lock(facts, holder, display) if lock_required else nullcontext(),
    ):
        run.took_over = holder.took_over
        try:
            yield run
        except BaseException as error:
            with shielded():
                _end(facts, run, (_outcome(error), _detail(error)), holder.id, told_by)
            if isinstance(error, KeyboardInterrupt):
                raise InterruptedByUserError(f"interrupted; {run.state}") from None
            raise
        with shielded():
            _end(facts, run, ("ok", ""), holder.id, told_by)


@contextmanager
def _stages_in_lock(facts: StackFacts, holder: Holder, display: Display) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    def nowhere(_: str) -> None:
        return

    def note(stage: str) -> None:
        try:
            enter_stage(client(facts.session, "s3", impatient=True), facts.bucket, facts.stack, holder, stage)
        except (ClientError, BotoCoreError):
            # Without it the lock tells less. Trying again would cost users seconds between the stages.
            display.on_stage = nowhere

    display.on_stage = note
    try:
        yield
    finally:
        display.on_stage = nowhere


def _end(facts: StackFacts, run: Run, ending: tuple[str, str], id: str, told_by: Display | None) -> None:
    if told_by:
        # The stages' own words begin before the colon: "production traffic shift: blue to green".
        stages = {each["name"].partition(":")[0]: each["seconds"] for each in told_by.stages if "seconds" in each}
        run.figures = {**run.figures, "stages": stages}
        if ending[0] != "refused":
            _tell(facts, run, ending, told_by)
    if not facts.bucket:
        run.end(*ending)
        return
    try:
        history.write(facts.s3, facts.bucket, facts.stack, run.end(*ending), id)
    except Exception as error:  # whatever it is: how the run ended, and the lock, matter more than their record
        unrecorded = f"the history has no record of this run: {error}"
        run.end(ending[0], "; ".join(each for each in (ending[1], unrecorded) if each))
        (told_by or Display()).warn(unrecorded)


def _tell(facts: StackFacts, run: Run, ending: tuple[str, str], told_by: Display) -> None:
    content = run.end(*ending).as_json()
    subject = f"{run.action} {ending[0]}: {facts.stack} {run.source} to {run.target}"
    run.notice = notices.tell(facts, subject, **{key: value for key, value in content.items() if key != "notice"})
    if run.notice != notices.TOLD:
        told_by.warn(run.notice)


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
        (LockedError, "refused"),
        (GateClosed, "refused"),
    )
    return next((outcome for kind, outcome in endings if isinstance(error, kind)), "failed")


def _detail(error: BaseException) -> str:
    return str(error)[:2000]

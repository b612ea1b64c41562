"""A run of a command that changes a stack: under the stack's lock, recorded in its history, published."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from ami.boot.messages import ChangeRecord, ColorSnapshot, Kind, Outcome, sanitized
from fleet.colors import Color
from fleet.gates import GateClosed
from fleet.state import Fleet, client
from scripts.cli.display import Display
from scripts.cli.exits import (
    InterruptedByUserError,
    LockedError,
    RefusedError,
    RollbackFailedError,
    RolledBackError,
    UsageError,
)
from scripts.cli.interrupts import uninterruptible
from scripts.cli.notifier import PUBLISHED, publish, secrets_of
from scripts.stack import history
from scripts.stack.automation import StackFacts
from scripts.stack.lock import Holder, enter_stage, locked, me, who


@dataclass(kw_only=True)
class Run:
    """One change of a stack while it happens."""

    kind: Kind
    source: ColorSnapshot = field(default_factory=ColorSnapshot)
    target: ColorSnapshot = field(default_factory=ColorSnapshot)
    changed_resources: int = 0
    state: str = "nothing was changed"
    """What an interrupted run leaves, for the message."""
    notification: str = ""
    """Result of `notifier.publish`; empty where nothing was due."""
    reason: str = ""
    lock_broken: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    record: ChangeRecord | None = None

    def ended(self, facts: StackFacts, outcome: Outcome, error: str) -> ChangeRecord:
        """The sanitized record of the run."""
        record = ChangeRecord(
            kind=self.kind,
            stack=facts.stack,
            region=facts.region,
            outcome=outcome,
            seconds=round(time.monotonic() - self.started, 3),
            source=self.source,
            target=self.target,
            error=error,
            changed_resources=self.changed_resources,
            notification=self.notification,
            reason=self.reason,
            lock_broken=self.lock_broken,
            figures=self.figures,
            who=who(),
            host=socket.gethostname(),
        )
        return sanitized(record, secrets_of(facts))


@contextmanager
def changing(
    facts: StackFacts,
    kind: Kind,
    *,
    break_lock: bool = False,
    reason: str = "",
    display: Display | None = None,
    lock_required: bool = True,
) -> Iterator[Run]:
    """Hold the stack's lock for one change, and record its outcome, however it ends.

    With a `display` its stages go into the record, and the record is published unless nothing was changed. The lock
    holds the current stage, in case the run is killed. A lock that is not required holds no stages, which cost two
    requests each during an outage. Without a bucket there is neither lock nor record.
    """
    run, progress = Run(kind=kind, reason=reason), display or Display()
    where = facts.s3, facts.bucket, facts.stack, kind
    lock = locked(*where, break_lock=break_lock, required=lock_required, note=progress.warn)
    with (
        lock if facts.bucket else nullcontext(me(kind)) as holder,
        _stages_in_lock(facts, holder, progress) if lock_required else nullcontext(),
    ):
        run.lock_broken = holder.lock_broken
        try:
            yield run
        except BaseException as error:
            with uninterruptible():
                _end(facts, run, (_outcome(error), str(error)), holder.id, display)
            if isinstance(error, KeyboardInterrupt):
                raise InterruptedByUserError(f"interrupted; {run.state}") from None
            raise
        with uninterruptible():
            _end(facts, run, (Outcome.OK, ""), holder.id, display)


@contextmanager
def _stages_in_lock(facts: StackFacts, holder: Holder, display: Display) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    def ignore(_: str) -> None:
        return

    def note(stage: str) -> None:
        try:
            enter_stage(client(facts.session, "s3", fail_fast=True), facts.bucket, facts.stack, holder, stage)
        except (ClientError, BotoCoreError):
            # The lock then holds no stage. A retry would delay the next stage by seconds.
            display.on_stage = ignore

    display.on_stage = note
    try:
        yield
    finally:
        display.on_stage = ignore


def _end(facts: StackFacts, run: Run, ending: tuple[Outcome, str], id: str, display: Display | None) -> None:
    if display:
        # A stage's name ends at the colon: "production traffic shift: blue to green".
        stages = {each["name"].partition(":")[0]: each["seconds"] for each in display.stages if "seconds" in each}
        run.figures = {**run.figures, "stages": stages}
    record = run.record = run.ended(facts, *ending)
    if display and record.outcome != Outcome.REFUSED:
        notification = publish(facts, record)
        record = run.record = replace(record, notification=notification)
        if notification != PUBLISHED:
            display.warn(notification)
    if not facts.bucket:
        return
    try:
        history.write(facts.s3, facts.bucket, facts.stack, record, id)
    except Exception as error:  # whatever it is: how the run ended, and the lock, matter more than their record
        unrecorded = f"the history has no record of this run: {error}"
        run.record = replace(record, error="; ".join(each for each in (record.error, unrecorded) if each))
        (display or Display()).warn(unrecorded)


def snapshot(fleet: Fleet, color: Color) -> ColorSnapshot:
    """Release, AMI, group and target group of a color now."""
    side = fleet.colors[color]
    return ColorSnapshot(
        color=color,
        release=side.release,
        ami=side.group.ami if side.group else "",
        asg=side.group.name if side.group else "",
        target_group=side.target_group_arn,
    )


def _outcome(error: BaseException) -> Outcome:
    endings: tuple[tuple[type[BaseException], Outcome], ...] = (
        (KeyboardInterrupt, Outcome.INTERRUPTED),
        (RolledBackError, Outcome.ROLLED_BACK),
        (RollbackFailedError, Outcome.ROLLBACK_FAILED),
        (RefusedError, Outcome.REFUSED),
        (UsageError, Outcome.REFUSED),  # before anything changed: nobody is notified of a typing error
        (LockedError, Outcome.REFUSED),
        (GateClosed, Outcome.REFUSED),
    )
    return next((outcome for kind, outcome in endings if isinstance(error, kind)), Outcome.FAILED)

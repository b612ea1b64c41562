"""A group's members: the states of AWS's lifecycle, and the hooks that hold an instance in one of them."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from moto.autoscaling.models import InstanceState

from rehearsal.cloud.additions.activities import Activity, abandoned


class Lifecycle(StrEnum):
    """The states of a group's member that last long enough to be seen."""

    PENDING = "Pending"
    PENDING_WAIT = "Pending:Wait"
    IN_SERVICE = "InService"
    STANDBY = "Standby"
    TERMINATING = "Terminating"
    TERMINATING_WAIT = "Terminating:Wait"
    TERMINATING_PROCEED = "Terminating:Proceed"

    @property
    def counts(self) -> bool:
        """Whether a member in this state is part of the group's capacity."""
        return self in (Lifecycle.PENDING, Lifecycle.PENDING_WAIT, Lifecycle.IN_SERVICE)

    @property
    def leaves(self) -> bool:
        return self.startswith("Terminating")

    @property
    def goal(self) -> str:
        """What the metadata's autoscaling/target-lifecycle-state says: Terminated as soon as the way out begins."""
        if self.leaves:
            return "Terminated"
        return "Standby" if self is Lifecycle.STANDBY else "InService"


class Transition(StrEnum):
    """What a lifecycle hook can hold up."""

    LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
    TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"


@dataclass(kw_only=True)
class PendingAction:
    """A hook that holds a member until somebody completes it or its heartbeat runs out."""

    hook: str
    heartbeat: int
    default: str
    deadline: float
    token: str = field(default_factory=lambda: str(uuid.uuid4()))
    result: str = ""

    def outcome(self, now: float) -> str:
        return self.result or (self.default if now >= self.deadline else "")


class Member(InstanceState):
    """One instance of a group, with what holds it and the times of its moves."""

    def __init__(self, instance: Any, group: Any) -> None:
        super().__init__(
            instance,
            lifecycle_state=Lifecycle.PENDING,
            protected_from_scale_in=group.new_instances_protected_from_scale_in,
            autoscaling_group=group,
        )
        self.actions: list[PendingAction] = []
        self.moves: list[tuple[str, float]] = [(str(Lifecycle.PENDING), time.time())]
        self.since = time.monotonic()
        self.cause = ""
        self.activity: Activity | None = None  # the last: its launch, then its end

    def move(self, to: Lifecycle) -> None:
        self.lifecycle_state = to
        if to not in (Lifecycle.PENDING_WAIT, Lifecycle.TERMINATING_WAIT):
            self.actions = []  # nothing holds it here: completing an action late is an error
        self.moves.append((str(to), time.time()))
        self.since = time.monotonic()

    def hold(self, transition: Transition) -> bool:
        """Starts to wait for the group's hooks of this kind; False when it has none."""
        group, now = self.auto_scaling_group, time.monotonic()
        hooks = group.autoscaling_backend.describe_lifecycle_hooks(group.name)
        self.actions = [
            PendingAction(
                hook=hook.name,
                heartbeat=hook.heartbeat_timeout,
                default=hook.default_result,
                deadline=now + hook.heartbeat_timeout,
            )
            for hook in hooks
            if hook.lifecycle_transition == transition
        ]
        return bool(self.actions)

    def abandoned(self) -> str:
        """The words of the hook that gave this member up."""
        given_up = next(action for action in self.actions if action.outcome(time.monotonic()) == "ABANDON")
        return abandoned(given_up.token, by_timeout=not given_up.result)

    def outcome(self) -> str:
        """CONTINUE once every hook said so, ABANDON as soon as one does, empty while some are open."""
        results = [action.outcome(time.monotonic()) for action in self.actions]
        if "ABANDON" in results:
            return "ABANDON"
        return "CONTINUE" if all(results) else ""

"""Group members: instances of an Auto Scaling group with lifecycle state and pending hooks."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from moto.autoscaling.models import InstanceState

from rehearsal.cloud.additions.activities import Activity, abandoned_message


class LifecycleState(StrEnum):
    """Lifecycle states of AWS that last long enough to be observed."""

    PENDING = "Pending"
    PENDING_WAIT = "Pending:Wait"
    IN_SERVICE = "InService"
    STANDBY = "Standby"
    TERMINATING = "Terminating"
    TERMINATING_WAIT = "Terminating:Wait"
    TERMINATING_PROCEED = "Terminating:Proceed"

    @property
    def is_active(self) -> bool:
        """Whether a member in this state counts as capacity of the group."""
        return self in (LifecycleState.PENDING, LifecycleState.PENDING_WAIT, LifecycleState.IN_SERVICE)

    @property
    def is_terminating(self) -> bool:
        return self.startswith("Terminating")

    @property
    def target_state(self) -> str:
        """Value of the metadata's autoscaling/target-lifecycle-state: Terminated from the start of a termination."""
        if self.is_terminating:
            return "Terminated"
        return "Standby" if self is LifecycleState.STANDBY else "InService"


class Transition(StrEnum):
    """Transitions that a lifecycle hook can delay."""

    LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
    TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"


@dataclass(kw_only=True)
class PendingAction:
    """A lifecycle action that delays a member until it is completed or its heartbeat times out."""

    hook: str
    heartbeat: int
    default: str
    deadline: float
    token: str = field(default_factory=lambda: str(uuid.uuid4()))
    result: str = ""

    def outcome(self, now: float) -> str:
        return self.result or (self.default if now >= self.deadline else "")


class Member(InstanceState):
    """One instance of a group, with its pending lifecycle actions and state transitions."""

    def __init__(self, instance: Any, group: Any) -> None:
        super().__init__(
            instance,
            lifecycle_state=LifecycleState.PENDING,
            protected_from_scale_in=group.new_instances_protected_from_scale_in,
            autoscaling_group=group,
        )
        self.actions: list[PendingAction] = []
        self.transitions: list[tuple[str, float]] = [(str(LifecycleState.PENDING), time.time())]
        self.since = time.monotonic()
        self.cause = ""
        self.activity: Activity | None = None  # the last: of its launch, then of its termination

    def move(self, to: LifecycleState) -> None:
        self.lifecycle_state = to
        if to not in (LifecycleState.PENDING_WAIT, LifecycleState.TERMINATING_WAIT):
            self.actions = []  # completing an action late is an error
        self.transitions.append((str(to), time.time()))
        self.since = time.monotonic()

    def wait_for_hooks(self, transition: Transition) -> bool:
        """Start to wait for the group's hooks of this transition; False when it has none."""
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

    def abandoned_message(self) -> str:
        """Status message of the lifecycle action that was abandoned."""
        action = next(action for action in self.actions if action.outcome(time.monotonic()) == "ABANDON")
        return abandoned_message(action.token, by_timeout=not action.result)

    def outcome(self) -> str:
        """CONTINUE once every hook has, ABANDON as soon as one has, empty while some are open."""
        results = [action.outcome(time.monotonic()) for action in self.actions]
        if "ABANDON" in results:
            return "ABANDON"
        return "CONTINUE" if all(results) else ""

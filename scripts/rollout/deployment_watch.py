"""A delivery is followed while it goes on: machines that come to nothing are counted, and too many of them end it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from fleet import launches
from fleet.colors import Color
from fleet.launches import CapacityWait, LaunchesStoppedError, LaunchFailure
from fleet.state import client, is_stopped
from scripts.cli.exits import ScriptError

LOOK_EVERY_S = 1.0


class DeliveryFailedError(ScriptError):
    """The release can't be brought up; the message holds what its machines said of themselves."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What is delivered where, and after how many lost machines it is given up."""

    stack: str
    color: Color
    release: str
    ami: str
    max_failed_launches: int

    def is_of(self, group: Mapping[str, Any]) -> bool:
        tags = {tag["Key"]: tag["Value"] for tag in group["Tags"]}
        wanted = {"Stack": self.stack, "Color": self.color, "Release": self.release, "Ami": self.ami}
        return not group.get("Status") and all(tags.get(key) == value for key, value in wanted.items())


@dataclass(kw_only=True)
class Follower:
    """Looks at the delivery's groups once a second, in a thread of its own.

    When too many machines came to nothing, it suspends the group's process Launch. Nothing is launched any more, so
    nothing more is paid; what still boots may come to its end. Neither sizes nor any input of the program change, so
    that `up` and a look for drift have nothing to say about it, as they would about a minSize of 0. It is undone when
    the next delivery of the release begins (`follow`), or with the group when another release replaces it.
    """

    delivery: Delivery
    session: Any
    before: frozenset[str] = frozenset()
    lost: Sequence[LaunchFailure] = ()
    stopped: list[str] = field(default_factory=list)
    trouble: str = ""
    note: Callable[[str], None] = lambda _: None
    """Told, once, that the machines can't be counted."""
    _noted: bool = False
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def autoscaling(self) -> Any:
        return client(self.session, "autoscaling")

    @property
    def gave_up(self) -> bool:
        return bool(self.stopped)

    def begin(self) -> None:
        """What went on before is an older story, and a group that an earlier delivery stopped may go on."""
        groups = self._groups()
        self.before = launches.past_activity_ids(one for group in groups for one in self._activities(group))
        for group in groups:
            if is_stopped(group):
                launches.resume(self.autoscaling, group["AutoScalingGroupName"])

    def look(self) -> None:
        groups = self._groups()
        told = [one for group in groups for one in self._activities(group)]
        self.lost = launches.launch_failures(told, before=self.before)
        if len(self.lost) >= self.delivery.max_failed_launches and not self.stopped:
            for group in groups:
                launches.stop(self.autoscaling, group["AutoScalingGroupName"])
            self.stopped = [group["AutoScalingGroupName"] for group in groups]

    def run(self) -> None:
        while not self.gave_up and not self._over.wait(LOOK_EVERY_S):
            self.look_on()

    def look_on(self) -> None:
        """A look that fails is made again: throttling must not leave a delivery without its bound."""
        try:
            self.look()
            self.trouble = ""
        except Exception as error:  # whatever it is: a thread that ends counts nothing any more
            self.trouble = str(error) or type(error).__name__
            if not self._noted:
                self.note(f"machines that come to nothing can't be counted, or not be stopped, now: {self.trouble}")
                self._noted = True

    def halt(self) -> list[str]:
        """Stop the groups that don't serve yet: nobody looks at them any more. Their names."""
        from botocore.exceptions import BotoCoreError, ClientError

        halted = list[str]()
        with suppress(BotoCoreError, ClientError):
            for group in self._groups():
                name, arns = group["AutoScalingGroupName"], group.get("TargetGroupARNs", ())
                awaited = CapacityWait(group=name, instances=group["MinSize"], target_groups=arns)
                with suppress(LaunchesStoppedError):
                    if launches.missing_capacity(self.session, awaited):
                        launches.stop(self.autoscaling, name)
                        halted.append(name)
        return halted

    def end(self) -> None:
        self._over.set()

    def _groups(self) -> list[dict[str, Any]]:
        by_stack = [{"Name": "tag:Stack", "Values": [self.delivery.stack]}]
        pages = self.autoscaling.get_paginator("describe_auto_scaling_groups").paginate(Filters=by_stack)
        return [group for page in pages for group in page["AutoScalingGroups"] if self.delivery.is_of(group)]

    def _activities(self, group: Mapping[str, Any]) -> list[dict[str, Any]]:
        return launches.activities(self.autoscaling, group["AutoScalingGroupName"])


@contextmanager
def following(session: Any, delivery: Delivery, note: Callable[[str], None] = lambda _: None) -> Iterator[Follower]:
    """Follow the delivery while the block runs."""
    follower = Follower(delivery=delivery, session=session, note=note)
    follower.begin()
    thread = threading.Thread(target=follower.run, name="follower", daemon=True)
    thread.start()
    try:
        yield follower
    finally:
        follower.end()
        with suppress(RuntimeError):
            thread.join(timeout=LOOK_EVERY_S * 10)

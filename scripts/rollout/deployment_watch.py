"""Watch over the launches of a deploy: counts instances that fail to launch, and aborts it after too many."""

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

POLL_S = 1.0


class DeploymentFailedError(ScriptError):
    """The release did not become healthy; the message holds what its instances logged."""


@dataclass(frozen=True, kw_only=True)
class WatchedDeployment:
    """A deploy of a release to a color, and after how many failed launches it is aborted."""

    stack: str
    color: Color
    release: str
    ami: str
    max_failed_launches: int

    def owns(self, group: Mapping[str, Any]) -> bool:
        tags = {tag["Key"]: tag["Value"] for tag in group["Tags"]}
        expected = {"Stack": self.stack, "Color": self.color, "Release": self.release, "Ami": self.ami}
        return not group.get("Status") and all(tags.get(key) == value for key, value in expected.items())


@dataclass(kw_only=True)
class LaunchWatch:
    """Polls the deployment's Auto Scaling groups once a second, in a background thread.

    After too many failed launches it suspends the group's process Launch: no further instance is launched and paid for,
    and those that still boot may finish. Neither sizes nor any input of the program change, so `up` and drift detection
    ignore it, unlike a minSize of 0. The process is resumed when the next deploy of the release begins (`begin`), or
    the group goes when another release replaces it.
    """

    deployment: WatchedDeployment
    session: Any
    before: frozenset[str] = frozenset()
    failed_launches: Sequence[LaunchFailure] = ()
    stopped_groups: list[str] = field(default_factory=list)
    last_error: str = ""
    note: Callable[[str], None] = lambda _: None
    """Called, once, when the launches can't be counted."""
    _noted: bool = False
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def autoscaling(self) -> Any:
        return client(self.session, "autoscaling")

    @property
    def has_aborted(self) -> bool:
        return bool(self.stopped_groups)

    def begin(self) -> None:
        """Leave out earlier activities, and resume groups that an earlier deploy stopped."""
        groups = self._groups()
        self.before = launches.past_activity_ids(one for group in groups for one in self._activities(group))
        for group in groups:
            if is_stopped(group):
                launches.resume(self.autoscaling, group["AutoScalingGroupName"])

    def check(self) -> None:
        groups = self._groups()
        activities = [one for group in groups for one in self._activities(group)]
        self.failed_launches = launches.launch_failures(activities, before=self.before)
        if len(self.failed_launches) >= self.deployment.max_failed_launches and not self.stopped_groups:
            for group in groups:
                launches.stop(self.autoscaling, group["AutoScalingGroupName"])
            self.stopped_groups = [group["AutoScalingGroupName"] for group in groups]

    def run(self) -> None:
        while not self.has_aborted and not self._over.wait(POLL_S):
            self.poll()

    def poll(self) -> None:
        """`check`, whose errors are retried at the next poll: throttling must not leave a deploy without its bound."""
        try:
            self.check()
            self.last_error = ""
        except Exception as error:  # whatever it is: a thread that ends counts no more
            self.last_error = str(error) or type(error).__name__
            if not self._noted:
                self.note(f"failed launches can't be counted, or launches not be stopped, now: {self.last_error}")
                self._noted = True

    def stop_launches(self) -> list[str]:
        """Stop the launches of groups that are not healthy yet, which nothing watches any more; returns their names."""
        from botocore.exceptions import BotoCoreError, ClientError

        stopped = list[str]()
        with suppress(BotoCoreError, ClientError):
            for group in self._groups():
                name, arns = group["AutoScalingGroupName"], group.get("TargetGroupARNs", ())
                capacity = CapacityWait(group=name, instances=group["MinSize"], target_groups=arns)
                with suppress(LaunchesStoppedError):
                    if launches.missing_capacity(self.session, capacity):
                        launches.stop(self.autoscaling, name)
                        stopped.append(name)
        return stopped

    def stop(self) -> None:
        self._over.set()

    def _groups(self) -> list[dict[str, Any]]:
        by_stack = [{"Name": "tag:Stack", "Values": [self.deployment.stack]}]
        pages = self.autoscaling.get_paginator("describe_auto_scaling_groups").paginate(Filters=by_stack)
        return [group for page in pages for group in page["AutoScalingGroups"] if self.deployment.owns(group)]

    def _activities(self, group: Mapping[str, Any]) -> list[dict[str, Any]]:
        return launches.activities(self.autoscaling, group["AutoScalingGroupName"])


@contextmanager
def watching_launches(
    session: Any, deployment: WatchedDeployment, note: Callable[[str], None] = lambda _: None
) -> Iterator[LaunchWatch]:
    """Watch the deployment's launches while the block runs."""
    launch_watch = LaunchWatch(deployment=deployment, session=session, note=note)
    launch_watch.begin()
    thread = threading.Thread(target=launch_watch.run, name="launch-watch", daemon=True)
    thread.start()
    try:
        yield launch_watch
    finally:
        launch_watch.stop()
        with suppress(RuntimeError):
            thread.join(timeout=POLL_S * 10)

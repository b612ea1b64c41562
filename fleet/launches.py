"""Launches of an Auto Scaling group: failures, suspension, and the wait for healthy instances."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ami.boot.retrying import Clock
from fleet.state import LAUNCH, client, is_stopped
from fleet.waiting import tolerate_transient_errors, wait_until

# One call's maximum: no deploy is allowed a hundred launches.
MAX_ACTIVITIES = 100
POLL_INTERVAL_S = 0.5
_INSTANCE = re.compile(r"\bi-[0-9a-f]+")
# AWS cancels a launch whose hook was abandoned or whose instance was terminated; one that never started has failed.
_FAILED = ("Cancelled", "Failed")
_ENDED = ("Successful", *_FAILED)
_UNHEALTHY = re.compile(r"health[ -]check", re.IGNORECASE)


class PollingClock:
    """A clock that limits pauses to half a second, however long a wait lasts."""

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float, /) -> None:
        time.sleep(min(seconds, POLL_INTERVAL_S))


POLLING_CLOCK = PollingClock()


class LaunchesStoppedError(Exception):
    """The Auto Scaling group may launch no more instances, or is gone, while its capacity is awaited."""


@dataclass(frozen=True, kw_only=True)
class LaunchFailure:
    """An instance that failed to launch; `instance` is empty when EC2 created none."""

    instance: str
    reason: str


def activities(autoscaling: Any, group: str) -> list[dict[str, Any]]:
    """The group's last scaling activities, the newest first."""
    response = autoscaling.describe_scaling_activities(AutoScalingGroupName=group, MaxRecords=MAX_ACTIVITIES)
    return list(response["Activities"])


def launch_failures(
    scaling_activities: Iterable[Mapping[str, Any]], *, before: Collection[str] = ()
) -> list[LaunchFailure]:
    """The instances that failed to launch by these activities, each once, the oldest first.

    Launches that were abandoned or failed, and instances that a health check terminated. `before`: ids of earlier
    activities to skip (ids rather than a time, as clocks differ).
    """
    found: dict[str, LaunchFailure] = {}
    for activity in sorted(scaling_activities, key=lambda activity: str(activity["StartTime"])):
        if activity["ActivityId"] in before or not _is_failure(activity):
            continue
        match = _INSTANCE.search(activity.get("Description", ""))
        instance = match[0] if match else ""
        reason = activity.get("StatusMessage") or activity.get("Cause") or activity["StatusCode"]
        found.setdefault(instance or activity["ActivityId"], LaunchFailure(instance=instance, reason=reason))
    return list(found.values())


def past_activity_ids(scaling_activities: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Ids of the activities to skip later: all but launches in progress, which may still fail."""
    return frozenset(
        activity["ActivityId"]
        for activity in scaling_activities
        if not _is_launch(activity) or activity["StatusCode"] in _ENDED
    )


def _is_launch(activity: Mapping[str, Any]) -> bool:
    return str(activity.get("Description", "")).startswith("Launching")


def _is_failure(activity: Mapping[str, Any]) -> bool:
    if _is_launch(activity):
        return activity["StatusCode"] in _FAILED
    description, cause = activity.get("Description", ""), activity.get("Cause", "")
    return description.startswith("Terminating") and bool(_UNHEALTHY.search(cause))


def stop(autoscaling: Any, group: str) -> None:
    """Suspend the group's launches until `resume`; running instances and the group's sizes stay as they are."""
    autoscaling.suspend_processes(AutoScalingGroupName=group, ScalingProcesses=[LAUNCH])


def resume(autoscaling: Any, group: str) -> None:
    autoscaling.resume_processes(AutoScalingGroupName=group, ScalingProcesses=[LAUNCH])


@dataclass(frozen=True, kw_only=True)
class CapacityWait:
    """The number of instances of a new group that must be in service and healthy in each of its target groups."""

    group: str
    instances: int
    target_groups: Sequence[str]


def wait_for_capacity(session: Any, goal: CapacityWait, deadline_s: float, clock: Clock = POLLING_CLOCK) -> None:
    """Return once they are healthy.

    Raises LaunchesStoppedError as soon as the group may launch no more, TimedOut at the deadline.
    """
    wait_until(
        tolerate_transient_errors(lambda: missing_capacity(session, goal)),
        what=f"instances of Auto Scaling group {goal.group}",
        deadline_s=deadline_s,
        clock=clock,
    )


def missing_capacity(session: Any, goal: CapacityWait) -> str | None:
    """Why the instances are not all healthy yet, or None."""
    autoscaling, elbv2 = client(session, "autoscaling"), client(session, "elbv2")
    found = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[goal.group])["AutoScalingGroups"]
    if not found:
        raise LaunchesStoppedError(f"Auto Scaling group {goal.group} is gone")
    instances = {member["InstanceId"]: member["LifecycleState"] for member in found[0]["Instances"]}
    healthy = {instance for instance, state in instances.items() if state == "InService"}
    checked = list[str]()
    for arn in goal.target_groups:
        health = _health(elbv2, arn)
        checked += [f"{instance}: {health.get(instance, 'not registered')}" for instance in sorted(healthy)]
        healthy = {instance for instance in healthy if health.get(instance) == "healthy"}
    if len(healthy) >= goal.instances:
        return None
    waiting = [f"{instance}: {state}" for instance, state in sorted(instances.items()) if state != "InService"]
    details = "; ".join([*waiting, *(text for text in checked if not text.endswith(": healthy"))])
    reason = f"{len(healthy)} of {goal.instances} instances are healthy ({details or 'none yet'})"
    if is_stopped(found[0]):
        raise LaunchesStoppedError(f"Auto Scaling group {goal.group} may launch no more instances: {reason}")
    return reason


def _health(elbv2: Any, arn: str) -> dict[str, str]:
    states = {}
    for target in elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]:
        state, reason = target["TargetHealth"]["State"], target["TargetHealth"].get("Description", "")
        states[target["Target"]["Id"]] = state if state == "healthy" else f"{state} {reason}".strip()
    return states

"""What became of the machines that an Auto Scaling group launched, and whether it may launch more."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleet.state import LAUNCH, client, is_stopped
from fleet.waiting import Clock, patient, wait_until

# One call's worth: a hundred launches in one delivery would be far beyond any bound.
ACTIVITIES = 100
LONGEST_PAUSE_S = 0.5
_INSTANCE = re.compile(r"\bi-[0-9a-f]+")
# AWS cancels a launch whose hook was abandoned or whose machine went away meanwhile; one that never began has failed.
_CAME_TO_NOTHING = ("Cancelled", "Failed")
_ENDED = ("Successful", *_CAME_TO_NOTHING)
_UNHEALTHY = re.compile(r"health[ -]check", re.IGNORECASE)


class Attentive:
    """Asks twice a second however long it takes: the next machine may be ready at any moment."""

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float, /) -> None:
        time.sleep(min(seconds, LONGEST_PAUSE_S))


ATTENTIVE = Attentive()


class LaunchesStoppedError(Exception):
    """A group that machines are awaited from has been told to launch none."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A machine that came to nothing; `instance` is empty when EC2 never gave one."""

    instance: str
    reason: str


def activities(autoscaling: Any, group: str) -> list[dict[str, Any]]:
    """The group's last scaling activities, the newest first."""
    told = autoscaling.describe_scaling_activities(AutoScalingGroupName=group, MaxRecords=ACTIVITIES)
    return list(told["Activities"])


def losses(told: Iterable[Mapping[str, Any]], *, before: Collection[str] = ()) -> list[Loss]:
    """The machines that came to nothing by these activities, each once, the oldest first.

    Launches that were abandoned or failed, and machines that a health check ended. `before` holds the ids of
    activities that are an older story: ids rather than a time, as clocks differ.
    """
    found: dict[str, Loss] = {}
    for one in sorted(told, key=lambda activity: str(activity["StartTime"])):
        if one["ActivityId"] in before or not _is_loss(one):
            continue
        named = _INSTANCE.search(one.get("Description", ""))
        instance = named[0] if named else ""
        reason = one.get("StatusMessage") or one.get("Cause") or one["StatusCode"]
        found.setdefault(instance or one["ActivityId"], Loss(instance=instance, reason=reason))
    return list(found.values())


def past(told: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Ids of the activities that are an older story from now on: not of launches that may yet come to nothing."""
    return frozenset(one["ActivityId"] for one in told if not _is_launch(one) or one["StatusCode"] in _ENDED)


def _is_launch(activity: Mapping[str, Any]) -> bool:
    return str(activity.get("Description", "")).startswith("Launching")


def _is_loss(activity: Mapping[str, Any]) -> bool:
    if _is_launch(activity):
        return activity["StatusCode"] in _CAME_TO_NOTHING
    description, cause = activity.get("Description", ""), activity.get("Cause", "")
    return description.startswith("Terminating") and bool(_UNHEALTHY.search(cause))


def stop(autoscaling: Any, group: str) -> None:
    """The group launches nothing more until `resume`; what runs goes on. Its sizes stay as they are."""
    autoscaling.suspend_processes(AutoScalingGroupName=group, ScalingProcesses=[LAUNCH])


def resume(autoscaling: Any, group: str) -> None:
    autoscaling.resume_processes(AutoScalingGroupName=group, ScalingProcesses=[LAUNCH])


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """Machines that are awaited from a new group: as many in service and healthy in each of its target groups."""

    group: str
    machines: int
    target_groups: Sequence[str]


def wait_for_machines(session: Any, arrival: Arrival, deadline_s: float, clock: Clock = ATTENTIVE) -> None:
    """Return once they serve; raise LaunchesStoppedError as soon as the group is stopped, TimedOut at the deadline."""
    wait_until(
        patient(lambda: missing(session, arrival)),
        what=f"machines of Auto Scaling group {arrival.group}",
        deadline_s=deadline_s,
        clock=clock,
    )


def missing(session: Any, arrival: Arrival) -> str | None:
    """Why the awaited machines don't all serve yet, or None."""
    autoscaling, elbv2 = client(session, "autoscaling"), client(session, "elbv2")
    found = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[arrival.group])["AutoScalingGroups"]
    if not found:
        raise LaunchesStoppedError(f"Auto Scaling group {arrival.group} is gone")
    instances = {one["InstanceId"]: one["LifecycleState"] for one in found[0]["Instances"]}
    serving = {instance for instance, state in instances.items() if state == "InService"}
    ill = list[str]()
    for arn in arrival.target_groups:
        health = _health(elbv2, arn)
        ill += [f"{instance}: {health.get(instance, 'not registered')}" for instance in sorted(serving)]
        serving = {instance for instance in serving if health.get(instance) == "healthy"}
    if len(serving) >= arrival.machines:
        return None
    waiting = [f"{instance}: {state}" for instance, state in sorted(instances.items()) if state != "InService"]
    told = "; ".join([*waiting, *(one for one in ill if not one.endswith(": healthy"))])
    reason = f"{len(serving)} of {arrival.machines} machines serve ({told or 'none yet'})"
    if is_stopped(found[0]):
        raise LaunchesStoppedError(f"Auto Scaling group {arrival.group} may launch no more machines: {reason}")
    return reason


def _health(elbv2: Any, arn: str) -> dict[str, str]:
    told = {}
    for answer in elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]:
        state, why = answer["TargetHealth"]["State"], answer["TargetHealth"].get("Description", "")
        told[answer["Target"]["Id"]] = state if state == "healthy" else f"{state} {why}".strip()
    return told

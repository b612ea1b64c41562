"""Scaling activities of Auto Scaling groups, with AWS's descriptions, causes and status messages."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import replace_methods

GAPS = [
    Gap(
        service="autoscaling",
        action="DescribeScalingActivities",
        reason="moto's list is always empty; here launches, terminations and their causes are listed",
    ),
]

# Causes and status messages as in EC2 Auto Scaling's user guide, "Troubleshoot health checks" and "Retrieve an error
# message from scaling activities".
OUT_OF_SERVICE = "an instance was taken out of service in response to"
STOPPED = f"{OUT_OF_SERVICE} an EC2 health check indicating it has been terminated or stopped."
UNHEALTHY_BY_ELB = f"{OUT_OF_SERVICE} an ELB system health check failure."
UNHEALTHY_BY_USER = f"{OUT_OF_SERVICE} a user health-check."
REQUESTED = f"{OUT_OF_SERVICE} a user request."
REPLACED = "an instance was launched in response to an unhealthy instance needing to be replaced."
NEEDED = "an instance was started in response to a difference between desired and actual capacity."
NEVER_HEALTHY = "Instance became unhealthy while waiting for instance to be in InService state."
NOT_STARTED = f"{NEVER_HEALTHY} Termination Reason: Client.InternalError: Client error on launch"

Activity = dict[str, Any]


class ActivityStatus(StrEnum):
    """AWS's status codes, as far as they are emulated."""

    WAITING = "MidLifecycleAction"
    IN_PROGRESS = "InProgress"
    SUCCESSFUL = "Successful"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


def extend() -> None:
    replace_methods(AutoScalingResponse, describe_scaling_activities=_describe_scaling_activities)


def abandoned_message(token: str, *, by_timeout: bool) -> str:
    reason = "Heartbeat Timeout" if by_timeout else "Lifecycle Action Completed with ABANDON Result"
    action = f"Lifecycle Action with token {token} was abandoned"
    return f"Instance failed to complete user's Lifecycle Action: {action}: {reason}"


def begin(
    group: Any, description: str, cause: str, *, subnet: Any, status: ActivityStatus = ActivityStatus.IN_PROGRESS
) -> Activity:
    """Start an activity. `subnet` is moto's, None for an instance without one."""
    now = datetime.now(UTC)
    zone = {"Subnet ID": subnet.id, "Availability Zone": subnet.availability_zone} if subnet else {}
    activity = {
        "ActivityId": str(uuid.uuid4()),
        "AutoScalingGroupName": group.name,
        "AutoScalingGroupARN": group.arn,
        "Description": description,
        "Cause": f"At {now:%Y-%m-%dT%H:%M:%SZ} {cause}",
        "StartTime": now,
        "EndTime": None,
        "StatusCode": str(status),
        "StatusMessage": "",
        "Progress": 50,
        "Details": json.dumps(zone),
    }
    _activities(group.autoscaling_backend).append(activity)
    return activity


def finish(activity: Activity, status: ActivityStatus = ActivityStatus.SUCCESSFUL, message: str = "") -> None:
    """Finish an activity; no effect on a finished one."""
    if activity["EndTime"] is not None:
        return
    reason = f".  Status Reason: {message}" if message else ""
    activity.update(
        EndTime=datetime.now(UTC),
        StatusCode=str(status),
        StatusMessage=message,
        Progress=100,
        Description=f"{activity['Description']}{reason}",
    )


def _activities(backend: Any) -> list[Activity]:
    activities: list[Activity] = backend.__dict__.setdefault("activities_of_groups", [])
    return activities


def _describe_scaling_activities(self: Any) -> Any:
    name = self._get_param("AutoScalingGroupName")
    matching = [a for a in _activities(self.autoscaling_backend) if name in (None, a["AutoScalingGroupName"])]
    return ActionResult({"Activities": matching[::-1][: self._get_int_param("MaxRecords") or 100]})

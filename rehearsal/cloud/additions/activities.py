"""Scaling activities: what a group did and why, newest first."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import put_into

GAPS = [
    Gap(
        service="autoscaling",
        action="DescribeScalingActivities",
        reason="moto's list is always empty; here launches, terminations and their causes are listed",
    ),
]


def extend() -> None:
    put_into(AutoScalingResponse, describe_scaling_activities=_describe_scaling_activities)


def record(group: Any, description: str, cause: str, *, failed: bool = False) -> None:
    now = datetime.now(UTC)
    _of(group.autoscaling_backend).append(
        {
            "ActivityId": str(uuid.uuid4()),
            "AutoScalingGroupName": group.name,
            "AutoScalingGroupARN": group.arn,
            "Description": description,
            "Cause": f"At {now:%Y-%m-%dT%H:%M:%SZ} {cause}",
            "StartTime": now,
            "EndTime": now,
            "StatusCode": "Failed" if failed else "Successful",
            "StatusMessage": cause if failed else None,
            "Progress": 100,
        }
    )


def _of(backend: Any) -> list[dict[str, Any]]:
    activities: list[dict[str, Any]] = backend.__dict__.setdefault("activities_of_groups", [])
    return activities


def _describe_scaling_activities(self: Any) -> Any:
    name = self._get_param("AutoScalingGroupName")
    wanted = [a for a in _of(self.autoscaling_backend) if name in (None, a["AutoScalingGroupName"])]
    return ActionResult({"Activities": wanted[::-1][: self._get_int_param("MaxRecords") or 100]})

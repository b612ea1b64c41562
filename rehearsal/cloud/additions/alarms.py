"""Composite alarms, which moto keeps and describes but has no action to make."""

from __future__ import annotations

from moto.cloudwatch.responses import CloudWatchResponse

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import put_into

GAPS = [
    Gap(
        service="cloudwatch",
        action="PutCompositeAlarm",
        reason="moto lacks the action, although its alarms can hold a rule",
    ),
    Gap(
        service="cloudwatch",
        action="alarm states",
        reason="moto judges no alarm by its metrics: alarms stay OK unless they are set by hand",
    ),
]


def extend() -> None:
    # What a rule stands in makes it a composite one; the rest of the two actions is the same.
    put_into(CloudWatchResponse, put_composite_alarm=CloudWatchResponse.put_metric_alarm)

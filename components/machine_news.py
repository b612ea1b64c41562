"""What Auto Scaling's events tell of a color's machines: which of them are news, and the message that people get."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from checks.colors import Color

SOURCE = "aws.autoscaling"
# What a cause says when a machine was taken out because it was ill (EC2 Auto Scaling's user guide, "Troubleshoot health
# checks"): "in response to an EC2 health check indicating it has been terminated or stopped", "… an EC2 instance status
# checks failure", "… an EC2 scheduled reboot", "… an ELB system health check failure", and after SetInstanceHealth
# "… a user health-check". Planned ends say "a user request" or "a difference between desired and actual capacity".
ILL = ("health check", "health-check", "status check", "scheduled reboot")
# A machine that gives up its boot abandons its launch hook, and has told people why. AWS sends an unsuccessful launch
# for it all the same, with the status Cancelled as for machines that EC2 ended before they booted: only the message
# tells them apart (same guide, "Retrieve an error message"). A hook whose heartbeat ran out says "Heartbeat Timeout"
# instead: that machine was silent, and is news.
TOLD_BY_BOOT = "Lifecycle Action Completed with ABANDON Result"

# What a message takes from an event. EventBridge knows no bracket notation, in which the zone would have to be named.
PATHS = {
    "group": "$.detail.AutoScalingGroupName",
    "instance": "$.detail.EC2InstanceId",
    "place": "$.detail.Details",
    "cause": "$.detail.Cause",
    "status": "$.detail.StatusCode",
    "status_message": "$.detail.StatusMessage",
    "time": "$.time",
}


@dataclass(frozen=True, kw_only=True)
class News:
    """One kind of event. `name` ends a rule's name, `event` is what the message calls it, `detail` what it must say."""

    name: str
    event: str
    detail_type: str
    detail: Mapping[str, Any]


LOST = News(
    name="lost",
    event="machine lost",
    detail_type="EC2 Instance Terminate Successful",
    detail={"Cause": [{"wildcard": f"*{words}*"} for words in ILL]},
)
NOT_LAUNCHED = News(
    name="not-launched",
    event="machine not launched",
    detail_type="EC2 Instance Launch Unsuccessful",
    detail={"StatusMessage": [{"anything-but": {"wildcard": f"*{TOLD_BY_BOOT}*"}}]},
)
ALL = (LOST, NOT_LAUNCHED)


def pattern(news: News, stack: str, color: Color) -> str:
    """As EventBridge takes it: of whatever release the color's group is, now or later."""
    groups = [{"prefix": f"{stack}-{color}-"}]
    return json.dumps(
        {
            "source": [SOURCE],
            "detail-type": [news.detail_type],
            "detail": {"AutoScalingGroupName": groups, **news.detail},
        }
    )


def template(news: News, stack: str, color: Color) -> str:
    """The message: JSON but for the names of PATHS in angle brackets, for which EventBridge puts JSON values."""
    fixed = {"subject": f"{news.event.capitalize()}: {stack} {color}", "event": news.event}
    told = {**fixed, "stack": stack, "color": color.value}
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in told.items()]
    lines += [f"  {json.dumps(key)}: <{key}>" for key in PATHS]
    return "{\n" + ",\n".join(lines) + "\n}"

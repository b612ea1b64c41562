"""EventBridge patterns and templates: which of Auto Scaling's events are messages, and how AWS makes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ami.boot import messages
from ami.boot.messages import GroupFailure, InstanceLost, LaunchFailed
from fleet.colors import Color

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

# What each message takes from an event, by the message's field. EventBridge knows no bracket notation, in which the
# zone would have to be named.
PATHS = {
    "region": "$.region",
    "time": "$.time",
    "group": "$.detail.AutoScalingGroupName",
    "instance": "$.detail.EC2InstanceId",
    "details": "$.detail.Details",
}


@dataclass(frozen=True, kw_only=True)
class News:
    """One kind of event. `name` ends a rule's name, `detail` is what the event must say, `paths` lead to the fields."""

    name: str
    message: type[GroupFailure]
    detail_type: str
    detail: Mapping[str, Any]
    paths: Mapping[str, str]


LOST = News(
    name="lost",
    message=InstanceLost,
    detail_type="EC2 Instance Terminate Successful",
    detail={"Cause": [{"wildcard": f"*{words}*"} for words in ILL]},
    paths={**PATHS, "error": "$.detail.Cause"},
)
NOT_LAUNCHED = News(
    name="not-launched",
    message=LaunchFailed,
    detail_type="EC2 Instance Launch Unsuccessful",
    detail={"StatusMessage": [{"anything-but": {"wildcard": f"*{TOLD_BY_BOOT}*"}}]},
    paths={
        **PATHS,
        "error": "$.detail.StatusMessage",
        "cause": "$.detail.Cause",
        "status": "$.detail.StatusCode",
    },
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
    """The message: JSON but for the names of paths in angle brackets, for which EventBridge puts JSON values.

    Within the subject it puts them as text.
    """
    names: dict[str, Any] = {name: f"<{name}>" for name in news.paths}
    text = messages.body(news.message(stack=stack, color=color.value, **names))
    return re.sub(r'"(<\w+>)"', r"\1", text)

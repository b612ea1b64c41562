"""EventBridge rules that publish lost instances and failed launches of a color to the alerts topic."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import cloudwatch

from ami.boot import messages
from ami.boot.messages import GroupFailure, InstanceLost, LaunchFailed
from components import policy_documents
from components.alerts import Topic
from components.service_role import service_role
from config.context import StackContext
from fleet.colors import Color

SOURCE = "aws.autoscaling"
# What a cause says when Auto Scaling terminated an unhealthy instance (EC2 Auto Scaling's user guide, "Troubleshoot
# health checks"): "in response to an EC2 health check indicating it has been terminated or stopped", "… an EC2 instance
# status checks failure", "… an EC2 scheduled reboot", "… an ELB system health check failure", and after
# SetInstanceHealth "… a user health-check". Planned terminations say "a user request" or "a difference between desired
# and actual capacity".
UNHEALTHY_CAUSES = ("health check", "health-check", "status check", "scheduled reboot")
# An instance whose boot fails abandons its launch hook and has published why. AWS sends an unsuccessful launch for it
# all the same, with the status Cancelled as for instances that EC2 terminated before they booted: only the message
# tells them apart (same guide, "Retrieve an error message"). A hook whose heartbeat ran out says "Heartbeat Timeout"
# instead: that instance published nothing, and its event counts.
REPORTED_BY_BOOT = "Lifecycle Action Completed with ABANDON Result"

# Where each field of a message is in an event. EventBridge supports no bracket notation, which the zone would need.
PATHS = {
    "region": "$.region",
    "time": "$.time",
    "group": "$.detail.AutoScalingGroupName",
    "instance": "$.detail.EC2InstanceId",
    "details": "$.detail.Details",
}


@dataclass(frozen=True, kw_only=True)
class InstanceEvent:
    """A kind of event. `name` ends a rule's name, `detail` is the pattern of the event's detail, `paths` by field."""

    name: str
    message: type[GroupFailure]
    detail_type: str
    detail: Mapping[str, Any]
    paths: Mapping[str, str]


LOST = InstanceEvent(
    name="lost",
    message=InstanceLost,
    detail_type="EC2 Instance Terminate Successful",
    detail={"Cause": [{"wildcard": f"*{words}*"} for words in UNHEALTHY_CAUSES]},
    paths={**PATHS, "error": "$.detail.Cause"},
)
NOT_LAUNCHED = InstanceEvent(
    name="not-launched",
    message=LaunchFailed,
    detail_type="EC2 Instance Launch Unsuccessful",
    detail={"StatusMessage": [{"anything-but": {"wildcard": f"*{REPORTED_BY_BOOT}*"}}]},
    paths={
        **PATHS,
        "error": "$.detail.StatusMessage",
        "cause": "$.detail.Cause",
        "status": "$.detail.StatusCode",
    },
)
ALL = (LOST, NOT_LAUNCHED)


class InstanceEvents(pulumi.ComponentResource):
    """Rules of the account's default event bus, two a color, whatever release it runs. No outputs."""

    def __init__(
        self, name: str, context: StackContext, topic: Topic, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bluegreen:observability:InstanceEvents", name, {}, opts)
        self._name, self._context, self._topic = name, context, topic
        self._child = pulumi.ResourceOptions(parent=self)
        rules = [(color, event, self._rule(color, event)) for color in Color for event in ALL]
        role = self._role([rule for _, _, rule in rules])
        for color, event, rule in rules:
            self._target(color, event, rule, role)
        self.register_outputs({})

    def _rule(self, color: Color, event: InstanceEvent) -> cloudwatch.EventRule:
        stack = self._context.stack
        return cloudwatch.EventRule(
            f"{self._name}-{color}-{event.name}",
            description=f"{stack} {color}: {event.message.kind}",
            event_pattern=pattern(event, stack, color),
            tags={"Stack": stack},
            opts=self._child,
        )

    def _role(self, rules: list[cloudwatch.EventRule]) -> pulumi.Output[str]:
        """A role for these rules only: a topic's policy can't restrict EventBridge, as it supports no condition.

        (EventBridge's user guide, "Using resource-based policies": Condition blocks can't be used for SNS topics; SNS's
        guide, "Encryption key management": nor source conditions in the key's policy.)
        """
        trust = pulumi.Output.all(*(rule.arn for rule in rules)).apply(
            lambda arns: policy_documents.assumed_by("events.amazonaws.com", source_arns=arns)
        )
        policy = pulumi.Output.all(self._topic.arn, self._topic.key_arn).apply(
            lambda arns: policy_documents.events_publisher(self._context, topic_arn=arns[0], key_arn=arns[1])
        )
        return service_role(self._name, self._context, trust=trust, policy=policy, opts=self._child)

    def _target(self, color: Color, event: InstanceEvent, rule: cloudwatch.EventRule, role: pulumi.Output[str]) -> None:
        """EventBridge retries for 24 hours, up to 185 times."""
        cloudwatch.EventTarget(
            f"{self._name}-{color}-{event.name}",
            rule=rule.name,
            target_id="alerts",
            arn=self._topic.arn,
            role_arn=role,
            input_transformer=cloudwatch.EventTargetInputTransformerArgs(
                input_paths=dict(event.paths),
                input_template=template(event, self._context.stack, color),
            ),
            opts=self._child,
        )


def pattern(event: InstanceEvent, stack: str, color: Color) -> str:
    """EventBridge's pattern, for every Auto Scaling group of the color, whatever its release."""
    groups = [{"prefix": f"{stack}-{color}-"}]
    return json.dumps(
        {
            "source": [SOURCE],
            "detail-type": [event.detail_type],
            "detail": {"AutoScalingGroupName": groups, **event.detail},
        }
    )


def template(event: InstanceEvent, stack: str, color: Color) -> str:
    """The message as an input template: JSON with the paths' names in angle brackets, replaced by JSON values.

    Within the subject EventBridge inserts them as text.
    """
    names: dict[str, Any] = {name: f"<{name}>" for name in event.paths}
    text = messages.body(event.message(stack=stack, color=color.value, **names))
    return re.sub(r'"(<\w+>)"', r"\1", text)

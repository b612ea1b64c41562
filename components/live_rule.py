"""Listener rule with the traffic weights. A cutover changes it and nothing else; its hooks are the gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import lb

from components.load_balancer import forward
from config.context import StackContext
from fleet.colors import Color

PRIORITY = 100


@dataclass(frozen=True, kw_only=True)
class LiveRuleArgs:
    """`weights` in percent by color. `depends_on`: the Auto Scaling groups, and the DNS record that the gates use."""

    listener_arn: pulumi.Input[str]
    target_groups: Mapping[Color, pulumi.Input[str]]
    weights: Mapping[Color, int]
    depends_on: Sequence[pulumi.Resource]
    gates: pulumi.ResourceHookBinding


class LiveRule(pulumi.ComponentResource):
    """Output: `arn`."""

    arn: pulumi.Output[str]

    def __init__(
        self, name: str, context: StackContext, args: LiveRuleArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bluegreen:balancing:LiveRule", name, {}, opts)
        everything = lb.ListenerRuleConditionPathPatternArgs(values=["/*"])
        rule = lb.ListenerRule(
            name,
            listener_arn=args.listener_arn,
            priority=PRIORITY,
            conditions=[lb.ListenerRuleConditionArgs(path_pattern=everything)],
            actions=[forward(args.target_groups, args.weights)],
            tags={"Stack": context.stack, "Role": "live"},
            # Hooks of a component don't reach its children. Without depends_on the gates would run too early.
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.depends_on), hooks=args.gates),
        )
        self.arn = rule.arn
        self.register_outputs({"arn": self.arn})

"""The one rule that says who serves the users. A cutover changes it and nothing else; its hooks are the gates."""

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
    """`weights` in percent by color. `judged_by`: groups that must be healthy, and the name that smoke tests ask."""

    listener_arn: pulumi.Input[str]
    target_groups: Mapping[Color, pulumi.Input[str]]
    weights: Mapping[Color, int]
    judged_by: Sequence[pulumi.Resource]
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
            # Hooks of a component don't reach its children. Without the order, a new color would be judged unborn.
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.judged_by), hooks=args.gates),
        )
        self.arn = rule.arn
        self.register_outputs({"arn": self.arn})

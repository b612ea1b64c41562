"""An alarm that a color has had fewer machines than it must for long, whether or not those that lack can tell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pulumi

from checks.colors import Color
from components import alarm_options
from components.alarm_options import BALANCER_NAMESPACE
from components.metric_alarm import metric_alarm

SPARE_MINUTES = 5  # beyond what one machine's end and its successor's boot may take


@dataclass(frozen=True, kw_only=True)
class MachinesAlarmArgs:
    """`balancer` and `target_group` are the ends of their ARNs, by which CloudWatch knows them.

    `least` is the color's minSize; `replacing` how many seconds one machine may be missing while it is replaced.
    """

    stack: str
    color: Color
    least: int
    replacing: int
    balancer: pulumi.Input[str]
    target_group: pulumi.Input[str]
    topic_arn: pulumi.Input[str]


class MachinesAlarm(pulumi.ComponentResource):
    """Outputs: `arn`. It tells the topic itself: what keeps machines away need not be the release."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: MachinesAlarmArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:observability:MachinesAlarm", name, {}, opts)
        question = alarm_options.of_machines(args.least, math.ceil(args.replacing / 60) + SPARE_MINUTES)
        alarm = metric_alarm(
            f"{name}-{question.name}",
            question,
            {BALANCER_NAMESPACE: {"TargetGroup": args.target_group, "LoadBalancer": args.balancer}},
            alarm_name=f"{args.stack}-{args.color}-{question.name}",
            of=f"{args.stack} {args.color}",
            tags={"Stack": args.stack, "Color": args.color},
            actions=[args.topic_arn],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn = alarm.arn
        self.register_outputs({"arn": self.arn})

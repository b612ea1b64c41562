"""An alarm of the load balancer's own errors, of which it does not tell whose they are."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components import alarm_options
from components.alarm_options import BALANCER_NAMESPACE, AlarmOptions
from components.metric_alarm import metric_alarm


@dataclass(frozen=True, kw_only=True)
class BalancerAlarmArgs:
    """`balancer` is the end of its ARN, by which CloudWatch knows it."""

    stack: str
    options: AlarmOptions
    balancer: pulumi.Input[str]
    topic_arn: pulumi.Input[str]


class BalancerAlarm(pulumi.ComponentResource):
    """Outputs: `name`, `arn`. No color's alarm: during one's outage the other, which may be the way out, is not bad."""

    name: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(self, name: str, args: BalancerAlarmArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:observability:BalancerAlarm", name, {}, opts)
        question = alarm_options.of_balancer(args.options)
        alarm = metric_alarm(
            f"{name}-{question.name}",
            question,
            {BALANCER_NAMESPACE: {"LoadBalancer": args.balancer}},
            alarm_name=f"{args.stack}-balancer-{question.name}",
            of=args.stack,
            tags={"Stack": args.stack},
            actions=[args.topic_arn],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.name, self.arn = alarm.name, alarm.arn
        self.register_outputs({"name": self.name, "arn": self.arn})

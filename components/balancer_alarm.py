"""An alarm of the load balancer's own errors, of which it does not tell whose they are."""

from __future__ import annotations

import pulumi

from components import alarm_metrics
from components.alarm_metrics import BALANCER_NAMESPACE
from components.metric_alarm import metric_alarm
from config.alerts import AlarmSettings
from config.context import StackContext


class BalancerAlarm(pulumi.ComponentResource):
    """`balancer` is the end of its ARN, by which CloudWatch knows it. Outputs: `name`, `arn`.

    No color's alarm: during one's outage the other, which may be the way out, is not bad."""

    name: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        context: StackContext,
        settings: AlarmSettings,
        *,
        balancer: pulumi.Input[str],
        topic_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:observability:BalancerAlarm", name, {}, opts)
        question = alarm_metrics.of_balancer(settings)
        alarm = metric_alarm(
            f"{name}-{question.name}",
            question,
            {BALANCER_NAMESPACE: {"LoadBalancer": balancer}},
            alarm_name=f"{context.stack}-balancer-{question.name}",
            of=context.stack,
            tags={"Stack": context.stack},
            actions=[topic_arn],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.name, self.arn = alarm.name, alarm.arn
        self.register_outputs({"name": self.name, "arn": self.arn})

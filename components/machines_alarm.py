"""An alarm that a color has had fewer machines than it must for long, whether or not those that lack can tell."""

from __future__ import annotations

import math

import pulumi

from components import alarm_metrics
from components.alarm_metrics import BALANCER_NAMESPACE
from components.color import DRAIN_RESERVE
from components.metric_alarm import metric_alarm
from config.colors import ColorSettings
from config.context import StackContext
from config.settings import AppSettings
from fleet.colors import Color

SPARE_MINUTES = 5  # beyond what one machine's end and its successor's boot may take


class MachinesAlarm(pulumi.ComponentResource):
    """`balancer` and `target_group` are the ends of their ARNs, by which CloudWatch knows them.

    Output: `arn`. It tells the topic itself: what keeps machines away need not be the release."""

    arn: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        context: StackContext,
        color: Color,
        settings: ColorSettings,
        app: AppSettings,
        *,
        balancer: pulumi.Input[str],
        target_group: pulumi.Input[str],
        topic_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:observability:MachinesAlarm", name, {}, opts)
        # One instance may be missing for so many seconds while it is replaced.
        replacing = app.drain_timeout + DRAIN_RESERVE + app.boot_timeout
        question = alarm_metrics.of_machines(settings.min_size, math.ceil(replacing / 60) + SPARE_MINUTES)
        alarm = metric_alarm(
            f"{name}-{question.name}",
            question,
            {BALANCER_NAMESPACE: {"TargetGroup": target_group, "LoadBalancer": balancer}},
            alarm_name=f"{context.stack}-{color}-{question.name}",
            of=f"{context.stack} {color}",
            tags={"Stack": context.stack, "Color": color},
            actions=[topic_arn],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn = alarm.arn
        self.register_outputs({"arn": self.arn})

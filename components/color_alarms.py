"""Alarms that say of a color, serving or not, whether its release is bad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import cloudwatch

from checks.colors import Color
from components import alarm_options
from components.alarm_options import BALANCER_NAMESPACE, AlarmOptions
from components.metric_alarm import Dimensions, metric_alarm
from components.user_data import METRICS_NAMESPACE


@dataclass(frozen=True, kw_only=True)
class ColorAlarmsArgs:
    """`balancer` and `target_group` are the ends of their ARNs, by which CloudWatch knows them."""

    stack: str
    color: Color
    options: AlarmOptions
    balancer: pulumi.Input[str]
    target_group: pulumi.Input[str]
    topic_arn: pulumi.Input[str]


class ColorAlarms(pulumi.ComponentResource):
    """Outputs: `name` and `arn` of the one alarm over all of the color's, which tells people and is to be watched.

    Nothing in them says which color serves: a cutover changes no alarm.
    """

    name: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(self, name: str, args: ColorAlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:observability:ColorAlarms", name, {}, opts)
        self._name, self._args = name, args
        self._tags = {"Stack": args.stack, "Color": args.color}
        self._child = pulumi.ResourceOptions(parent=self)
        bad = self._bad(self._alarms())
        self.name, self.arn = bad.alarm_name, bad.arn
        self.register_outputs({"name": self.name, "arn": self.arn})

    def _alarms(self) -> list[cloudwatch.MetricAlarm]:
        args = self._args
        dimensions: dict[str, Dimensions] = {
            BALANCER_NAMESPACE: {"TargetGroup": args.target_group, "LoadBalancer": args.balancer},
            METRICS_NAMESPACE: {"Stack": args.stack, "Color": args.color},
        }
        # Names are fixed, for those who watch them: putting an alarm under a taken name does no harm.
        return [
            metric_alarm(
                f"{self._name}-{question.name}",
                question,
                dimensions,
                alarm_name=f"{args.stack}-{args.color}-{question.name}",
                of=f"{args.stack} {args.color}",
                tags=self._tags,
                actions=(),
                opts=self._child,
            )
            for question in alarm_options.of_color(args.options)
        ]

    def _bad(self, alarms: Sequence[cloudwatch.MetricAlarm]) -> cloudwatch.CompositeAlarm:
        """It alone tells the topic: a bad release is one message, which names the alarms behind it."""
        args = self._args
        names = pulumi.Output.all(*(alarm.name for alarm in alarms))
        return cloudwatch.CompositeAlarm(
            f"{self._name}-bad",
            alarm_name=f"{args.stack}-{args.color}-bad",
            alarm_description=f"{args.stack} {args.color}: the release is bad.",
            alarm_rule=names.apply(lambda each: " OR ".join(f'ALARM("{name}")' for name in each)),
            alarm_actions=[args.topic_arn],
            ok_actions=[args.topic_arn],
            tags=self._tags,
            opts=self._child,
        )

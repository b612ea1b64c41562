"""Alarms that say of a color, serving or not, whether its release is bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_aws import cloudwatch

from ami.boot.user_data import METRICS_NAMESPACE
from components import alarm_metrics
from components.alarm_metrics import BALANCER_NAMESPACE
from components.metric_alarm import Dimensions, metric_alarm
from config.alerts import AlarmSettings
from config.context import StackContext
from fleet.colors import Color


class ColorAlarms(pulumi.ComponentResource):
    """`balancer` and `target_group` are the ends of their ARNs, by which CloudWatch knows them.

    Outputs: `name` and `arn` of the one alarm over all of the color's, which tells people and is to be watched.

    Nothing in them says which color serves: a cutover changes no alarm.
    """

    name: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        context: StackContext,
        settings: AlarmSettings,
        color: Color,
        *,
        balancer: pulumi.Input[str],
        target_group: pulumi.Input[str],
        topic_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:observability:ColorAlarms", name, {}, opts)
        self._name, self._of = name, f"{context.stack} {color}"
        self._tags = {"Stack": context.stack, "Color": color}
        self._child = pulumi.ResourceOptions(parent=self)
        dimensions: dict[str, Dimensions] = {
            BALANCER_NAMESPACE: {"TargetGroup": target_group, "LoadBalancer": balancer},
            METRICS_NAMESPACE: self._tags,
        }
        bad = self._bad(self._alarms(settings, dimensions), topic_arn)
        self.name, self.arn = bad.alarm_name, bad.arn
        self.register_outputs({"name": self.name, "arn": self.arn})

    def _alarms(self, settings: AlarmSettings, dimensions: Mapping[str, Dimensions]) -> list[cloudwatch.MetricAlarm]:
        # Names are fixed, for those who watch them: putting an alarm under a taken name does no harm.
        return [
            metric_alarm(
                f"{self._name}-{question.name}",
                question,
                dimensions,
                alarm_name=self._alarm_name(question.name),
                of=self._of,
                tags=self._tags,
                actions=(),
                opts=self._child,
            )
            for question in alarm_metrics.of_color(settings)
        ]

    def _bad(self, alarms: Sequence[cloudwatch.MetricAlarm], topic_arn: pulumi.Input[str]) -> cloudwatch.CompositeAlarm:
        """It alone tells the topic: a bad release is one message, which names the alarms behind it."""
        names = pulumi.Output.all(*(alarm.name for alarm in alarms))
        return cloudwatch.CompositeAlarm(
            f"{self._name}-bad",
            alarm_name=self._alarm_name("bad"),
            alarm_description=f"{self._of}: the release is bad.",
            alarm_rule=names.apply(lambda each: " OR ".join(f'ALARM("{name}")' for name in each)),
            alarm_actions=[topic_arn],
            ok_actions=[topic_arn],
            tags=self._tags,
            opts=self._child,
        )

    def _alarm_name(self, what: str) -> str:
        return f"{self._tags['Stack']}-{self._tags['Color']}-{what}"

"""CloudWatch alarms of the colors and of the load balancer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pulumi
from pulumi_aws import cloudwatch

from ami.boot.user_data import METRICS_NAMESPACE
from components import alarm_metrics
from components.alarm_metrics import LOAD_BALANCER_NAMESPACE, PERIOD_S, AlarmSpec, Metric
from components.color import DRAIN_RESERVE_S
from config.alerts import AlarmSettings
from config.colors import ColorSettings
from config.context import StackContext
from config.settings import AppSettings
from fleet.colors import Color

SPARE_MINUTES = 5  # beyond what draining one instance and booting its successor may take

Dimensions = Mapping[str, pulumi.Input[str]]


def metric_alarm(
    name: str,
    spec: AlarmSpec,
    dimensions: Mapping[str, Dimensions],
    *,
    alarm_name: str,
    subject: str,
    tags: Mapping[str, str],
    actions: Sequence[pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
) -> cloudwatch.MetricAlarm:
    """`dimensions` by the metrics' namespace; the description begins with `subject`, such as stack and color."""
    return cloudwatch.MetricAlarm(
        name,
        name=alarm_name,
        alarm_description=f"{subject}: {spec.description}.",
        metric_queries=[
            *(_query(id, metric, dimensions[metric.namespace]) for id, metric in spec.metrics.items()),
            cloudwatch.MetricAlarmMetricQueryArgs(
                id="result", expression=spec.expression, label=spec.name, return_data=True
            ),
        ],
        comparison_operator="GreaterThanThreshold",
        threshold=spec.threshold,
        datapoints_to_alarm=spec.datapoints_to_alarm,
        evaluation_periods=spec.evaluation_periods,
        treat_missing_data=spec.treat_missing_data,
        alarm_actions=list(actions),
        ok_actions=list(actions),
        tags=tags,
        opts=opts,
    )


def _query(id: str, metric: Metric, dimensions: Dimensions) -> cloudwatch.MetricAlarmMetricQueryArgs:
    source = cloudwatch.MetricAlarmMetricQueryMetricArgs(
        namespace=metric.namespace,
        metric_name=metric.name,
        dimensions=dimensions,
        period=PERIOD_S,
        stat=metric.stat,
    )
    return cloudwatch.MetricAlarmMetricQueryArgs(id=id, metric=source)


class ColorAlarms(pulumi.ComponentResource):
    """Alarms of one color, live or idle, and the composite alarm that says that its release is bad.

    `load_balancer` and `target_group` are ARN suffixes, the dimensions that CloudWatch uses.

    Outputs: `name` and `arn` of the composite alarm, which alone notifies the topic.

    None of them depends on which color is live: a cutover changes no alarm.
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
        load_balancer: pulumi.Input[str],
        target_group: pulumi.Input[str],
        topic_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:observability:ColorAlarms", name, {}, opts)
        self._name, self._subject = name, f"{context.stack} {color}"
        self._tags = {"Stack": context.stack, "Color": color}
        self._child = pulumi.ResourceOptions(parent=self)
        dimensions: dict[str, Dimensions] = {
            LOAD_BALANCER_NAMESPACE: {"TargetGroup": target_group, "LoadBalancer": load_balancer},
            METRICS_NAMESPACE: self._tags,
        }
        bad = self._bad_release(self._metric_alarms(settings, dimensions), topic_arn)
        self.name, self.arn = bad.alarm_name, bad.arn
        self.register_outputs({"name": self.name, "arn": self.arn})

    def _metric_alarms(
        self, settings: AlarmSettings, dimensions: Mapping[str, Dimensions]
    ) -> list[cloudwatch.MetricAlarm]:
        # Fixed names, for whoever watches the alarms: PutMetricAlarm under a name in use overwrites that alarm.
        return [
            metric_alarm(
                f"{self._name}-{spec.name}",
                spec,
                dimensions,
                alarm_name=self._alarm_name(spec.name),
                subject=self._subject,
                tags=self._tags,
                actions=(),
                opts=self._child,
            )
            for spec in alarm_metrics.color_alarms(settings)
        ]

    def _bad_release(
        self, alarms: Sequence[cloudwatch.MetricAlarm], topic_arn: pulumi.Input[str]
    ) -> cloudwatch.CompositeAlarm:
        """Only this alarm notifies the topic: one message a bad release, which names the alarms behind it."""
        names = pulumi.Output.all(*(alarm.name for alarm in alarms))
        return cloudwatch.CompositeAlarm(
            f"{self._name}-bad",
            alarm_name=self._alarm_name("bad"),
            alarm_description=f"{self._subject}: the release is bad.",
            alarm_rule=names.apply(lambda known: " OR ".join(f'ALARM("{name}")' for name in known)),
            alarm_actions=[topic_arn],
            ok_actions=[topic_arn],
            tags=self._tags,
            opts=self._child,
        )

    def _alarm_name(self, suffix: str) -> str:
        return f"{self._tags['Stack']}-{self._tags['Color']}-{suffix}"


class LoadBalancerAlarm(pulumi.ComponentResource):
    """An alarm of the load balancer's own errors, which CloudWatch counts for no color.

    `load_balancer` is an ARN suffix. Outputs: `name`, `arn`.

    It makes no color's release bad: during one color's outage the other, the way out, must not count as bad.
    """

    name: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        context: StackContext,
        settings: AlarmSettings,
        *,
        load_balancer: pulumi.Input[str],
        topic_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:observability:LoadBalancerAlarm", name, {}, opts)
        spec = alarm_metrics.load_balancer_alarm(settings)
        alarm = metric_alarm(
            f"{name}-{spec.name}",
            spec,
            {LOAD_BALANCER_NAMESPACE: {"LoadBalancer": load_balancer}},
            alarm_name=f"{context.stack}-load-balancer-{spec.name}",
            subject=context.stack,
            tags={"Stack": context.stack},
            actions=[topic_arn],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.name, self.arn = alarm.name, alarm.arn
        self.register_outputs({"name": self.name, "arn": self.arn})


class CapacityAlarm(pulumi.ComponentResource):
    """An alarm that a color has had fewer healthy instances than minSize for longer than a replacement takes.

    `load_balancer` and `target_group` are ARN suffixes. Output: `arn`.

    It notifies the topic itself: what keeps instances from booting need not be the release.
    """

    arn: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        context: StackContext,
        color: Color,
        settings: ColorSettings,
        app: AppSettings,
        *,
        load_balancer: pulumi.Input[str],
        target_group: pulumi.Input[str],
        topic_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:observability:CapacityAlarm", name, {}, opts)
        replacement_s = app.drain_timeout + DRAIN_RESERVE_S + app.boot_timeout
        spec = alarm_metrics.capacity_alarm(settings.min_size, math.ceil(replacement_s / 60) + SPARE_MINUTES)
        alarm = metric_alarm(
            f"{name}-machines",
            spec,
            {LOAD_BALANCER_NAMESPACE: {"TargetGroup": target_group, "LoadBalancer": load_balancer}},
            alarm_name=f"{context.stack}-{color}-{spec.name}",
            subject=f"{context.stack} {color}",
            tags={"Stack": context.stack, "Color": color},
            actions=[topic_arn],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn = alarm.arn
        self.register_outputs({"arn": self.arn})

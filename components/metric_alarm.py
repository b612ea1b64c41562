"""One alarm: a question of the metrics, and the dimensions that say of whom it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_aws import cloudwatch

from components.alarm_metrics import PERIOD, Metric, Question

Dimensions = Mapping[str, pulumi.Input[str]]


def metric_alarm(
    name: str,
    question: Question,
    dimensions: Mapping[str, Dimensions],
    *,
    alarm_name: str,
    of: str,
    tags: Mapping[str, str],
    actions: Sequence[pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
) -> cloudwatch.MetricAlarm:
    """`dimensions` are by the metrics' namespace; `of` says in the description whose alarm it is."""
    return cloudwatch.MetricAlarm(
        name,
        name=alarm_name,
        alarm_description=f"{of}: {question.why}.",
        metric_queries=[
            *(_query(id, metric, dimensions[metric.namespace]) for id, metric in question.metrics.items()),
            cloudwatch.MetricAlarmMetricQueryArgs(
                id="judged", expression=question.expression, label=question.name, return_data=True
            ),
        ],
        comparison_operator="GreaterThanThreshold",
        threshold=question.threshold,
        datapoints_to_alarm=question.minutes,
        evaluation_periods=question.of_minutes,
        treat_missing_data=question.missing,
        alarm_actions=list(actions),
        ok_actions=list(actions),
        tags=tags,
        opts=opts,
    )


def _query(id: str, metric: Metric, dimensions: Dimensions) -> cloudwatch.MetricAlarmMetricQueryArgs:
    asked = cloudwatch.MetricAlarmMetricQueryMetricArgs(
        namespace=metric.namespace,
        metric_name=metric.name,
        dimensions=dimensions,
        period=PERIOD,
        stat=metric.stat,
    )
    return cloudwatch.MetricAlarmMetricQueryArgs(id=id, metric=asked)

from __future__ import annotations

from typing import Any

import pytest

from components.color_alarms import ColorAlarms
from config.alerts import AlarmSettings
from fleet.colors import Color
from tests.declared import CONTEXT, Declaration, declare

TARGETS = {"LoadBalancer": "app/web/1a2b", "TargetGroup": "targetgroup/green/3c4d"}
MACHINES = {"Stack": "dev", "Color": "green"}
TAGS = {"Stack": "dev", "Color": "green"}


def alarms(color: Color = Color.GREEN, **options: int) -> Declaration:
    return declare(
        lambda: ColorAlarms(
            f"{color}-alarms",
            CONTEXT,
            AlarmSettings(**options),
            color,
            balancer=TARGETS["LoadBalancer"],
            target_group=TARGETS["TargetGroup"],
            topic_arn="arn:topic",
        )
    )


def asked(id: str, name: str, stat: str, namespace: str, dimensions: dict[str, str]) -> dict[str, Any]:
    metric = {"namespace": namespace, "metricName": name, "dimensions": dimensions, "period": 60, "stat": stat}
    return {"id": id, "metric": metric}


def of_targets(id: str, name: str, stat: str = "Sum") -> dict[str, Any]:
    return asked(id, name, stat, "AWS/ApplicationELB", TARGETS)


def alarm(name: str, why: str, threshold: float, expression: str, *metrics: dict[str, Any]) -> dict[str, Any]:
    judged = {"id": "judged", "expression": expression, "label": name, "returnData": True}
    return {
        "name": f"dev-green-{name}",
        "alarmDescription": f"dev green: {why}.",
        "metricQueries": [*metrics, judged],
        "comparisonOperator": "GreaterThanThreshold",
        "threshold": threshold,
        "datapointsToAlarm": 3,
        "evaluationPeriods": 3,
        "treatMissingData": "notBreaching",
        "alarmActions": [],
        "okActions": [],
        "tags": TAGS,
    }


USUAL = {
    "errors": alarm(
        "errors",
        "more than 5 % of its requests fail",
        5,
        "IF(requests >= 20, 100 * (FILL(errors, 0) + FILL(refused, 0)) / requests, 0)",
        of_targets("requests", "RequestCount"),
        of_targets("errors", "HTTPCode_Target_5XX_Count"),
        of_targets("refused", "TargetConnectionErrorCount"),
    ),
    "latency": alarm(
        "latency",
        "one of 100 requests takes longer than 2000 ms",
        2,
        "IF(requests >= 20, latency, 0)",
        of_targets("requests", "RequestCount"),
        of_targets("latency", "TargetResponseTime", "p99"),
    ),
    "unhealthy": alarm(
        "unhealthy",
        "a machine does not turn healthy",
        0,
        "unhealthy",
        of_targets("unhealthy", "UnHealthyHostCount", "Maximum"),
    ),
    "no-machine": alarm(
        "no-machine",
        "requests come, and no machine is healthy",
        0,
        "IF(requests > 0 AND healthy < 1, 1, 0)",
        of_targets("requests", "RequestCount"),
        of_targets("healthy", "HealthyHostCount", "Maximum"),
    ),
    "boots": alarm(
        "boots",
        "a machine could not boot",
        0,
        "FILL(failures, 0)",
        asked("failures", "BootFailures", "Sum", "bluegreen", MACHINES),
    )
    | {"datapointsToAlarm": 1, "evaluationPeriods": 5},
}


@pytest.mark.parametrize("name", USUAL)
def test_each_alarm_asks_the_metrics_of_its_color(name: str) -> None:
    assert alarms().one("cloudwatch.MetricAlarm", f"green-alarms-{name}").inputs == USUAL[name]


def test_there_are_no_other_alarms() -> None:
    assert alarms().table() == {
        *(("cloudwatch.MetricAlarm", f"green-alarms-{name}") for name in USUAL),
        ("cloudwatch.CompositeAlarm", "green-alarms-bad"),
    }


def test_any_of_them_makes_the_release_bad_and_only_that_is_told() -> None:
    assert alarms().one("cloudwatch.CompositeAlarm").inputs == {
        "alarmName": "dev-green-bad",
        "alarmDescription": "dev green: the release is bad.",
        "alarmRule": 'ALARM("dev-green-errors") OR ALARM("dev-green-latency") OR ALARM("dev-green-unhealthy") '
        'OR ALARM("dev-green-no-machine") OR ALARM("dev-green-boots")',
        "alarmActions": ["arn:topic"],
        "okActions": ["arn:topic"],
        "tags": TAGS,
    }


def test_the_rule_waits_for_its_alarms() -> None:
    declared = alarms()
    metric = {each.urn for each in declared.all("cloudwatch.MetricAlarm").values()}
    assert metric <= declared.one("cloudwatch.CompositeAlarm").dependencies


def test_own_thresholds_are_held() -> None:
    declared = alarms(error_rate_percent=1, latency_milliseconds=250, min_requests=500, minutes=2)
    errors = declared.one("cloudwatch.MetricAlarm", "green-alarms-errors").inputs
    latency = declared.one("cloudwatch.MetricAlarm", "green-alarms-latency").inputs
    assert (errors["threshold"], latency["threshold"]) == (1, 0.25)
    assert latency["metricQueries"][-1]["expression"] == "IF(requests >= 500, latency, 0)"
    assert (errors["datapointsToAlarm"], errors["evaluationPeriods"]) == (2, 2)


def test_the_colors_differ_in_nothing_but_color() -> None:
    blue, green = alarms(Color.BLUE), alarms()
    assert {name.replace("blue", "green") for _, name in blue.table()} == {name for _, name in green.table()}
    rule = blue.one("cloudwatch.CompositeAlarm").inputs["alarmRule"]
    assert rule.replace("blue", "green") == green.one("cloudwatch.CompositeAlarm").inputs["alarmRule"]

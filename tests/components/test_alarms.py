from __future__ import annotations

from typing import Any

import pytest

from components.alarms import CapacityAlarm, ColorAlarms, LoadBalancerAlarm
from config.alerts import AlarmSettings
from config.colors import ColorSettings
from config.settings import AppSettings
from fleet.colors import Color
from tests.declared import CONTEXT, Declaration, declare

TARGETS = {"LoadBalancer": "app/web/1a2b", "TargetGroup": "targetgroup/green/3c4d"}
INSTANCES = {"Stack": "dev", "Color": "green"}
TAGS = {"Stack": "dev", "Color": "green"}


def alarms(color: Color = Color.GREEN, **options: int) -> Declaration:
    return declare(
        lambda: ColorAlarms(
            f"{color}-alarms",
            CONTEXT,
            AlarmSettings(**options),
            color,
            load_balancer=TARGETS["LoadBalancer"],
            target_group=TARGETS["TargetGroup"],
            topic_arn="arn:topic",
        )
    )


def query(id: str, name: str, stat: str, namespace: str, dimensions: dict[str, str]) -> dict[str, Any]:
    metric = {"namespace": namespace, "metricName": name, "dimensions": dimensions, "period": 60, "stat": stat}
    return {"id": id, "metric": metric}


def of_targets(id: str, name: str, stat: str = "Sum") -> dict[str, Any]:
    return query(id, name, stat, "AWS/ApplicationELB", TARGETS)


def alarm(name: str, description: str, threshold: float, expression: str, *metrics: dict[str, Any]) -> dict[str, Any]:
    result = {"id": "result", "expression": expression, "label": name, "returnData": True}
    return {
        "name": f"dev-green-{name}",
        "alarmDescription": f"dev green: {description}.",
        "metricQueries": [*metrics, result],
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
        "its p99 latency is above 2000 ms",
        2,
        "IF(requests >= 20, latency, 0)",
        of_targets("requests", "RequestCount"),
        of_targets("latency", "TargetResponseTime", "p99"),
    ),
    "unhealthy": alarm(
        "unhealthy",
        "an instance stays unhealthy",
        0,
        "unhealthy",
        of_targets("unhealthy", "UnHealthyHostCount", "Maximum"),
    ),
    "no-machine": alarm(
        "no-machine",
        "it gets requests, and no instance is healthy",
        0,
        "IF(requests > 0 AND healthy < 1, 1, 0)",
        of_targets("requests", "RequestCount"),
        of_targets("healthy", "HealthyHostCount", "Maximum"),
    ),
    "boots": alarm(
        "boots",
        "an instance failed to boot",
        0,
        "FILL(failures, 0)",
        query("failures", "BootFailures", "Sum", "bluegreen", INSTANCES),
    )
    | {"datapointsToAlarm": 1, "evaluationPeriods": 5},
}


@pytest.mark.parametrize("name", USUAL)
def test_each_alarm_queries_the_metrics_of_its_color(name: str) -> None:
    assert alarms().one("cloudwatch.MetricAlarm", f"green-alarms-{name}").inputs == USUAL[name]


def test_there_are_no_other_alarms() -> None:
    assert alarms().table() == {
        *(("cloudwatch.MetricAlarm", f"green-alarms-{name}") for name in USUAL),
        ("cloudwatch.CompositeAlarm", "green-alarms-bad"),
    }


def test_any_of_them_makes_the_release_bad_and_only_the_composite_alarm_notifies() -> None:
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


LOAD_BALANCER = {"LoadBalancer": "app/web/1a2b"}


def of_load_balancer(id: str, name: str) -> dict[str, Any]:
    return query(id, name, "Sum", "AWS/ApplicationELB", LOAD_BALANCER)


def test_the_load_balancers_own_errors_without_the_503_before_the_first_release() -> None:
    settings, suffix = AlarmSettings(minutes=4), LOAD_BALANCER["LoadBalancer"]
    declared = declare(
        lambda: LoadBalancerAlarm("web-alarms", CONTEXT, settings, load_balancer=suffix, topic_arn="arn:topic")
    )
    assert declared.table() == {("cloudwatch.MetricAlarm", "web-alarms-errors")}
    assert declared.one("cloudwatch.MetricAlarm").inputs == {
        "name": "dev-load-balancer-errors",
        "alarmDescription": "dev: the load balancer itself answers more than 10 requests a minute with an error.",
        "metricQueries": [
            of_load_balancer("elb_5xx", "HTTPCode_ELB_5XX_Count"),
            of_load_balancer("fixed_response", "HTTP_Fixed_Response_Count"),
            {"id": "result", "expression": "elb_5xx - FILL(fixed_response, 0)", "label": "errors", "returnData": True},
        ],
        "comparisonOperator": "GreaterThanThreshold",
        "threshold": 10,
        "datapointsToAlarm": 4,
        "evaluationPeriods": 4,
        "treatMissingData": "notBreaching",
        "alarmActions": ["arn:topic"],
        "okActions": ["arn:topic"],
        "tags": {"Stack": "dev"},
    }


def capacity(boot_timeout: int = 300, drain_timeout: int = 30) -> Declaration:
    return declare(
        lambda: CapacityAlarm(
            "green-capacity",
            CONTEXT,
            Color.GREEN,
            ColorSettings(min_size=2),
            AppSettings(boot_timeout=boot_timeout, drain_timeout=drain_timeout),
            load_balancer=TARGETS["LoadBalancer"],
            target_group=TARGETS["TargetGroup"],
            topic_arn="arn:topic",
        )
    )


def test_missing_instances_raise_the_alarm() -> None:
    declared = capacity()
    metric = {
        "namespace": "AWS/ApplicationELB",
        "metricName": "HealthyHostCount",
        "dimensions": TARGETS,
        "period": 60,
        "stat": "Maximum",
    }
    assert declared.table() == {("cloudwatch.MetricAlarm", "green-capacity-machines")}
    assert declared.one("cloudwatch.MetricAlarm").inputs == {
        "name": "dev-green-capacity",
        "alarmDescription": "dev green: fewer of its instances are healthy than it must have.",
        "metricQueries": [
            {"id": "healthy", "metric": metric},
            {"id": "result", "expression": "2 - healthy", "label": "capacity", "returnData": True},
        ],
        "comparisonOperator": "GreaterThanThreshold",
        "threshold": 0,
        "datapointsToAlarm": 11,
        "evaluationPeriods": 11,
        "treatMissingData": "ignore",
        "alarmActions": ["arn:topic"],
        "okActions": ["arn:topic"],
        "tags": {"Stack": "dev", "Color": "green"},
    }


@pytest.mark.parametrize(
    ("boot", "drain", "minutes"), [(60, 0, 7), (60, 30, 7), (61, 30, 8), (300, 30, 11), (1740, 60, 36)]
)
def test_an_instance_may_be_missing_for_as_long_as_its_replacement_takes(boot: int, drain: int, minutes: int) -> None:
    """Draining, 30 seconds in reserve, and the boot; and five minutes to spare."""
    assert capacity(boot, drain).one("cloudwatch.MetricAlarm").inputs["evaluationPeriods"] == minutes

from __future__ import annotations

import pytest

from checks.colors import Color
from components.machines_alarm import MachinesAlarm, MachinesAlarmArgs
from tests.declared import Declaration, declare

TARGETS = {"TargetGroup": "targetgroup/green/3c4d", "LoadBalancer": "app/web/1a2b"}


def alarm(*, least: int = 2, replacing: int = 360) -> Declaration:
    args = MachinesAlarmArgs(
        stack="dev",
        color=Color.GREEN,
        least=least,
        replacing=replacing,
        balancer=TARGETS["LoadBalancer"],
        target_group=TARGETS["TargetGroup"],
        topic_arn="arn:topic",
    )
    return declare(lambda: MachinesAlarm("green-capacity", args))


def test_machines_that_went_are_missed_until_others_came() -> None:
    declared = alarm()
    metric = {
        "namespace": "AWS/ApplicationELB",
        "metricName": "HealthyHostCount",
        "dimensions": TARGETS,
        "period": 60,
        "stat": "Maximum",
    }
    assert declared.table() == {("cloudwatch.MetricAlarm", "green-capacity-machines")}
    assert declared.one("cloudwatch.MetricAlarm").inputs == {
        "name": "dev-green-machines",
        "alarmDescription": "dev green: fewer of its machines are healthy than it must have.",
        "metricQueries": [
            {"id": "healthy", "metric": metric},
            {"id": "judged", "expression": "2 - healthy", "label": "machines", "returnData": True},
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


@pytest.mark.parametrize(("replacing", "minutes"), [(0, 5), (1, 6), (60, 6), (61, 7), (1830, 36)])
def test_a_machine_may_be_missing_for_as_long_as_it_takes_to_replace_it(replacing: int, minutes: int) -> None:
    assert alarm(replacing=replacing).one("cloudwatch.MetricAlarm").inputs["evaluationPeriods"] == minutes

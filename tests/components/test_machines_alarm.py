from __future__ import annotations

import pytest

from components.machines_alarm import MachinesAlarm
from config.colors import ColorSettings
from config.settings import AppSettings
from fleet.colors import Color
from tests.declared import CONTEXT, Declaration, declare

TARGETS = {"TargetGroup": "targetgroup/green/3c4d", "LoadBalancer": "app/web/1a2b"}


def alarm(boot_timeout: int = 300, drain_timeout: int = 30) -> Declaration:
    return declare(
        lambda: MachinesAlarm(
            "green-capacity",
            CONTEXT,
            Color.GREEN,
            ColorSettings(min_size=2),
            AppSettings(boot_timeout=boot_timeout, drain_timeout=drain_timeout),
            balancer=TARGETS["LoadBalancer"],
            target_group=TARGETS["TargetGroup"],
            topic_arn="arn:topic",
        )
    )


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


@pytest.mark.parametrize(
    ("boot", "drain", "minutes"), [(60, 0, 7), (60, 30, 7), (61, 30, 8), (300, 30, 11), (1740, 60, 36)]
)
def test_a_machine_may_be_missing_for_as_long_as_it_takes_to_replace_it(boot: int, drain: int, minutes: int) -> None:
    """Draining, 30 seconds in reserve, and the boot; and five minutes to spare."""
    assert alarm(boot, drain).one("cloudwatch.MetricAlarm").inputs["evaluationPeriods"] == minutes

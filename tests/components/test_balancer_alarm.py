from __future__ import annotations

from components.balancer_alarm import BalancerAlarm
from config.alerts import AlarmSettings
from tests.declared import CONTEXT, declare

WHOLE = {"LoadBalancer": "app/web/1a2b"}


def asked(id: str, name: str) -> dict[str, object]:
    metric = {
        "namespace": "AWS/ApplicationELB",
        "metricName": name,
        "dimensions": WHOLE,
        "period": 60,
        "stat": "Sum",
    }
    return {"id": id, "metric": metric}


def test_the_balancers_own_errors_are_told_but_for_the_503_before_the_first_release() -> None:
    settings, suffix = AlarmSettings(minutes=4), WHOLE["LoadBalancer"]
    declared = declare(lambda: BalancerAlarm("web-alarms", CONTEXT, settings, balancer=suffix, topic_arn="arn:topic"))
    assert declared.table() == {("cloudwatch.MetricAlarm", "web-alarms-errors")}
    assert declared.one("cloudwatch.MetricAlarm").inputs == {
        "name": "dev-balancer-errors",
        "alarmDescription": "dev: the load balancer itself answers more than 10 requests a minute with an error.",
        "metricQueries": [
            asked("answered", "HTTPCode_ELB_5XX_Count"),
            asked("owed", "HTTP_Fixed_Response_Count"),
            {"id": "judged", "expression": "answered - FILL(owed, 0)", "label": "errors", "returnData": True},
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

"""Alarms, alarms over alarms, and dashboards: each goes through its whole life against the emulator."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pulumi.automation.errors import CommandError

from .conftest import Traffic, Workshop

pytestmark = pytest.mark.usefixtures("warm")
Client = Callable[[str], Any]
ACCOUNT = "123456789012"
ALARMS = """
def asked(id, name):
    metric = aws.cloudwatch.MetricAlarmMetricQueryMetricArgs(
        namespace="shop", metric_name=name, dimensions={{"Shop": "b", "Country": "a"}}, period=60, stat="{stat}"
    )
    return aws.cloudwatch.MetricAlarmMetricQueryArgs(id=id, metric=metric)

rate = aws.cloudwatch.MetricAlarm(
    "rate", name="shop-rate", alarm_description="{why}", comparison_operator="GreaterThanThreshold",
    threshold={threshold}, evaluation_periods=3, datapoints_to_alarm=3, treat_missing_data="notBreaching",
    tags={{"Stack": "{stack}"}},
    metric_queries=[
        asked("requests", "Requests"),
        asked("errors", "Errors"),
        aws.cloudwatch.MetricAlarmMetricQueryArgs(
            id="rate", expression="100 * errors / requests", label="Errors in percent", return_data=True
        ),
    ],
)
bad = aws.cloudwatch.CompositeAlarm(
    "bad", alarm_name="shop-bad", alarm_description="{why}", alarm_rule=rate.name.apply("{rule}".format),
    alarm_actions=["arn:aws:sns:us-east-1:1:{topic}"], ok_actions=["arn:aws:sns:us-east-1:1:ops"],
    tags={{"Stack": "{stack}"}},
)
board = aws.cloudwatch.Dashboard("board", dashboard_name="shop", dashboard_body='{body}')
pulumi.export("arns", [rate.arn, bad.arn, board.dashboard_arn])
"""


def body(title: str) -> str:
    return json.dumps({"widgets": [{"type": "text", "properties": {"markdown": title}}]})


def program(**values: Any) -> str:
    usual = {"stat": "Sum", "why": "Too many errors", "threshold": 5, "stack": "test", "topic": "ops"}
    return ALARMS.format(**usual | {"rule": "ALARM({})", "body": body("Shop")} | values)


def metric_alarm(aws: Client) -> dict[str, Any]:
    (found,) = aws("cloudwatch").describe_alarms(AlarmNames=["shop-rate"])["MetricAlarms"]
    return dict(found)


def composite_alarm(aws: Client) -> dict[str, Any]:
    (found,) = aws("cloudwatch").describe_alarms(AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    return dict(found)


def tags(aws: Client, arn: str) -> dict[str, str]:
    found = aws("cloudwatch").list_tags_for_resource(ResourceARN=arn)["Tags"]
    return {each["Key"]: each["Value"] for each in found}


def test_alarms_and_a_dashboard_are_made_as_asked(shop: Workshop, aws: Client, traffic: Traffic) -> None:
    assert shop.up(program()) == {"create": 4}
    alarm = f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm"
    board = f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/shop"
    assert shop.outputs() == {"arns": [f"{alarm}:shop-rate", f"{alarm}:shop-bad", board]}
    made = metric_alarm(aws)
    assert (made["Threshold"], made["EvaluationPeriods"], made["TreatMissingData"]) == (5.0, 3, "notBreaching")
    requests, _, rate = made["Metrics"]
    told = {each["Name"]: each["Value"] for each in requests["MetricStat"]["Metric"]["Dimensions"]}
    assert told == {"Shop": "b", "Country": "a"}  # CloudWatch promises no order
    assert (rate["Expression"], rate["ReturnData"]) == ("100 * errors / requests", True)
    over = composite_alarm(aws)
    assert (over["AlarmRule"], over["AlarmActions"]) == ("ALARM(shop-rate)", ["arn:aws:sns:us-east-1:1:ops"])
    assert tags(aws, f"{alarm}:shop-bad") == {"Stack": "test"}
    assert aws("cloudwatch").get_dashboard(DashboardName="shop")["DashboardBody"] == body("Shop")
    traffic.actions.clear()
    assert (shop.up(), traffic.actions) == ({}, [])


def test_they_change_in_place(shop: Workshop, aws: Client) -> None:
    shop.up(program())
    changes = {"stat": "Average", "why": "Far too many", "rule": "NOT OK({})", "topic": "night", "stack": "new"}
    assert shop.up(program(**changes, threshold=7.5, body=body("Night"))) == {"update": 3}
    made, over = metric_alarm(aws), composite_alarm(aws)
    assert (made["Threshold"], made["Metrics"][0]["MetricStat"]["Stat"]) == (7.5, "Average")
    assert (over["AlarmRule"], over["AlarmDescription"]) == ("NOT OK(shop-rate)", "Far too many")
    assert over["AlarmActions"] == ["arn:aws:sns:us-east-1:1:night"]
    assert tags(aws, made["AlarmArn"]) == tags(aws, over["AlarmArn"]) == {"Stack": "new"}
    assert aws("cloudwatch").get_dashboard(DashboardName="shop")["DashboardBody"] == body("Night")


def test_another_name_is_another_alarm_and_another_dashboard(shop: Workshop, aws: Client) -> None:
    shop.up(program())
    assert shop.up(program().replace('"shop-bad"', '"shop-ill"').replace('name="shop"', 'name="mall"')) == {
        "replace": 2
    }
    assert composite_alarm(aws)["AlarmName"] == "shop-ill"
    assert [each["DashboardName"] for each in aws("cloudwatch").list_dashboards()["DashboardEntries"]] == ["mall"]


def test_they_go(shop: Workshop, aws: Client) -> None:
    shop.up(program())
    shop.stack.destroy()
    watch = aws("cloudwatch")
    left = watch.describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    assert (left["MetricAlarms"], left["CompositeAlarms"]) == ([], [])
    assert watch.list_dashboards()["DashboardEntries"] == []


def test_what_hands_changed_is_put_right(shop: Workshop, aws: Client) -> None:
    shop.up(program())
    shop.stack.preview_refresh(expect_no_changes=True)
    watch, made, over = aws("cloudwatch"), metric_alarm(aws), composite_alarm(aws)
    told = ("AlarmName", "AlarmDescription", "ComparisonOperator", "EvaluationPeriods", "Threshold", "Metrics")
    watch.put_metric_alarm(**{key: made[key] for key in told} | {"Metrics": made["Metrics"][2:] + made["Metrics"][:1]})
    watch.put_composite_alarm(AlarmName="shop-bad", AlarmRule="FALSE")
    watch.untag_resource(ResourceARN=over["AlarmArn"], TagKeys=["Stack"])
    watch.put_dashboard(DashboardName="shop", DashboardBody=body("Mine"))
    with pytest.raises(CommandError, match="no changes were expected"):
        shop.stack.preview_refresh(expect_no_changes=True)
    shop.stack.refresh()
    assert shop.up() == {"update": 3}
    assert [each["Id"] for each in metric_alarm(aws)["Metrics"]] == ["requests", "errors", "rate"]
    assert composite_alarm(aws)["AlarmRule"] == "ALARM(shop-rate)"
    assert tags(aws, over["AlarmArn"]) == {"Stack": "test"}
    assert watch.get_dashboard(DashboardName="shop")["DashboardBody"] == body("Shop")
    shop.stack.preview_refresh(expect_no_changes=True)


def test_what_hands_deleted_is_made_again(shop: Workshop, aws: Client) -> None:
    shop.up(program())
    watch = aws("cloudwatch")
    watch.delete_alarms(AlarmNames=["shop-rate", "shop-bad"])
    watch.delete_dashboards(DashboardNames=["shop"])
    shop.stack.refresh()
    assert shop.up() == {"create": 3}
    assert (metric_alarm(aws)["AlarmName"], composite_alarm(aws)["AlarmName"]) == ("shop-rate", "shop-bad")


def test_a_dashboard_told_in_another_layout_is_the_same(shop: Workshop, aws: Client) -> None:
    shop.up(program())
    spaced = json.dumps(json.loads(body("Shop")), indent=2)
    aws("cloudwatch").put_dashboard(DashboardName="shop", DashboardBody=spaced)
    shop.stack.preview_refresh(expect_no_changes=True)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (", return_data=True", "", "metricQueries: none of 3: allowed is exactly one with returnData"),
        ("    metric_queries", '    metric_name="Errors", metric_queries', "allowed is either metricName or metricQ"),
    ],
)
def test_an_alarm_that_cloudwatch_would_refuse_is_refused(shop: Workshop, before: str, after: str, told: str) -> None:
    with pytest.raises(CommandError, match=told):
        shop.up(program().replace(before, after))

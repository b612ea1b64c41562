"""Metric alarms, composite alarms and dashboards: creation, changes, drift and deletion."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from .client import CheckError, Client, Resource
from .conftest import Traffic

Aws = Callable[[str], Any]
ALARM = "arn:aws:cloudwatch:us-east-1:123456789012:alarm"
OPS = "arn:aws:sns:us-east-1:1:ops"


def query(id: str, name: str, stat: str = "Sum") -> dict[str, Any]:
    dimensions = {"Shop": "b", "Country": "a"}
    metric = {"namespace": "shop", "metricName": name, "dimensions": dimensions, "period": 60, "stat": stat}
    return {"id": id, "metric": metric}


RATE = {"id": "rate", "expression": "100 * errors / requests", "label": "Errors in percent", "returnData": True}
QUERIES = [query("requests", "Requests"), query("errors", "Errors"), RATE]


def body(title: str) -> str:
    return json.dumps({"widgets": [{"type": "text", "properties": {"markdown": title}}]})


@pytest.fixture
def rate(provider: Client) -> Resource:
    return provider.create(
        "aws:cloudwatch:MetricAlarm",
        "rate",
        name="shop-rate",
        alarmDescription="Too many errors",
        comparisonOperator="GreaterThanThreshold",
        threshold=5,
        evaluationPeriods=3,
        datapointsToAlarm=3,
        treatMissingData="notBreaching",
        tags={"Stack": "test"},
        metricQueries=QUERIES,
    )


@pytest.fixture
def bad(provider: Client, rate: Resource) -> Resource:
    return provider.create(
        "aws:cloudwatch:CompositeAlarm",
        "bad",
        alarmName="shop-bad",
        alarmDescription="Too many errors",
        alarmRule="ALARM(shop-rate)",
        alarmActions=[OPS],
        okActions=[OPS],
        tags={"Stack": "test"},
    )


@pytest.fixture
def board(provider: Client) -> Resource:
    return provider.create("aws:cloudwatch:Dashboard", "board", dashboardName="shop", dashboardBody=body("Shop"))


def metric_alarm(aws: Aws) -> dict[str, Any]:
    (found,) = aws("cloudwatch").describe_alarms(AlarmNames=["shop-rate"])["MetricAlarms"]
    return dict(found)


def composite_alarm(aws: Aws) -> dict[str, Any]:
    (found,) = aws("cloudwatch").describe_alarms(AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    return dict(found)


def tags(aws: Aws, arn: str) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in aws("cloudwatch").list_tags_for_resource(ResourceARN=arn)["Tags"]}


def test_a_metric_alarm_is_created_as_declared(provider: Client, aws: Aws, rate: Resource, traffic: Traffic) -> None:
    assert (rate.id, rate["arn"]) == ("shop-rate", f"{ALARM}:shop-rate")
    created = metric_alarm(aws)
    assert (created["Threshold"], created["EvaluationPeriods"], created["TreatMissingData"]) == (5.0, 3, "notBreaching")
    requests, _, rated = created["Metrics"]
    dimensions = {each["Name"]: each["Value"] for each in requests["MetricStat"]["Metric"]["Dimensions"]}
    assert dimensions == {"Shop": "b", "Country": "a"}  # CloudWatch guarantees no order
    assert (rated["Expression"], rated["ReturnData"]) == ("100 * errors / requests", True)
    traffic.forget()
    assert (provider.update(rate), traffic.actions) == ({}, [])


def test_a_composite_alarm_is_created_as_declared(aws: Aws, bad: Resource) -> None:
    assert (bad.id, bad["arn"]) == ("shop-bad", f"{ALARM}:shop-bad")
    created = composite_alarm(aws)
    assert (created["AlarmRule"], created["AlarmActions"], created["OKActions"]) == ("ALARM(shop-rate)", [OPS], [OPS])
    assert tags(aws, bad["arn"]) == {"Stack": "test"}


def test_a_dashboard_is_created_as_declared(aws: Aws, board: Resource) -> None:
    assert (board.id, board["dashboardArn"]) == ("shop", "arn:aws:cloudwatch::123456789012:dashboard/shop")
    assert aws("cloudwatch").get_dashboard(DashboardName="shop")["DashboardBody"] == body("Shop")


def test_a_metric_alarm_changes_in_place(provider: Client, aws: Aws, rate: Resource) -> None:
    queries = [query("requests", "Requests", "Average"), *QUERIES[1:]]
    assert provider.update(rate, threshold=7.5, metricQueries=queries, tags={"Stack": "new"}) == {
        "threshold": "update",
        "metricQueries[0].metric.stat": "update",
        "tags.Stack": "update",
    }
    created = metric_alarm(aws)
    assert (created["Threshold"], created["Metrics"][0]["MetricStat"]["Stat"]) == (7.5, "Average")
    assert tags(aws, rate["arn"]) == {"Stack": "new"}


def test_a_composite_alarm_changes_in_place(provider: Client, aws: Aws, bad: Resource) -> None:
    night = "arn:aws:sns:us-east-1:1:night"
    provider.update(bad, alarmRule="NOT OK(shop-rate)", alarmActions=[night], alarmDescription="More", tags={"A": "1"})
    created = composite_alarm(aws)
    assert (created["AlarmRule"], created["AlarmActions"]) == ("NOT OK(shop-rate)", [night])
    assert (created["AlarmDescription"], tags(aws, bad["arn"])) == ("More", {"A": "1"})


def test_another_name_replaces_a_composite_alarm(provider: Client, aws: Aws, bad: Resource) -> None:
    assert provider.update(bad, alarmName="shop-unhealthy") == {"alarmName": "update-replace"}
    assert composite_alarm(aws)["AlarmName"] == "shop-unhealthy"


def test_another_name_replaces_a_dashboard(provider: Client, aws: Aws, board: Resource) -> None:
    assert provider.update(board, dashboardName="mall") == {"dashboardName": "update-replace"}
    assert [each["DashboardName"] for each in aws("cloudwatch").list_dashboards()["DashboardEntries"]] == ["mall"]


def test_alarms_and_dashboards_are_deleted(
    provider: Client, aws: Aws, rate: Resource, bad: Resource, board: Resource
) -> None:
    for each in (bad, rate, board):
        provider.delete(each)
    found = aws("cloudwatch").describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    assert (found["MetricAlarms"], found["CompositeAlarms"]) == ([], [])
    assert aws("cloudwatch").list_dashboards()["DashboardEntries"] == []


def test_manual_changes_to_a_metric_alarm_are_reverted(provider: Client, aws: Aws, rate: Resource) -> None:
    assert provider.refresh(rate) == {}
    created = metric_alarm(aws)
    retained = ("AlarmName", "AlarmDescription", "ComparisonOperator", "EvaluationPeriods", "Metrics")
    changed = {key: created[key] for key in retained} | {"Metrics": created["Metrics"][2:] + created["Metrics"][:1]}
    aws("cloudwatch").put_metric_alarm(**changed, Threshold=1000.0)
    assert provider.refresh(rate) == {
        "datapointsToAlarm": "add",
        "metricQueries": "update",
        "threshold": "update",
        "treatMissingData": "add",
    }
    provider.update(rate)
    assert [each["Id"] for each in metric_alarm(aws)["Metrics"]] == ["requests", "errors", "rate"]
    assert provider.refresh(rate) == {}


def test_manual_changes_to_a_composite_alarm_are_reverted(provider: Client, aws: Aws, bad: Resource) -> None:
    aws("cloudwatch").put_composite_alarm(AlarmName="shop-bad", AlarmRule="FALSE", AlarmActions=[OPS], OKActions=[OPS])
    aws("cloudwatch").untag_resource(ResourceARN=bad["arn"], TagKeys=["Stack"])
    assert provider.refresh(bad) == {"alarmDescription": "add", "alarmRule": "update", "tags.Stack": "add"}
    provider.update(bad)
    assert (composite_alarm(aws)["AlarmRule"], tags(aws, bad["arn"])) == ("ALARM(shop-rate)", {"Stack": "test"})
    assert provider.refresh(bad) == {}


def test_a_dashboard_in_another_format_is_no_drift(provider: Client, aws: Aws, board: Resource) -> None:
    spaced = json.dumps(json.loads(body("Shop")), indent=2)
    aws("cloudwatch").put_dashboard(DashboardName="shop", DashboardBody=spaced)
    assert provider.refresh(board) == {}


def test_manual_changes_to_a_dashboard_are_reverted(provider: Client, aws: Aws, board: Resource) -> None:
    aws("cloudwatch").put_dashboard(DashboardName="shop", DashboardBody=body("Mine"))
    assert provider.refresh(board) == {"dashboardBody": "update"}
    provider.update(board)
    assert aws("cloudwatch").get_dashboard(DashboardName="shop")["DashboardBody"] == body("Shop")


def test_manually_deleted_resources_are_not_found(
    provider: Client, aws: Aws, rate: Resource, bad: Resource, board: Resource
) -> None:
    aws("cloudwatch").delete_alarms(AlarmNames=["shop-rate", "shop-bad"])
    aws("cloudwatch").delete_dashboards(DashboardNames=["shop"])
    assert [provider.refresh(each) for each in (rate, bad, board)] == [None, None, None]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metricQueries": QUERIES[:2]}, "metricQueries: none of 2: allowed is exactly one with returnData"),
        ({"metricName": "Errors"}, "alarm shop-rate: allowed is either metricName or metricQueries"),
    ],
)
def test_an_alarm_that_cloudwatch_would_refuse_is_refused_by_check(
    provider: Client, rate: Resource, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CheckError, match=f"^{reason}$"):
        provider.diff(rate, **changes)

"""Metrics API of the emulated CloudWatch: periods, dimensions, percentiles, metric math."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.rehearsal.cloud.fleet import Running

BLUE = [{"Name": "Color", "Value": "blue"}]
GREEN = [{"Name": "Color", "Value": "green"}]


@pytest.fixture
def minute() -> datetime:
    """The start of a minute in the past."""
    now = datetime.now(UTC)
    return now.replace(second=0, microsecond=0) - timedelta(minutes=5)


def put(cloud: Running, at: datetime, name: str, *values: float, dimensions: Any = BLUE) -> None:
    data = {"MetricName": name, "Dimensions": dimensions, "Timestamp": at, "Values": list(values), "Unit": "Count"}
    cloud.client("cloudwatch").put_metric_data(Namespace="app", MetricData=[data])


def query(id: str, name: str, stat: str, period: int = 60, dimensions: Any = BLUE, **more: Any) -> dict[str, Any]:
    metric = {"Namespace": "app", "MetricName": name, "Dimensions": dimensions}
    return {"Id": id, "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}, **more}


def results(cloud: Running, begin: datetime, end: datetime, *queries: Any, **more: Any) -> dict[str, Any]:
    response = cloud.client("cloudwatch").get_metric_data(
        MetricDataQueries=list(queries), StartTime=begin, EndTime=end, **more
    )
    return {
        row["Id"]: list(zip(row["Timestamps"], row["Values"], strict=True)) for row in response["MetricDataResults"]
    }


def test_periods_are_aligned_and_the_current_one_has_the_sum_so_far(cloud: Running, minute: datetime) -> None:
    put(cloud, minute + timedelta(seconds=5), "requests", 10, 20)
    put(cloud, minute + timedelta(seconds=59), "requests", 5)
    put(cloud, minute + timedelta(seconds=60), "requests", 7)
    begin, end = minute + timedelta(seconds=3), minute + timedelta(seconds=61)
    (found,) = results(cloud, begin, end, query("r", "requests", "Sum")).values()
    assert found == [(minute + timedelta(seconds=60), 7), (minute, 35)]
    (found,) = results(
        cloud, begin, end, query("r", "requests", "Sum", period=30), ScanBy="TimestampAscending"
    ).values()
    assert found == [(minute + timedelta(seconds=at), value) for at, value in ((0, 30), (30, 5), (60, 7))]


def test_all_dimensions_have_to_match(cloud: Running, minute: datetime) -> None:
    put(cloud, minute, "requests", 1, dimensions=BLUE)
    put(cloud, minute, "requests", 2, dimensions=GREEN)
    put(cloud, minute, "requests", 4, dimensions=[*GREEN, {"Name": "Zone", "Value": "a"}])
    queries = [
        query("blue", "requests", "Sum"),
        query("green", "requests", "Sum", dimensions=GREEN),
        query("all", "requests", "Sum", dimensions=[]),
    ]
    found = results(cloud, minute, minute + timedelta(minutes=1), *queries)
    assert found == {"blue": [(minute, 1)], "green": [(minute, 2)], "all": []}


def test_expressions_refer_to_other_queries(cloud: Running, minute: datetime) -> None:
    later = minute + timedelta(minutes=1)
    put(cloud, minute, "requests", *[1] * 40)
    put(cloud, minute, "errors", 1, 1)
    put(cloud, later, "requests", *[1] * 10)
    queries = [
        {"Id": "percent", "Expression": "100 * share", "Label": "errors of 100"},
        {"Id": "share", "Expression": "FILL(errors, 0) / requests", "ReturnData": False},
        query("requests", "requests", "Sum", ReturnData=False),
        query("errors", "errors", "Sum", ReturnData=False),
    ]
    found = results(cloud, minute, later + timedelta(minutes=1), *queries, ScanBy="TimestampAscending")
    assert found == {"percent": [(minute, 5), (later, 0)]}


def test_percentiles_are_of_the_single_values(cloud: Running, minute: datetime) -> None:
    put(cloud, minute, "latency", *[0.01] * 98, 0.5, 0.7)
    (found,) = results(cloud, minute, minute + timedelta(minutes=1), query("l", "latency", "p99")).values()
    assert found == [(minute, 0.5)]


def test_metric_statistics(cloud: Running, minute: datetime) -> None:
    put(cloud, minute + timedelta(seconds=1), "latency", 1, 2, 3)
    put(cloud, minute + timedelta(seconds=58), "latency", 10)
    request = {
        "Namespace": "app",
        "MetricName": "latency",
        "Dimensions": BLUE,
        "StartTime": minute,
        "EndTime": minute + timedelta(minutes=2),
        "Period": 60,
    }
    cloudwatch = cloud.client("cloudwatch")
    (point,) = cloudwatch.get_metric_statistics(**request, Statistics=["Sum", "Average", "Minimum"])["Datapoints"]
    assert (point["Timestamp"], point["Sum"], point["Average"], point["Minimum"]) == (minute, 16, 4, 1)
    (point,) = cloudwatch.get_metric_statistics(**request, ExtendedStatistics=["p50"])["Datapoints"]
    assert point["ExtendedStatistics"] == {"p50": 2}


def test_metrics_are_listed_with_their_dimensions(cloud: Running, minute: datetime) -> None:
    for name in ("requests", "requests", "errors"):
        put(cloud, minute, name, 1)
    found = cloud.client("cloudwatch").list_metrics(Namespace="app")["Metrics"]
    assert [(each["MetricName"], each["Dimensions"]) for each in found] == [("requests", BLUE), ("errors", BLUE)]


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        ({"Id": "e", "Expression": "nothing + 1"}, "expression 'nothing \\+ 1': nothing is not among"),
        ({"Id": "e", "Expression": "e + 1"}, "depends on itself"),
        (query("m", "latency", "Median"), "statistic 'Median'"),
        (query("m", "latency", "Sum", period=45), "period 45"),
    ],
)
def test_an_invalid_query_is_refused(cloud: Running, minute: datetime, invalid: Any, message: str) -> None:
    with pytest.raises(ClientError, match=message) as refused:
        results(cloud, minute, minute + timedelta(minutes=1), invalid)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400

"""CloudWatch metrics API: PutMetricData, ListMetrics, GetMetricData and GetMetricStatistics on the metric store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.exceptions import InvalidParameterValue, ValidationError
from moto.cloudwatch.models import CloudWatchBackend, MetricAggregatedDatum, MetricDatum
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult

from rehearsal.cloud.additions.actions import LOCK
from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import replace_methods
from rehearsal.cloud.cloudwatch import metric_queries
from rehearsal.cloud.cloudwatch.metric_math import MathError
from rehearsal.cloud.cloudwatch.metric_queries import MetricQuery, MetricStat
from rehearsal.cloud.cloudwatch.metric_store import RETENTION_S, MetricId, MetricStore, StatisticError, statistic

GAPS = [
    Gap(
        service="cloudwatch",
        action="GetMetricData, GetMetricStatistics",
        reason="moto has no percentiles and no metric math, and aligns periods with the start of a query; here periods "
        f"are aligned as on AWS, and data of the last {RETENTION_S // 60} minutes is available, at once",
    ),
]

_put_plain = CloudWatchBackend.put_metric_data
_statistics_plain = CloudWatchResponse.get_metric_statistics


def extend() -> None:
    replace_methods(
        CloudWatchBackend,
        put_metric_data=_put_metric_data,
        get_all_metrics=_get_all_metrics,
        get_metric_data=_get_metric_data,
    )
    replace_methods(CloudWatchResponse, get_metric_statistics=_get_metric_statistics)


def store_of(backend: Any) -> MetricStore:
    """The metrics of an account in a region."""
    store: MetricStore = backend.__dict__.setdefault("kept_metrics", MetricStore())
    return store


def parse_metric(namespace: str | None, name: str, dimensions: Iterable[Mapping[str, str]]) -> MetricId:
    pairs = frozenset((dimension["Name"], dimension["Value"]) for dimension in dimensions)
    return MetricId(namespace=str(namespace), name=name, dimensions=pairs)


def _put_metric_data(self: Any, namespace: str, metric_data: list[dict[str, Any]]) -> None:
    with LOCK:
        _put_plain(self, namespace, metric_data)
        data, self.metric_data = self.metric_data, []
    store = store_of(self)
    for datum in data:
        metric = MetricId(
            namespace=namespace, name=datum.name, dimensions=frozenset((d.name, d.value) for d in datum.dimensions)
        )
        at, unit = _moment(datum.timestamp).timestamp(), datum.unit or "None"
        if isinstance(datum, MetricAggregatedDatum):
            store.add_statistics(
                metric, at, unit, total=datum.sum, count=datum.sample_count, minimum=datum.min, maximum=datum.max
            )
        else:
            store.add(metric, at, {datum.value: 1}, unit)


def _get_all_metrics(self: Any) -> list[Any]:
    """For ListMetrics, which needs one datum of each metric."""
    metrics = [
        MetricDatum(
            namespace=metric.namespace,
            name=metric.name,
            value=0.0,
            dimensions=[{"Name": name, "Value": value} for name, value in sorted(metric.dimensions)],
            timestamp=None,
            unit=unit,
        )
        for metric, unit in store_of(self).metrics()
    ]
    return [*metrics, *self.aws_metric_data]


def _get_metric_data(
    self: Any,
    queries: list[dict[str, Any]],
    start_time: datetime,
    end_time: datetime,
    scan_by: str = "TimestampDescending",
) -> list[dict[str, Any]]:
    begin, end = _range(start_time, end_time)
    try:
        store = metric_queries.evaluate([parse_query(query) for query in queries], store_of(self), _within(begin, end))
    except (MathError, StatisticError) as error:
        raise ValidationError(str(error)) from error
    rows = [(query, store[query["Id"]]) for query in queries if query["Id"] in store]
    descending = scan_by == "TimestampDescending"
    return [
        {
            "id": query["Id"],
            "label": _label(query),
            "timestamps": [datetime.fromtimestamp(at, UTC) for at in sorted(series, reverse=descending)],
            "values": [series[at] for at in sorted(series, reverse=descending)],
            "status_code": "Complete",
        }
        for query, series in rows
    ]


def parse_query(request: Mapping[str, Any]) -> MetricQuery:
    """A query from the API's request; raises ValidationError."""
    return_data = request.get("ReturnData", True)
    if "MetricStat" not in request:
        return MetricQuery(
            id=request["Id"],
            expression=request["Expression"],
            period=int(request.get("Period") or 0),
            return_data=return_data,
        )
    stat = request["MetricStat"]
    metric_stat = MetricStat(
        metric=parse_metric(
            stat["Metric"]["Namespace"], stat["Metric"]["MetricName"], stat["Metric"].get("Dimensions", [])
        ),
        period=_period(stat["Period"]),
        stat=stat["Stat"],
        unit=stat.get("Unit"),
    )
    return MetricQuery(id=request["Id"], metric_stat=metric_stat, return_data=return_data)


def _get_metric_statistics(self: Any) -> ActionResult:
    # For moto's validation; it accepts percentiles but never returns them.
    _statistics_plain(self)
    parameters = self._get_params()
    period = _period(parameters["Period"])
    begin, end = _range(parameters["StartTime"], parameters["EndTime"])
    metric = parse_metric(parameters["Namespace"], parameters["MetricName"], parameters.get("Dimensions", []))
    plain, extended = parameters.get("Statistics") or [], parameters.get("ExtendedStatistics") or []
    points = []
    for start in _within(begin, end)(period):
        store = store_of(self.cloudwatch_backend)
        seconds = [second for _at, second in store.seconds(metric, start, start + period, parameters.get("Unit"))]
        if seconds:
            points.append(_point(start, seconds, plain, extended, parameters.get("Unit")))
    return ActionResult({"Label": parameters["MetricName"], "Datapoints": points})


def _point(
    start: int, seconds: Sequence[Any], plain: Sequence[str], extended: Sequence[str], unit: str | None
) -> dict[str, Any]:
    try:
        values = {name: statistic(seconds, name) for name in plain}
        percentile_values = {name: statistic(seconds, name) for name in extended}
    except StatisticError as error:
        raise InvalidParameterValue(str(error)) from error
    percentiles = {"ExtendedStatistics": percentile_values} if percentile_values else {}
    return {"Timestamp": datetime.fromtimestamp(start, UTC), "Unit": unit or "None", **values, **percentiles}


def _within(begin: float, end: float) -> metric_queries.Starts:
    """Aligned periods, as CloudWatch's, from the one that `begin` is in."""
    return lambda period: range(int(begin // period) * period, int(-(-end // 1)), period)


def _range(start: datetime, end: datetime) -> tuple[float, float]:
    begin, until = _moment(start).timestamp(), _moment(end).timestamp()
    if begin >= until:
        raise ValidationError(f"StartTime {start} must be before EndTime {end}")
    now = datetime.now(UTC).timestamp()
    return max(begin, now - 2 * RETENTION_S), min(
        until, now + RETENTION_S
    )  # the store holds no more: keeps the response short


def _moment(request: datetime) -> datetime:
    """moto's own times are UTC without a time zone."""
    return request if request.tzinfo else request.replace(tzinfo=UTC)


def _period(request: Any) -> int:
    period = int(request)
    if period not in (1, 5, 10, 20, 30) and (period < 60 or period % 60):
        raise InvalidParameterValue(f"period {period}: 1, 5, 10, 20, 30 or a multiple of 60 is allowed")
    return period


def _label(query: Mapping[str, Any]) -> str:
    if query.get("Label") or "MetricStat" not in query:
        return str(query.get("Label") or query["Id"])
    return str(query["MetricStat"]["Metric"]["MetricName"])

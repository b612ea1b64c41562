"""Metrics that are kept by the second for a bounded time, and queries on them as CloudWatch answers them."""

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
from rehearsal.cloud.additions.patching import put_into
from rehearsal.cloud.cloudwatch import metric_queries
from rehearsal.cloud.cloudwatch.metric_math import MathError
from rehearsal.cloud.cloudwatch.metric_queries import Asked, Query
from rehearsal.cloud.cloudwatch.metric_store import KEPT_S, Metric, StatisticError, Store, statistic

GAPS = [
    Gap(
        service="cloudwatch",
        action="GetMetricData, GetMetricStatistics",
        reason="moto knows no percentiles and no metric math, and begins periods where the question begins; here they "
        f"begin at whole periods, and data of the last {KEPT_S // 60} minutes is kept and told at once",
    ),
]

_put_plain = CloudWatchBackend.put_metric_data
_statistics_plain = CloudWatchResponse.get_metric_statistics


def extend() -> None:
    put_into(
        CloudWatchBackend,
        put_metric_data=_put_metric_data,
        get_all_metrics=_get_all_metrics,
        get_metric_data=_get_metric_data,
    )
    put_into(CloudWatchResponse, get_metric_statistics=_get_metric_statistics)


def store_of(backend: Any) -> Store:
    """The metrics of an account in a region."""
    found: Store = backend.__dict__.setdefault("kept_metrics", Store())
    return found


def metric_of(namespace: str | None, name: str, dimensions: Iterable[Mapping[str, str]]) -> Metric:
    held = frozenset((each["Name"], each["Value"]) for each in dimensions)
    return Metric(namespace=str(namespace), name=name, dimensions=held)


def _put_metric_data(self: Any, namespace: str, metric_data: list[dict[str, Any]]) -> None:
    with LOCK:
        _put_plain(self, namespace, metric_data)
        taken, self.metric_data = self.metric_data, []
    store = store_of(self)
    for datum in taken:
        metric = Metric(
            namespace=namespace, name=datum.name, dimensions=frozenset((d.name, d.value) for d in datum.dimensions)
        )
        at, unit = _moment(datum.timestamp).timestamp(), datum.unit or "None"
        if isinstance(datum, MetricAggregatedDatum):
            store.add_set(metric, at, unit, total=datum.sum, count=datum.sample_count, least=datum.min, most=datum.max)
        else:
            store.add(metric, at, {datum.value: 1}, unit)


def _get_all_metrics(self: Any) -> list[Any]:
    """For ListMetrics: one datum a metric says all that is told there."""
    kept = [
        MetricDatum(
            namespace=metric.namespace,
            name=metric.name,
            value=0.0,
            dimensions=[{"Name": name, "Value": value} for name, value in sorted(metric.dimensions)],
            timestamp=None,
            unit=unit,
        )
        for metric, unit in store_of(self).known()
    ]
    return [*kept, *self.aws_metric_data]


def _get_metric_data(
    self: Any,
    queries: list[dict[str, Any]],
    start_time: datetime,
    end_time: datetime,
    scan_by: str = "TimestampDescending",
) -> list[dict[str, Any]]:
    begin, end = _range(start_time, end_time)
    try:
        found = metric_queries.answer([query_of(query) for query in queries], store_of(self), _within(begin, end))
    except (MathError, StatisticError) as error:
        raise ValidationError(str(error)) from error
    rows = [(query, found[query["Id"]]) for query in queries if query["Id"] in found]
    down = scan_by == "TimestampDescending"
    return [
        {
            "id": query["Id"],
            "label": _label(query),
            "timestamps": [datetime.fromtimestamp(at, UTC) for at in sorted(line, reverse=down)],
            "values": [line[at] for at in sorted(line, reverse=down)],
            "status_code": "Complete",
        }
        for query, line in rows
    ]


def query_of(given: Mapping[str, Any]) -> Query:
    """From the API's own words; raises ValidationError."""
    returned = given.get("ReturnData", True)
    if "MetricStat" not in given:
        return Query(
            id=given["Id"], expression=given["Expression"], period=int(given.get("Period") or 0), returned=returned
        )
    said = given["MetricStat"]
    asked = Asked(
        metric=metric_of(
            said["Metric"]["Namespace"], said["Metric"]["MetricName"], said["Metric"].get("Dimensions", [])
        ),
        period=_period(said["Period"]),
        stat=said["Stat"],
        unit=said.get("Unit"),
    )
    return Query(id=given["Id"], asked=asked, returned=returned)


def _get_metric_statistics(self: Any) -> ActionResult:
    # moto's own refuses what is missing; percentiles it takes and never answers.
    _statistics_plain(self)
    asked = self._get_params()
    period = _period(asked["Period"])
    begin, end = _range(asked["StartTime"], asked["EndTime"])
    metric = metric_of(asked["Namespace"], asked["MetricName"], asked.get("Dimensions", []))
    plain, extended = asked.get("Statistics") or [], asked.get("ExtendedStatistics") or []
    points = []
    for start in _within(begin, end)(period):
        store = store_of(self.cloudwatch_backend)
        seconds = [second for _at, second in store.seconds(metric, start, start + period, asked.get("Unit"))]
        if seconds:
            points.append(_point(start, seconds, plain, extended, asked.get("Unit")))
    return ActionResult({"Label": asked["MetricName"], "Datapoints": points})


def _point(
    start: int, seconds: Sequence[Any], plain: Sequence[str], extended: Sequence[str], unit: str | None
) -> dict[str, Any]:
    try:
        values = {name: statistic(seconds, name) for name in plain}
        shares = {name: statistic(seconds, name) for name in extended}
    except StatisticError as error:
        raise InvalidParameterValue(str(error)) from error
    percentiles = {"ExtendedStatistics": shares} if shares else {}
    return {"Timestamp": datetime.fromtimestamp(start, UTC), "Unit": unit or "None", **values, **percentiles}


def _within(begin: float, end: float) -> metric_queries.Starts:
    """Whole periods, as CloudWatch's: also the one that `begin` is in the middle of."""
    return lambda period: range(int(begin // period) * period, int(-(-end // 1)), period)


def _range(start: datetime, end: datetime) -> tuple[float, float]:
    begin, until = _moment(start).timestamp(), _moment(end).timestamp()
    if begin >= until:
        raise ValidationError(f"StartTime {start} must be before EndTime {end}")
    now = datetime.now(UTC).timestamp()
    return max(begin, now - 2 * KEPT_S), min(until, now + KEPT_S)  # no more is kept: so that no answer gets long


def _moment(given: datetime) -> datetime:
    """moto's own times have no zone, and are UTC."""
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def _period(given: Any) -> int:
    period = int(given)
    if period not in (1, 5, 10, 20, 30) and (period < 60 or period % 60):
        raise InvalidParameterValue(f"period {period}: 1, 5, 10, 20, 30 or a multiple of 60 is allowed")
    return period


def _label(query: Mapping[str, Any]) -> str:
    if query.get("Label") or "MetricStat" not in query:
        return str(query.get("Label") or query["Id"])
    return str(query["MetricStat"]["Metric"]["MetricName"])

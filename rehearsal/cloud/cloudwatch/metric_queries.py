"""Metric queries: metrics of the store, and expressions over them, by period."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rehearsal.cloud.cloudwatch import metric_math
from rehearsal.cloud.cloudwatch.metric_math import MathError, TimeSeries
from rehearsal.cloud.cloudwatch.metric_store import MetricId, MetricStore, SecondBucket, check_statistic, statistic


@dataclass(frozen=True, kw_only=True)
class MetricStat:
    """`period` in seconds; without a unit, all units of the metric count together."""

    metric: MetricId
    period: int
    stat: str
    unit: str | None = None


@dataclass(frozen=True, kw_only=True)
class MetricQuery:
    """Either `metric_stat` or `expression` is set; only queries with `return_data` are in the result."""

    id: str
    metric_stat: MetricStat | None = None
    expression: str = ""
    period: int = 0
    return_data: bool = True


Starts = Callable[[int], Sequence[int]]  # of a period: the times at which its windows begin


def evaluate(queries: Sequence[MetricQuery], store: MetricStore, starts: Starts) -> dict[str, TimeSeries]:
    """Time series by query id; raises MathError and StatisticError."""
    return {
        query.id: points for query, points in _QueryEvaluation(queries, store, starts).series() if query.return_data
    }


class _QueryEvaluation:
    def __init__(self, queries: Sequence[MetricQuery], store: MetricStore, starts: Starts) -> None:
        self._queries, self._store, self._starts = {query.id: query for query in queries}, store, starts
        self._results: dict[str, TimeSeries] = {}
        periods = [query.metric_stat.period for query in queries if query.metric_stat]
        self._period = max(periods, default=60)

    def series(self) -> list[tuple[MetricQuery, TimeSeries]]:
        return [(query, self._series(query.id, ())) for query in self._queries.values()]

    def _series(self, id: str, path: tuple[str, ...]) -> TimeSeries:
        if id in path:
            raise MathError(f"query {id!r} depends on itself, by way of {' and '.join(path)}")
        if id not in self._results:
            query = self._queries[id]
            self._results[id] = (
                _measured(query.metric_stat, self._store, self._starts)
                if query.metric_stat
                else self._calculated(query, (*path, id))
            )
        return self._results[id]

    def _calculated(self, query: MetricQuery, path: tuple[str, ...]) -> TimeSeries:
        ids = metric_math.query_ids(query.expression) & self._queries.keys()
        series = {id: self._series(id, path) for id in ids}
        return metric_math.evaluate(query.expression, series, self._starts(query.period or self._period))


def _measured(metric_stat: MetricStat, store: MetricStore, starts: Starts) -> TimeSeries:
    check_statistic(metric_stat.stat)
    begins = sorted(starts(metric_stat.period))
    if not begins:
        return {}
    windows: dict[int, list[SecondBucket]] = {begin: [] for begin in begins}
    first = begins[0]
    for at, second in store.seconds(metric_stat.metric, first, begins[-1] + metric_stat.period, metric_stat.unit):
        # The windows are adjacent.
        windows[first + (at - first) // metric_stat.period * metric_stat.period].append(second)
    values = {begin: statistic(seconds, metric_stat.stat) for begin, seconds in windows.items()}
    return {begin: value for begin, value in values.items() if value is not None}

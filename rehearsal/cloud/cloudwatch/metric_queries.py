"""Queries of metrics and of expressions over them, answered from the store, window by window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rehearsal.cloud.cloudwatch import metric_math
from rehearsal.cloud.cloudwatch.metric_math import Line, MathError
from rehearsal.cloud.cloudwatch.metric_store import Metric, Second, Store, check_statistic, statistic


@dataclass(frozen=True, kw_only=True)
class Asked:
    """`period` in seconds; without a unit, all units of the metric count together."""

    metric: Metric
    period: int
    stat: str
    unit: str | None = None


@dataclass(frozen=True, kw_only=True)
class Query:
    """Either `asked` or `expression` is given; `returned` says whether the answer holds it."""

    id: str
    asked: Asked | None = None
    expression: str = ""
    period: int = 0
    returned: bool = True


Starts = Callable[[int], Sequence[int]]  # of a period: the times at which its windows begin


def answer(queries: Sequence[Query], store: Store, starts: Starts) -> dict[str, Line]:
    """Each query's line by its id; raises MathError and StatisticError."""
    return {query.id: line for query, line in _Answering(queries, store, starts).lines() if query.returned}


class _Answering:
    def __init__(self, queries: Sequence[Query], store: Store, starts: Starts) -> None:
        self._queries, self._store, self._starts = {query.id: query for query in queries}, store, starts
        self._found: dict[str, Line] = {}
        periods = [query.asked.period for query in queries if query.asked]
        self._period = max(periods, default=60)

    def lines(self) -> list[tuple[Query, Line]]:
        return [(query, self._line(query.id, ())) for query in self._queries.values()]

    def _line(self, id: str, askers: tuple[str, ...]) -> Line:
        if id in askers:
            raise MathError(f"query {id!r} asks for itself, by way of {' and '.join(askers)}")
        if id not in self._found:
            query = self._queries[id]
            self._found[id] = (
                _measured(query.asked, self._store, self._starts)
                if query.asked
                else self._counted(query, (*askers, id))
            )
        return self._found[id]

    def _counted(self, query: Query, askers: tuple[str, ...]) -> Line:
        wanted = metric_math.names(query.expression) & self._queries.keys()
        lines = {id: self._line(id, askers) for id in wanted}
        return metric_math.evaluate(query.expression, lines, self._starts(query.period or self._period))


def _measured(asked: Asked, store: Store, starts: Starts) -> Line:
    check_statistic(asked.stat)
    begins = sorted(starts(asked.period))
    if not begins:
        return {}
    windows: dict[int, list[Second]] = {begin: [] for begin in begins}
    first = begins[0]
    for at, second in store.seconds(asked.metric, first, begins[-1] + asked.period, asked.unit):
        # The windows lie side by side.
        windows[first + (at - first) // asked.period * asked.period].append(second)
    found = {begin: statistic(seconds, asked.stat) for begin, seconds in windows.items()}
    return {begin: value for begin, value in found.items() if value is not None}

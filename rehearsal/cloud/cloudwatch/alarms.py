"""Every alarm of the account, judged at a moment."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.metrics import store_of
from rehearsal.cloud.cloudwatch import composite_rules, metric_queries
from rehearsal.cloud.cloudwatch.alarm_evaluation import COMPARISONS, Bound, Missing, State, judge
from rehearsal.cloud.cloudwatch.composite_rules import RuleError
from rehearsal.cloud.cloudwatch.metric_queries import Asked, Query
from rehearsal.cloud.cloudwatch.metric_store import Metric

MOST_SCALE = 60.0
UNJUDGED = "Unchecked: not judged here: "

log = logging.getLogger(__name__)


class ScaleError(ValueError):
    """A time scale that is not allowed."""


@dataclass(kw_only=True)
class Alarms:
    """`scale` shortens the periods of all metric alarms: at 10, 60 seconds count as 6."""

    scale: float = 1.0

    def set_scale(self, scale: object) -> None:
        """Raises ScaleError."""
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 1 <= scale <= MOST_SCALE:
            raise ScaleError(f"time scale {scale!r}: a number from 1 to {MOST_SCALE:g} is allowed")
        self.scale = float(scale)

    def gaps(self) -> list[Gap]:
        if self.scale == 1:
            return []
        told = f"a rehearsal is shorter than AWS's minutes: 60 s of an alarm's period count as {60 / self.scale:.3g} s"
        return [Gap(service="cloudwatch", action="(periods of alarms)", reason=told)]

    def judge(self, backend: Any, now: float) -> None:
        """`now` in seconds since the epoch: the last periods end there."""
        alarms = list(backend.alarms.values())
        for alarm in alarms:
            if alarm.rule is None:
                self._judge_metric_alarm(backend, alarm, int(now))
        composites = [alarm for alarm in alarms if alarm.rule is not None]
        # Alarms over alarms may stand over each other: a change goes up one floor a pass.
        for _ in composites:
            if not any([_judge_composite(backend, alarm) for alarm in composites]):
                break

    def _judge_metric_alarm(self, backend: Any, alarm: Any, now: int) -> None:
        points: list[float | None] = []
        try:
            points = self._points(backend, alarm, now)
            verdict = judge(_bound(alarm), points)
        except (ArithmeticError, KeyError, TypeError, ValueError) as error:  # as AWS would have refused to put it
            verdict = (State.INSUFFICIENT_DATA, f"{UNJUDGED}{error}")
        if verdict is not None and _news(alarm, *verdict):
            data = {"version": "1.0", "threshold": alarm.threshold, "recentDatapoints": points} if points else {}
            alarm.update_state(verdict[1], json.dumps(data), verdict[0].value)

    def _points(self, backend: Any, alarm: Any, now: int) -> list[float | None]:
        queries = list(self._queries(alarm))
        periods = int(alarm.evaluation_periods)

        def starts(period: int) -> range:
            return range(now - periods * period, now, period)

        (line,) = metric_queries.answer(queries, store_of(backend), starts).values()
        longest = max((query.asked.period for query in queries if query.asked), default=60)
        return [line.get(start) for start in starts(longest)]

    def _queries(self, alarm: Any) -> Iterator[Query]:
        if not alarm.metric_data_queries:
            stat = alarm.extended_statistic or alarm.statistic
            metric = _metric(alarm.namespace, alarm.metric_name, alarm.dimensions)
            yield Query(id="metric", asked=self._asked(metric, alarm.period, stat, alarm.unit))
        # One of them says that it is what is judged; that one alone may also say nothing.
        chosen = [query.id for query in alarm.metric_data_queries if query.return_data]
        for query in alarm.metric_data_queries:
            returned = query.id in chosen or not chosen
            if query.metric_stat is None:
                yield Query(id=query.id, expression=query.expression, returned=returned)
                continue
            said = query.metric_stat
            metric = _metric(said.metric.namespace, said.metric.metric_name, said.metric.dimensions)
            yield Query(id=query.id, asked=self._asked(metric, said.period, said.stat, said.unit), returned=returned)

    def _asked(self, metric: Metric, period: Any, stat: str, unit: str | None) -> Asked:
        return Asked(metric=metric, period=max(1, round(int(period) / self.scale)), stat=stat, unit=unit)


def _news(alarm: Any, state: State, reason: str) -> bool:
    return state != alarm.state_value or (reason.startswith(UNJUDGED) and reason != alarm.state_reason)


def _metric(namespace: str, name: str, dimensions: Any) -> Metric:
    return Metric(namespace=namespace, name=name, dimensions=frozenset((each.name, each.value) for each in dimensions))


def _bound(alarm: Any) -> Bound:
    return Bound(
        comparison=COMPARISONS[alarm.comparison_operator],
        threshold=float(alarm.threshold),
        datapoints=int(alarm.datapoints_to_alarm or alarm.evaluation_periods),
        missing=Missing(alarm.treat_missing_data or Missing.MISSING),
    )


def _judge_composite(backend: Any, alarm: Any) -> bool:
    """Whether its state changed."""

    def state_of(named: str) -> str | None:
        found = backend.alarms.get(_name(named))
        return None if found is None else str(found.state_value)

    try:
        state = State.ALARM if composite_rules.holds(alarm.rule, state_of) else State.OK
    except RuleError:
        log.exception("alarm rule not understood alarm=%s", alarm.name)
        return False
    if state == alarm.state_value:
        return False
    alarm.update_state(_reason(backend, alarm), "{}", state.value)
    return True


def _reason(backend: Any, alarm: Any) -> str:
    """The alarm of the rule that changed last."""
    asked = {_name(named) for named in composite_rules.names(alarm.rule)}
    below = [backend.alarms[name] for name in asked if name in backend.alarms]
    if not below:
        return "The rule asks for no alarm that is there."
    last = max(below, key=lambda each: each.state_updated_timestamp)
    at: datetime = last.state_updated_timestamp.replace(tzinfo=UTC)
    return f"{last.alarm_arn} transitioned to {last.state_value} at {at:%A %d %B, %Y %H:%M:%S} UTC"


def _name(named: str) -> str:
    return named.partition(":alarm:")[2] if named.startswith("arn:") else named

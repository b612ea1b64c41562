"""Alarm evaluation for the account: metric alarms, then composite alarms."""

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
from rehearsal.cloud.cloudwatch.alarm_evaluation import COMPARISONS, AlarmState, AlarmThreshold, MissingData, evaluate
from rehearsal.cloud.cloudwatch.composite_rules import RuleError
from rehearsal.cloud.cloudwatch.metric_queries import MetricQuery, MetricStat
from rehearsal.cloud.cloudwatch.metric_store import MetricId

MAX_SCALE = 60.0
NOT_EVALUATED = "Unchecked: not evaluated here: "

log = logging.getLogger(__name__)


class ScaleError(ValueError):
    """A time scale out of bounds."""


@dataclass(kw_only=True)
class AlarmEvaluator:
    """`scale` shortens the periods of all metric alarms: at 10, 60 seconds count as 6."""

    scale: float = 1.0

    def set_scale(self, scale: object) -> None:
        """Raises ScaleError."""
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 1 <= scale <= MAX_SCALE:
            raise ScaleError(f"time scale {scale!r}: a number from 1 to {MAX_SCALE:g} is allowed")
        self.scale = float(scale)

    def gaps(self) -> list[Gap]:
        if self.scale == 1:
            return []
        reason = (
            f"a rehearsal is shorter than AWS's periods: 60 s of an alarm's period count as {60 / self.scale:.3g} s"
        )
        return [Gap(service="cloudwatch", action="(periods of alarms)", reason=reason)]

    def evaluate(self, backend: Any, now: float) -> None:
        """Update the state of each alarm. `now`, in epoch seconds, is the end of the last periods."""
        alarms = list(backend.alarms.values())
        for alarm in alarms:
            if alarm.rule is None:
                self._evaluate_metric_alarm(backend, alarm, int(now))
        composites = [alarm for alarm in alarms if alarm.rule is not None]
        # Composite alarms may refer to each other: a change reaches the next level in the next pass.
        for _ in composites:
            if not any([_evaluate_composite(backend, alarm) for alarm in composites]):
                break

    def _evaluate_metric_alarm(self, backend: Any, alarm: Any, now: int) -> None:
        points: list[float | None] = []
        try:
            points = self._points(backend, alarm, now)
            result = evaluate(_threshold(alarm), points)
        except (ArithmeticError, KeyError, TypeError, ValueError) as error:  # AWS would have refused the alarm
            result = (AlarmState.INSUFFICIENT_DATA, f"{NOT_EVALUATED}{error}")
        if result is not None and _is_change(alarm, *result):
            data = {"version": "1.0", "threshold": alarm.threshold, "recentDatapoints": points} if points else {}
            alarm.update_state(result[1], json.dumps(data), result[0].value)

    def _points(self, backend: Any, alarm: Any, now: int) -> list[float | None]:
        queries = list(self._queries(alarm))
        periods = int(alarm.evaluation_periods)

        def starts(period: int) -> range:
            return range(now - periods * period, now, period)

        (series,) = metric_queries.evaluate(queries, store_of(backend), starts).values()
        period = max((query.metric_stat.period for query in queries if query.metric_stat), default=60)
        return [series.get(start) for start in starts(period)]

    def _queries(self, alarm: Any) -> Iterator[MetricQuery]:
        if not alarm.metric_data_queries:
            stat = alarm.extended_statistic or alarm.statistic
            metric = _metric(alarm.namespace, alarm.metric_name, alarm.dimensions)
            yield MetricQuery(id="metric", metric_stat=self._metric_stat(metric, alarm.period, stat, alarm.unit))
        # One query has ReturnData, which may be left out when it is the only one.
        chosen = [query.id for query in alarm.metric_data_queries if query.return_data]
        for query in alarm.metric_data_queries:
            return_data = query.id in chosen or not chosen
            if query.metric_stat is None:
                yield MetricQuery(id=query.id, expression=query.expression, return_data=return_data)
                continue
            stat = query.metric_stat
            metric = _metric(stat.metric.namespace, stat.metric.metric_name, stat.metric.dimensions)
            metric_stat = self._metric_stat(metric, stat.period, stat.stat, stat.unit)
            yield MetricQuery(id=query.id, metric_stat=metric_stat, return_data=return_data)

    def _metric_stat(self, metric: MetricId, period: Any, stat: str, unit: str | None) -> MetricStat:
        return MetricStat(metric=metric, period=max(1, round(int(period) / self.scale)), stat=stat, unit=unit)


def _is_change(alarm: Any, state: AlarmState, reason: str) -> bool:
    return state != alarm.state_value or (reason.startswith(NOT_EVALUATED) and reason != alarm.state_reason)


def _metric(namespace: str, name: str, dimensions: Any) -> MetricId:
    return MetricId(namespace=namespace, name=name, dimensions=frozenset((one.name, one.value) for one in dimensions))


def _threshold(alarm: Any) -> AlarmThreshold:
    return AlarmThreshold(
        comparison=COMPARISONS[alarm.comparison_operator],
        value=float(alarm.threshold),
        datapoints=int(alarm.datapoints_to_alarm or alarm.evaluation_periods),
        missing=MissingData(alarm.treat_missing_data or MissingData.MISSING),
    )


def _evaluate_composite(backend: Any, alarm: Any) -> bool:
    """Whether its state changed."""

    def state_of(named: str) -> str | None:
        other = backend.alarms.get(_name(named))
        return None if other is None else str(other.state_value)

    try:
        state = AlarmState.ALARM if composite_rules.is_alarm(alarm.rule, state_of) else AlarmState.OK
    except RuleError:
        log.exception("alarm rule invalid alarm=%s", alarm.name)
        return False
    if state == alarm.state_value:
        return False
    alarm.update_state(_reason(backend, alarm), "{}", state.value)
    return True


def _reason(backend: Any, alarm: Any) -> str:
    """Names the alarm of the rule whose state changed last."""
    names = {_name(named) for named in composite_rules.alarm_names(alarm.rule)}
    children = [backend.alarms[name] for name in names if name in backend.alarms]
    if not children:
        return "The rule refers to no existing alarm."
    last = max(children, key=lambda child: child.state_updated_timestamp)
    at: datetime = last.state_updated_timestamp.replace(tzinfo=UTC)
    return f"{last.alarm_arn} transitioned to {last.state_value} at {at:%A %d %B, %Y %H:%M:%S} UTC"


def _name(named: str) -> str:
    return named.partition(":alarm:")[2] if named.startswith("arn:") else named

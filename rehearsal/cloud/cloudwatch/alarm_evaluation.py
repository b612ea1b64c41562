"""Metric alarm states, evaluated from the data points of the last periods."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class AlarmState(StrEnum):
    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


class MissingData(StrEnum):
    """Treatment of periods without data, by CloudWatch's names."""

    MISSING = "missing"
    IGNORE = "ignore"
    BREACHING = "breaching"
    NOT_BREACHING = "notBreaching"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    crosses: Callable[[float, float], bool]
    text: str


COMPARISONS: Mapping[str, Comparison] = {
    "GreaterThanThreshold": Comparison(crosses=operator.gt, text="greater than"),
    "GreaterThanOrEqualToThreshold": Comparison(crosses=operator.ge, text="greater than or equal to"),
    "LessThanThreshold": Comparison(crosses=operator.lt, text="less than"),
    "LessThanOrEqualToThreshold": Comparison(crosses=operator.le, text="less than or equal to"),
}


@dataclass(frozen=True, kw_only=True)
class AlarmThreshold:
    """`datapoints` of the last periods have to cross `value`."""

    comparison: Comparison
    value: float
    datapoints: int
    missing: MissingData


def evaluate(threshold: AlarmThreshold, points: Sequence[float | None]) -> tuple[AlarmState, str] | None:
    """(state, reason), or None when the state doesn't change. `points` has one item a period, the oldest first."""
    crossing = [point is not None and threshold.comparison.crosses(point, threshold.value) for point in points]
    known = [point for point in points if point is not None]
    if not known and threshold.missing is MissingData.MISSING:
        return AlarmState.INSUFFICIENT_DATA, f"Insufficient Data: {_datapoints(len(points))} were unknown."
    state = _state(threshold, sum(crossing), len(known), len(points))
    return None if state is None else (state, _reason(threshold, state, sum(crossing), known, len(points)))


def _state(threshold: AlarmThreshold, crossing: int, known: int, periods: int) -> AlarmState | None:
    missing = periods - known
    match threshold.missing:
        case MissingData.BREACHING:
            return _reached(crossing + missing, threshold.datapoints)
        case MissingData.NOT_BREACHING:
            return _reached(crossing, threshold.datapoints)
        case MissingData.IGNORE:
            # The state changes only where the missing points could not make a difference.
            low, high = _reached(crossing, threshold.datapoints), _reached(crossing + missing, threshold.datapoints)
            return low if low is high else None
        case MissingData.MISSING:
            # With fewer points than required, all of them have to cross.
            return _reached(crossing, min(threshold.datapoints, known))


def _reached(crossing: int, required: int) -> AlarmState:
    return AlarmState.ALARM if crossing >= required else AlarmState.OK


def _reason(threshold: AlarmThreshold, state: AlarmState, crossing: int, known: Sequence[float], periods: int) -> str:
    if not known:
        treated = "Breaching" if threshold.missing is MissingData.BREACHING else "NonBreaching"
        return (
            f"Threshold Crossed: no datapoints were received for {periods} periods and {periods} missing datapoints"
            f" were treated as [{treated}]."
        )
    values = ", ".join(f"{value:.6g}" for value in reversed(known))
    crossed = f"{crossing} out of the last {_datapoints(periods)} [{values}] {'was' if crossing == 1 else 'were'}"
    minimum = f"minimum {_datapoints(threshold.datapoints)} for OK -> ALARM transition"
    end = f" ({minimum})." if state is AlarmState.ALARM else "."
    return f"Threshold Crossed: {crossed} {threshold.comparison.text} the threshold ({threshold.value:g}){end}"


def _datapoints(count: int) -> str:
    return f"{count} datapoint{'' if count == 1 else 's'}"

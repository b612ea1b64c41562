"""The state of a metric alarm, from the points of its last periods."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


class Missing(StrEnum):
    """What a period without data counts as, by CloudWatch's names."""

    MISSING = "missing"
    IGNORE = "ignore"
    BREACHING = "breaching"
    NOT_BREACHING = "notBreaching"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    crosses: Callable[[float, float], bool]
    words: str


COMPARISONS: Mapping[str, Comparison] = {
    "GreaterThanThreshold": Comparison(crosses=operator.gt, words="greater than"),
    "GreaterThanOrEqualToThreshold": Comparison(crosses=operator.ge, words="greater than or equal to"),
    "LessThanThreshold": Comparison(crosses=operator.lt, words="less than"),
    "LessThanOrEqualToThreshold": Comparison(crosses=operator.le, words="less than or equal to"),
}


@dataclass(frozen=True, kw_only=True)
class Bound:
    """`datapoints` of the last periods have to cross the threshold."""

    comparison: Comparison
    threshold: float
    datapoints: int
    missing: Missing


def judge(bound: Bound, points: Sequence[float | None]) -> tuple[State, str] | None:
    """(state, reason), or None when the alarm stays as it is. `points` are one a period, the oldest first."""
    crossing = [point is not None and bound.comparison.crosses(point, bound.threshold) for point in points]
    known = [point for point in points if point is not None]
    if not known and bound.missing is Missing.MISSING:
        return State.INSUFFICIENT_DATA, f"Insufficient Data: {_many(len(points))} were unknown."
    state = _state(bound, sum(crossing), len(known), len(points))
    return None if state is None else (state, _reason(bound, state, sum(crossing), known, len(points)))


def _state(bound: Bound, crossing: int, known: int, periods: int) -> State | None:
    missing = periods - known
    match bound.missing:
        case Missing.BREACHING:
            return _reached(crossing + missing, bound.datapoints)
        case Missing.NOT_BREACHING:
            return _reached(crossing, bound.datapoints)
        case Missing.IGNORE:
            # What the missing ones might change, they leave as it is.
            least, most = _reached(crossing, bound.datapoints), _reached(crossing + missing, bound.datapoints)
            return least if least is most else None
        case Missing.MISSING:
            # Fewer than it takes: they are enough when they all agree.
            return _reached(crossing, min(bound.datapoints, known))


def _reached(crossing: int, wanted: int) -> State:
    return State.ALARM if crossing >= wanted else State.OK


def _reason(bound: Bound, state: State, crossing: int, known: Sequence[float], periods: int) -> str:
    if not known:
        treated = "Breaching" if bound.missing is Missing.BREACHING else "NonBreaching"
        return (
            f"Threshold Crossed: no datapoints were received for {periods} periods and {periods} missing datapoints"
            f" were treated as [{treated}]."
        )
    told = ", ".join(f"{value:.6g}" for value in reversed(known))
    crossed = f"{crossing} out of the last {_many(periods)} [{told}] {'was' if crossing == 1 else 'were'}"
    least = f"minimum {_many(bound.datapoints)} for OK -> ALARM transition"
    end = f" ({least})." if state is State.ALARM else "."
    return f"Threshold Crossed: {crossed} {bound.comparison.words} the threshold ({bound.threshold:g}){end}"


def _many(count: int) -> str:
    return f"{count} datapoint{'' if count == 1 else 's'}"

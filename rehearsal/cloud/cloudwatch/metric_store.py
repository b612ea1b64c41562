"""Metrics of a bounded time, second by second, from which the statistics of any longer period are counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

KEPT_S = 1800  # what is older is dropped: a rehearsal asks for the last minutes
STATISTICS = ("Average", "Maximum", "Minimum", "SampleCount", "Sum")

Dimensions = frozenset[tuple[str, str]]


class StatisticError(ValueError):
    """A statistic that can't be counted here."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    namespace: str
    name: str
    dimensions: Dimensions = frozenset()


@dataclass(slots=True)
class Second:
    """What one second told of a metric. `values`: value to count, or None once a set of statistics came in."""

    sum: float = 0.0
    count: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")
    values: dict[float, float] | None = field(default_factory=dict)

    def add(self, values: Mapping[float, float]) -> None:
        for value, count in values.items():
            self.add_set(total=value * count, count=count, least=value, most=value)
            if self.values is not None:
                self.values[value] = self.values.get(value, 0) + count

    def add_set(self, *, total: float, count: float, least: float, most: float) -> None:
        self.sum, self.count = self.sum + total, self.count + count
        self.least, self.most = min(self.least, least), max(self.most, most)


def statistic(seconds: Iterable[Second], name: str) -> float | None:
    """None without samples; a percentile needs single values, which a set of statistics has not.

    Raises StatisticError.
    """
    held = [second for second in seconds if second.count]
    if not held:
        check_statistic(name)
        return None
    match name:
        case "Sum":
            return sum(second.sum for second in held)
        case "SampleCount":
            return sum(second.count for second in held)
        case "Average":
            return sum(second.sum for second in held) / sum(second.count for second in held)
        case "Minimum":
            return min(second.least for second in held)
        case "Maximum":
            return max(second.most for second in held)
    return _percentile(held, check_statistic(name))


def check_statistic(name: str) -> float:
    """The share of a percentile's name, as 0.99 of p99, and 0 of the others'; raises StatisticError."""
    if name in STATISTICS:
        return 0.0
    try:
        share = float(name.removeprefix("p")) / 100
    except ValueError:
        share = -1.0
    if not name.startswith("p") or not 0 <= share <= 1:
        raise StatisticError(f"statistic {name!r}: {', '.join(STATISTICS)} and p0 to p100 are what there is")
    return share


def _percentile(seconds: Iterable[Second], share: float) -> float | None:
    """The smallest value that so many of the samples do not exceed."""
    counts: dict[float, float] = {}
    for second in seconds:
        if second.values is None:
            return None
        for value, count in second.values.items():
            counts[value] = counts.get(value, 0) + count
    left = share * sum(counts.values())
    for value in sorted(counts):
        left -= counts[value]
        if left <= 1e-9:
            return value
    return max(counts)


class Store:
    """Threads may write and read; each unit of a metric has its own line."""

    def __init__(self) -> None:
        self._lines: dict[Metric, dict[str, dict[int, Second]]] = {}
        self._lock = threading.Lock()

    def add(self, metric: Metric, at: float, values: Mapping[float, float], unit: str = "None") -> None:
        """`at` is in seconds since the epoch; `values` is value to count."""
        with self._lock:
            if second := self._second(metric, at, unit):
                second.add(values)

    def add_set(
        self, metric: Metric, at: float, unit: str, *, total: float, count: float, least: float, most: float
    ) -> None:
        """A set of statistics, of which the single values are not known (but when all are the same)."""
        with self._lock:
            second = self._second(metric, at, unit)
            if second and least == most:
                second.add({least: count})
            elif second:
                second.add_set(total=total, count=count, least=least, most=most)
                second.values = None

    def seconds(self, metric: Metric, begin: int, end: int, unit: str | None = None) -> list[tuple[int, Second]]:
        """Those from `begin` and before `end`, in their order."""
        with self._lock:
            found = [line for name, line in self._lines.get(metric, {}).items() if unit in (None, name)]
            return sorted(
                ((at, line[at]) for line in found for at in _times(line, begin, end)), key=lambda pair: pair[0]
            )

    def known(self) -> list[tuple[Metric, str]]:
        """Each metric with its unit, as long as it has data."""
        with self._lock:
            return [(metric, unit) for metric, lines in self._lines.items() for unit in lines]

    def forget_old(self, now: float | None = None) -> None:
        """Drops what is older than KEPT_S, and metrics that have nothing else."""
        oldest = int(time.time() if now is None else now) - KEPT_S
        with self._lock:
            for metric, lines in list(self._lines.items()):
                for unit, line in list(lines.items()):
                    for at in [at for at in line if at < oldest]:
                        del line[at]
                    if not line:
                        del lines[unit]
                if not lines:
                    del self._lines[metric]

    def _second(self, metric: Metric, at: float, unit: str) -> Second | None:
        if at < time.time() - KEPT_S:
            return None
        return self._lines.setdefault(metric, {}).setdefault(unit, {}).setdefault(int(at), Second())


def _times(line: Mapping[int, Second], begin: int, end: int) -> Iterator[int]:
    if end - begin <= len(line):
        return (at for at in range(begin, end) if at in line)
    return (at for at in line if begin <= at < end)

"""Metric store: one bucket a second for a bounded time, and statistics over any period."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

RETENTION_S = 1800  # a rehearsal queries the last minutes only
STATISTICS = ("Average", "Maximum", "Minimum", "SampleCount", "Sum")

Dimensions = frozenset[tuple[str, str]]


class StatisticError(ValueError):
    """A statistic that is not supported here."""


@dataclass(frozen=True, kw_only=True)
class MetricId:
    namespace: str
    name: str
    dimensions: Dimensions = frozenset()


@dataclass(slots=True)
class SecondBucket:
    """Samples of one second. `values`: value to count, or None once a statistic set was added."""

    sum: float = 0.0
    count: float = 0.0
    minimum: float = float("inf")
    maximum: float = float("-inf")
    values: dict[float, float] | None = field(default_factory=dict)

    def add(self, values: Mapping[float, float]) -> None:
        for value, count in values.items():
            self.add_statistics(total=value * count, count=count, minimum=value, maximum=value)
            if self.values is not None:
                self.values[value] = self.values.get(value, 0) + count

    def add_statistics(self, *, total: float, count: float, minimum: float, maximum: float) -> None:
        self.sum, self.count = self.sum + total, self.count + count
        self.minimum, self.maximum = min(self.minimum, minimum), max(self.maximum, maximum)


def statistic(seconds: Iterable[SecondBucket], name: str) -> float | None:
    """None without samples, or for a percentile of a statistic set, whose single values are unknown.

    Raises StatisticError.
    """
    filled = [bucket for bucket in seconds if bucket.count]
    if not filled:
        check_statistic(name)
        return None
    match name:
        case "Sum":
            return sum(bucket.sum for bucket in filled)
        case "SampleCount":
            return sum(bucket.count for bucket in filled)
        case "Average":
            return sum(bucket.sum for bucket in filled) / sum(bucket.count for bucket in filled)
        case "Minimum":
            return min(bucket.minimum for bucket in filled)
        case "Maximum":
            return max(bucket.maximum for bucket in filled)
    return _percentile(filled, check_statistic(name))


def check_statistic(name: str) -> float:
    """The fraction of a percentile (0.99 of p99), 0 of other statistics; raises StatisticError."""
    if name in STATISTICS:
        return 0.0
    try:
        fraction = float(name.removeprefix("p")) / 100
    except ValueError:
        fraction = -1.0
    if not name.startswith("p") or not 0 <= fraction <= 1:
        raise StatisticError(f"statistic {name!r}: allowed are {', '.join(STATISTICS)} and p0 to p100")
    return fraction


def _percentile(seconds: Iterable[SecondBucket], fraction: float) -> float | None:
    """The smallest value that this fraction of the samples does not exceed."""
    counts: dict[float, float] = {}
    for bucket in seconds:
        if bucket.values is None:
            return None
        for value, count in bucket.values.items():
            counts[value] = counts.get(value, 0) + count
    left = fraction * sum(counts.values())
    for value in sorted(counts):
        left -= counts[value]
        if left <= 1e-9:
            return value
    return max(counts)


class MetricStore:
    """Thread-safe; each unit of a metric has its own series."""

    def __init__(self) -> None:
        self._series: dict[MetricId, dict[str, dict[int, SecondBucket]]] = {}
        self._lock = threading.Lock()

    def add(self, metric: MetricId, at: float, values: Mapping[float, float], unit: str = "None") -> None:
        """`at` in epoch seconds; `values`: value to count."""
        with self._lock:
            if bucket := self._bucket(metric, at, unit):
                bucket.add(values)

    def add_statistics(
        self, metric: MetricId, at: float, unit: str, *, total: float, count: float, minimum: float, maximum: float
    ) -> None:
        """Add a statistic set; single values are known only when minimum and maximum are equal."""
        with self._lock:
            bucket = self._bucket(metric, at, unit)
            if bucket and minimum == maximum:
                bucket.add({minimum: count})
            elif bucket:
                bucket.add_statistics(total=total, count=count, minimum=minimum, maximum=maximum)
                bucket.values = None

    def seconds(
        self, metric: MetricId, begin: int, end: int, unit: str | None = None
    ) -> list[tuple[int, SecondBucket]]:
        """Buckets from `begin` until before `end`, in order."""
        with self._lock:
            selected = [series for name, series in self._series.get(metric, {}).items() if unit in (None, name)]
            return sorted(
                ((at, series[at]) for series in selected for at in _times(series, begin, end)), key=lambda pair: pair[0]
            )

    def metrics(self) -> list[tuple[MetricId, str]]:
        """Metrics with data, each with its unit."""
        with self._lock:
            return [(metric, unit) for metric, units in self._series.items() for unit in units]

    def drop_expired(self, now: float | None = None) -> None:
        """Drop what is older than RETENTION_S, and metrics without newer data."""
        oldest = int(time.time() if now is None else now) - RETENTION_S
        with self._lock:
            for metric, units in list(self._series.items()):
                for unit, series in list(units.items()):
                    for at in [at for at in series if at < oldest]:
                        del series[at]
                    if not series:
                        del units[unit]
                if not units:
                    del self._series[metric]

    def _bucket(self, metric: MetricId, at: float, unit: str) -> SecondBucket | None:
        if at < time.time() - RETENTION_S:
            return None
        return self._series.setdefault(metric, {}).setdefault(unit, {}).setdefault(int(at), SecondBucket())


def _times(series: Mapping[int, SecondBucket], begin: int, end: int) -> Iterator[int]:
    if end - begin <= len(series):
        return (at for at in range(begin, end) if at in series)
    return (at for at in series if begin <= at < end)

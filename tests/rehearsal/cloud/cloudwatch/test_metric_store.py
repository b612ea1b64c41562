from __future__ import annotations

import time

import pytest

from rehearsal.cloud.cloudwatch.metric_store import RETENTION_S, MetricId, MetricStore, StatisticError, statistic

LATENCY = MetricId(namespace="app", name="latency", dimensions=frozenset({("color", "blue")}))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Sum", 5050.0),
        ("SampleCount", 100.0),
        ("Average", 50.5),
        ("Minimum", 1.0),
        ("Maximum", 100.0),
        ("p99", 99.0),
        ("p99.5", 100.0),
        ("p50", 50.0),
        ("p0", 1.0),
        ("p100", 100.0),
    ],
)
def test_statistics_over_several_seconds(name: str, expected: float) -> None:
    store, now = MetricStore(), int(time.time())
    for value in range(1, 101):
        store.add(LATENCY, now - value % 7, {float(value): 1})
    seconds = [second for _at, second in store.seconds(LATENCY, now - 10, now + 1)]
    assert len(seconds) == 7
    assert statistic(seconds, name) == expected


def test_a_statistic_set_has_no_percentile_unless_all_values_are_equal() -> None:
    store, now = MetricStore(), int(time.time())
    store.add_statistics(LATENCY, now, "None", total=6, count=3, minimum=2, maximum=2)
    assert statistic([second for _at, second in store.seconds(LATENCY, now, now + 1)], "p90") == 2
    store.add_statistics(LATENCY, now, "None", total=10, count=2, minimum=4, maximum=6)
    seconds = [second for _at, second in store.seconds(LATENCY, now, now + 1)]
    assert statistic(seconds, "p90") is None
    assert (statistic(seconds, "Sum"), statistic(seconds, "Maximum")) == (16, 6)


def test_units_and_dimensions_have_separate_series() -> None:
    store, now = MetricStore(), int(time.time())
    store.add(LATENCY, now, {1.0: 1}, "Seconds")
    store.add(LATENCY, now, {500.0: 2}, "Milliseconds")
    store.add(MetricId(namespace="app", name="latency"), now, {9.0: 9}, "Seconds")
    counts = {
        unit: statistic([second for _at, second in store.seconds(LATENCY, now, now + 1, unit)], "SampleCount")
        for unit in (None, "Seconds", "Milliseconds", "Bytes")
    }
    assert counts == {None: 3, "Seconds": 1, "Milliseconds": 2, "Bytes": None}


def test_expired_samples_are_dropped() -> None:
    store, now = MetricStore(), int(time.time())
    store.add(LATENCY, now - RETENTION_S - 5, {1.0: 1})
    assert store.metrics() == []
    store.add(LATENCY, now, {1.0: 1})
    store.drop_expired(now + RETENTION_S)
    assert store.metrics() == [(LATENCY, "None")]
    store.drop_expired(now + RETENTION_S + 1)
    assert store.metrics() == []


@pytest.mark.parametrize("name", ["Median", "p101", "pp", "tm99", "sum"])
def test_an_unknown_statistic_is_refused(name: str) -> None:
    with pytest.raises(StatisticError, match=f"statistic '{name}': allowed are Average, "):
        statistic([], name)

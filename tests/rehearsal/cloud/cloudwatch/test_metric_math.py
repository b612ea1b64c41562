from __future__ import annotations

import pytest

from components import alarm_metrics
from config.alerts import AlarmSettings
from rehearsal.cloud.cloudwatch.metric_math import MathError, TimeSeries, evaluate, query_ids

TIMES = (0, 60, 120)
ALL: TimeSeries = {0: 100.0, 60: 200.0, 120: 300.0}
SOME: TimeSeries = {60: 50.0}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("all", ALL),
        ("100 * some / all", {60: 25.0}),
        ("-some + 2 ^ 3", {60: -42.0}),
        ("FILL(some, 0) / all", {0: 0.0, 60: 0.25, 120: 0.0}),
        ("FILL(some, REPEAT)", {60: 50.0, 120: 50.0}),
        ("FILL(some, all)", {0: 100.0, 60: 50.0, 120: 300.0}),
        ("all / FILL(some, 0)", {60: 4.0}),
        ("all > 100 AND all < 300", {0: 0.0, 60: 1.0, 120: 0.0}),
        ("all > 250 OR all == 100", {0: 1.0, 60: 0.0, 120: 1.0}),
        ("all > 250 || all != 100 && all <= 200", {0: 0.0, 60: 1.0, 120: 1.0}),
        ("IF(all >= 200, some, 7)", {0: 7.0, 60: 50.0}),
        ("IF(1, all, some)", ALL),
        ("SUM([all, some])", {0: 100.0, 60: 250.0, 120: 300.0}),
        ("all / MAX(all)", {0: 1 / 3, 60: 2 / 3, 120: 1.0}),
        ("AVG(all) + MIN(some)", {0: 250.0, 60: 250.0, 120: 250.0}),
        ("CEIL(some / 3) - FLOOR(some / 3)", {60: 1.0}),
        ("some / 0", {}),
        ("3", {0: 3.0, 60: 3.0, 120: 3.0}),
    ],
)
def test_expressions_are_evaluated_point_by_point(expression: str, expected: TimeSeries) -> None:
    assert evaluate(expression, {"all": ALL, "some": SOME}, TIMES) == pytest.approx(expected)


@pytest.mark.parametrize(
    "expression",
    ["all +", "other", "RATE(all)", "IF(all, some)", "all.real", "[all, some]", "all if some else all", "FILL(3, 0)"],
)
def test_an_invalid_expression_is_named_in_the_error(expression: str) -> None:
    with pytest.raises(MathError, match="expression '"):
        evaluate(expression, {"all": ALL, "some": SOME}, TIMES)


def test_the_query_ids_of_an_expression() -> None:
    assert query_ids("IF(requests > 0 AND healthy < 1, FILL(a, b), MAX(c))") == {"requests", "healthy", "a", "b", "c"}


def test_the_expressions_of_all_alarms_can_be_evaluated() -> None:
    options = AlarmSettings()
    alarms = (
        *alarm_metrics.color_alarms(options),
        alarm_metrics.load_balancer_alarm(options),
        alarm_metrics.capacity_alarm(2, 11),
    )
    for alarm in alarms:
        series: dict[str, TimeSeries] = {id: {0: 40.0, 60: 10.0} for id in alarm.metrics}
        assert query_ids(alarm.expression) <= series.keys()
        assert {0, 60} <= set(evaluate(alarm.expression, series, TIMES))

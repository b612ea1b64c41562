from __future__ import annotations

import pytest

from rehearsal.cloud.cloudwatch.alarm_evaluation import COMPARISONS, AlarmState, AlarmThreshold, MissingData, evaluate

POINTS = {"0": 0.0, "X": 9.0, "-": None}


def threshold(
    datapoints: int = 3, missing: MissingData = MissingData.MISSING, comparison: str = "GreaterThanThreshold"
) -> AlarmThreshold:
    return AlarmThreshold(comparison=COMPARISONS[comparison], value=5, datapoints=datapoints, missing=missing)


def evaluated(points: str, missing: MissingData, datapoints: int = 3) -> str:
    result = evaluate(threshold(datapoints, missing), [POINTS[point] for point in points])
    return "unchanged" if result is None else result[0].value


BAD, GOOD, NONE, SAME = "ALARM", "OK", "INSUFFICIENT_DATA", "unchanged"
# Data points, the oldest first; the state with missing points treated as missing, ignore, breaching, notBreaching.
TABLE = [
    ("XXX", 3, (BAD, BAD, BAD, BAD)),
    ("XX0", 3, (GOOD, GOOD, GOOD, GOOD)),
    ("---", 3, (NONE, SAME, BAD, GOOD)),
    ("--X", 3, (BAD, SAME, BAD, GOOD)),
    ("0--", 3, (GOOD, GOOD, GOOD, GOOD)),
    ("X-X", 2, (BAD, BAD, BAD, BAD)),
    ("X-0", 2, (GOOD, SAME, BAD, GOOD)),
    ("-0X", 1, (BAD, BAD, BAD, BAD)),
]


@pytest.mark.parametrize(("points", "datapoints", "expected"), TABLE)
def test_m_out_of_n_datapoints_by_treatment_of_missing_data(
    points: str, datapoints: int, expected: tuple[str, ...]
) -> None:
    assert tuple(evaluated(points, missing, datapoints) for missing in MissingData) == expected


@pytest.mark.parametrize(
    ("comparison", "crossing"),
    [
        ("GreaterThanThreshold", (False, False, True)),
        ("GreaterThanOrEqualToThreshold", (False, True, True)),
        ("LessThanThreshold", (True, False, False)),
        ("LessThanOrEqualToThreshold", (True, True, False)),
    ],
)
def test_each_comparison(comparison: str, crossing: tuple[bool, ...]) -> None:
    results = [evaluate(threshold(1, comparison=comparison), [point]) for point in (4.0, 5.0, 6.0)]
    assert tuple(result is not None and result[0] is AlarmState.ALARM for result in results) == crossing


@pytest.mark.parametrize(
    ("points", "missing", "reason"),
    [
        (
            [1.0, 9.5, 7.0],
            MissingData.MISSING,
            "Threshold Crossed: 2 out of the last 3 datapoints [7, 9.5, 1] were greater than the threshold (5)"
            " (minimum 2 datapoints for OK -> ALARM transition).",
        ),
        (
            [None, None, None],
            MissingData.NOT_BREACHING,
            "Threshold Crossed: no datapoints were received for 3 periods and 3 missing datapoints were treated as"
            " [NonBreaching].",
        ),
        ([None, None, None], MissingData.MISSING, "Insufficient Data: 3 datapoints were unknown."),
    ],
)
def test_the_reason_names_the_datapoints(points: list[float | None], missing: MissingData, reason: str) -> None:
    result = evaluate(threshold(2, missing), points)
    assert result is not None
    assert result[1] == reason

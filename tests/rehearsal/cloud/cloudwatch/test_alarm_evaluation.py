from __future__ import annotations

import pytest

from rehearsal.cloud.cloudwatch.alarm_evaluation import COMPARISONS, Bound, Missing, State, judge

POINTS = {"0": 0.0, "X": 9.0, "-": None}


def bound(datapoints: int = 3, missing: Missing = Missing.MISSING, comparison: str = "GreaterThanThreshold") -> Bound:
    return Bound(comparison=COMPARISONS[comparison], threshold=5, datapoints=datapoints, missing=missing)


def judged(points: str, missing: Missing, datapoints: int = 3) -> str:
    verdict = judge(bound(datapoints, missing), [POINTS[point] for point in points])
    return "stays" if verdict is None else verdict[0].value


BAD, GOOD, NONE, STAYS = "ALARM", "OK", "INSUFFICIENT_DATA", "stays"
# Points, the oldest first; the verdict when missing ones are: missing, ignored, breaching, not breaching.
TABLE = [
    ("XXX", 3, (BAD, BAD, BAD, BAD)),
    ("XX0", 3, (GOOD, GOOD, GOOD, GOOD)),
    ("---", 3, (NONE, STAYS, BAD, GOOD)),
    ("--X", 3, (BAD, STAYS, BAD, GOOD)),
    ("0--", 3, (GOOD, GOOD, GOOD, GOOD)),
    ("X-X", 2, (BAD, BAD, BAD, BAD)),
    ("X-0", 2, (GOOD, STAYS, BAD, GOOD)),
    ("-0X", 1, (BAD, BAD, BAD, BAD)),
]


@pytest.mark.parametrize(("points", "datapoints", "expected"), TABLE)
def test_so_many_of_so_many_make_an_alarm(points: str, datapoints: int, expected: tuple[str, ...]) -> None:
    assert tuple(judged(points, missing, datapoints) for missing in Missing) == expected


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
    found = [judge(bound(1, comparison=comparison), [point]) for point in (4.0, 5.0, 6.0)]
    assert tuple(verdict is not None and verdict[0] is State.ALARM for verdict in found) == crossing


@pytest.mark.parametrize(
    ("points", "missing", "reason"),
    [
        (
            [1.0, 9.5, 7.0],
            Missing.MISSING,
            "Threshold Crossed: 2 out of the last 3 datapoints [7, 9.5, 1] were greater than the threshold (5)"
            " (minimum 2 datapoints for OK -> ALARM transition).",
        ),
        (
            [None, None, None],
            Missing.NOT_BREACHING,
            "Threshold Crossed: no datapoints were received for 3 periods and 3 missing datapoints were treated as"
            " [NonBreaching].",
        ),
        ([None, None, None], Missing.MISSING, "Insufficient Data: 3 datapoints were unknown."),
    ],
)
def test_the_reason_says_what_was_seen(points: list[float | None], missing: Missing, reason: str) -> None:
    verdict = judge(bound(2, missing), points)
    assert verdict is not None
    assert verdict[1] == reason

"""Separation of releases in the load balancer's metrics, which are per minute."""

from __future__ import annotations

import pytest

from fleet.colors import Color
from rehearsal.drills.live_traffic import next_minute
from rehearsal.load.request_log import Request, RequestLog


def answered(color: str, at: float) -> Request:
    return Request(at - 0.25, 0.0, 250.0, 200, "v1", color, "")


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ([], 0.0),
        ([answered("blue", 130.0)], 0.0),
        ([answered("green", 121.0), answered("blue", 300.0)], 180.0),
        ([answered("green", 179.5), answered("green", 65.0)], 180.0),
        ([answered("green", 180.0)], 240.0),
    ],
)
def test_the_minute_of_a_colors_last_response_ends(requests: list[Request], expected: float) -> None:
    assert next_minute(RequestLog(requests), Color.GREEN) == expected

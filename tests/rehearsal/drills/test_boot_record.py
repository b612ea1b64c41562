"""Completeness of a failed boot's notification."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.drills.boot_record import require_facts, seconds_of
from rehearsal.drills.drill import DrillError

FACTS: dict[str, Any] = {
    "kind": "boot_failed",
    "step": "verify",
    "error": "the bundle's sha256 is 1, expected 2",
    "instance": "i-1",
    "release": "v2",
    "color": "green",
    "stack": "dev",
    "step_seconds": {"download": 0.1, "verify": 0.0},
    "lines": ["start step=verify"],
}


def test_a_complete_notification_passes() -> None:
    require_facts(FACTS, step="verify", message="sha256")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"instance": "", "lines": []}, "the notification lacks instance, lines"),
        (
            {"step": "unpack", "step_seconds": {"unpack": 1.0}},
            "the notification says unpack: the bundle's sha256 is 1, expected 2; expected verify: …sha256…",
        ),
        ({"error": "no"}, "the notification says verify: no; expected verify: …sha256…"),
        ({"step_seconds": {"download": 0.1}}, "the timings {'download': 0.1} lack the step verify"),
    ],
)
def test_missing_and_different_facts_are_named(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(DrillError) as caught:
        require_facts(FACTS | changes, step="verify", message="sha256")
    assert str(caught.value) == problem


def test_a_time_in_utc_is_parsed() -> None:
    assert seconds_of("1970-01-01T00:01:00.500+00:00") == 60.5

"""What people are told of a failed boot is held against what they need to know and must not see."""

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


def test_a_whole_notice_passes() -> None:
    require_facts(FACTS, step="verify", words="sha256")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"instance": "", "lines": []}, "the notification lacks instance, lines"),
        (
            {"step": "unpack", "step_seconds": {"unpack": 1.0}},
            "told was unpack: the bundle's sha256 is 1, expected 2; expected verify: …sha256…",
        ),
        ({"error": "no"}, "told was verify: no; expected verify: …sha256…"),
        ({"step_seconds": {"download": 0.1}}, "the seconds {'download': 0.1} leave out the step verify"),
    ],
)
def test_what_is_missing_or_other_is_named(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(DrillError) as caught:
        require_facts(FACTS | changes, step="verify", words="sha256")
    assert str(caught.value) == problem


def test_a_record_of_utc_is_read_as_such() -> None:
    assert seconds_of("1970-01-01T00:01:00.500+00:00") == 60.5

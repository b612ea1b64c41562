"""Time of the bake's decision, from the notification."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rehearsal.drills.bad_releases import rejected_at
from rehearsal.drills.notification import Notification


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"figures": {"bake_seconds": 4.5, "stages": {"bake": 8.0, "smoke test": 0.1}}}, 96.5),
        ({"figures": {"stages": {"smoke test": 3.0}}}, 100.0),  # it came no further than the smoke test
        ({"figures": {"bake_seconds": 4.1, "stages": {"bake": 4.0}}}, 100.0),
        ({}, 100.0),
    ],
)
def test_the_rollback_does_not_count_as_detection(facts: dict[str, Any], expected: float) -> None:
    assert rejected_at(Notification(at=100.0, subject="Cutover: rolled back", message=json.dumps(facts))) == expected

"""Facts of a notification's JSON message."""

from __future__ import annotations

import pytest

from rehearsal.drills.notification import Notification


@pytest.mark.parametrize(
    ("message", "facts"),
    [('{"step": "verify"}', {"step": "verify"}), ("Boot failed", {}), ('["step"]', {}), ("", {})],
)
def test_facts_of_a_message(message: str, facts: dict[str, str]) -> None:
    assert Notification(at=1.0, subject="Boot failed", message=message).facts == facts

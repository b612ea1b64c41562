"""A notice's message is facts where it is JSON, and words for people where it is not."""

from __future__ import annotations

import pytest

from rehearsal.drills.notification import Notice


@pytest.mark.parametrize(
    ("message", "facts"),
    [('{"step": "verify"}', {"step": "verify"}), ("Boot failed", {}), ('["step"]', {}), ("", {})],
)
def test_facts_of_a_message(message: str, facts: dict[str, str]) -> None:
    assert Notice(at=1.0, subject="Boot failed", message=message).facts == facts

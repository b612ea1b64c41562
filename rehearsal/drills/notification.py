"""Notifications of the alerts topic, as drills evaluate them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Notification:
    """One message of the topic; `at`: when it was published, in seconds since the epoch."""

    at: float
    subject: str
    message: str

    @property
    def facts(self) -> dict[str, Any]:
        """The message's JSON object; empty for plain text."""
        try:
            document = json.loads(self.message)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

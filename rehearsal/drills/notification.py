"""What people were told, in the form in which drills look at it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One message of a topic; `at` is when it was published, in seconds since the epoch."""

    at: float
    subject: str
    message: str

    @property
    def facts(self) -> dict[str, Any]:
        """The message as JSON; empty for one that is a text for people."""
        try:
            found = json.loads(self.message)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

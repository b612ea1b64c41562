"""Boot record of an instance, as an entry of the report."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any


def boot_entry(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """One entry of report.json's `boots`; None for a row whose instance has not written its record."""
    status = row["boot"]
    if not status:
        return None
    return {
        "instance": row["instance"],
        "release": status.get("release", ""),
        "state": status.get("state", ""),
        "seconds": _seconds_between(status.get("started"), status.get("finished")),
        "steps": status.get("steps", {}),
    }


def _seconds_between(started: Any, finished: Any) -> float | None:
    """Both are epoch seconds or ISO 8601; None while one is missing."""
    if not started or not finished:
        return None
    return round(_timestamp(finished) - _timestamp(started), 3)


def _timestamp(value: Any) -> float:
    return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else float(value)

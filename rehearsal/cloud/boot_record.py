"""A machine's own record of its boot, as an entry of the report."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any


def boot(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """One entry of report.json's `boots`, from a row whose machine has written its record."""
    status = row["boot"]
    if not status:
        return None
    return {
        "instance": row["instance"],
        "release": status.get("release", ""),
        "state": status.get("state", ""),
        "seconds": _between(status.get("started"), status.get("finished")),
        "steps": status.get("steps", {}),
    }


def _between(started: Any, finished: Any) -> float | None:
    """Seconds from one moment to another, given as numbers or in ISO 8601; None while one is missing."""
    if not started or not finished:
        return None
    return round(_moment(finished) - _moment(started), 3)


def _moment(value: Any) -> float:
    return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else float(value)

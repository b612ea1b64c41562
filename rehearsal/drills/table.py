"""The drills' figures: one table for people, one file for machines."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from rehearsal.drills.drill import Row

RIGHT = {"detected after", "recovered after", "users' failed requests"}
HEADINGS = ("fault", "detected by", "detected after", "recovered after", "users' failed requests", "notified", "ok")


def table(rows: Sequence[Row]) -> Table:
    """Cells are wrapped rather than cut: a fault's name is what a person looks for in the runbook."""
    drawn = Table(show_lines=True)  # where a terminal is narrow, each row takes several lines
    for heading in HEADINGS:
        drawn.add_column(heading, justify="right" if heading in RIGHT else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*cells(row))
    return drawn


def cells(row: Row) -> tuple[str, ...]:
    """In the order of HEADINGS, as rich's markup."""
    return (
        row.fault,
        row.detected_by or "-",
        _seconds(row.detected_seconds),
        _seconds(row.recovered_seconds),
        f"{row.failed} of {row.requests:,}" + (f", {row.retried} retried" if row.retried else ""),
        "yes" if row.notified else "no",
        "[green]ok[/]" if row.ok else "[bold red]FAILED[/]",
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def write(path: Path, rows: Sequence[Row]) -> None:
    """Replaces the file in one move, so that a reader never meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps({"drills": [row.as_json() for row in rows]}, indent=2) + "\n")
    part.replace(path)

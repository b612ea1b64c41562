"""Results of the drills: a table for the terminal, and drills.json."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from rehearsal.drills.drill import Row

RIGHT = {"detected after", "recovered after", "failed requests"}
HEADINGS = ("fault", "detected by", "detected after", "recovered after", "failed requests", "notified", "ok")


def table(rows: Sequence[Row]) -> Table:
    """Cells wrap instead of being truncated: the fault's name is its title in the runbook."""
    result = Table(show_lines=True)  # in a narrow terminal a row takes several lines
    for heading in HEADINGS:
        result.add_column(heading, justify="right" if heading in RIGHT else "left", overflow="fold")
    for row in rows:
        result.add_row(*cells(row))
    return result


def cells(row: Row) -> tuple[str, ...]:
    """Cells in the order of HEADINGS, with rich markup."""
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
    """Write the file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps({"drills": [row.as_json() for row in rows]}, indent=2) + "\n")
    part.replace(path)

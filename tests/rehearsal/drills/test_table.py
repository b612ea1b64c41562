"""Table and JSON file of the drills' results."""

from __future__ import annotations

import dataclasses
import json
from io import StringIO
from pathlib import Path

from rich.console import Console

from rehearsal.drills import table
from rehearsal.drills.drill import Row

ROW = Row(
    fault="bundle deleted",
    detected_by="boot step download",
    detected_seconds=0.26,
    recovered_seconds=4.0,
    requests=1234,
    failed=0,
    notified=True,
    ok=True,
    retried=0,
    seconds=20.0,
    note="",
)


def test_a_row_in_words() -> None:
    assert table.cells(ROW) == (
        "bundle deleted",
        "boot step download",
        "0.3 s",
        "4.0 s",
        "0 of 1,234",
        "yes",
        "[green]ok[/]",
    )


def test_missing_figures_of_a_failed_drill_are_dashes() -> None:
    failed = dataclasses.replace(
        ROW,
        detected_by="",
        detected_seconds=None,
        recovered_seconds=None,
        notified=False,
        ok=False,
        failed=3,
        retried=2,
    )
    assert table.cells(failed) == (
        "bundle deleted",
        "-",
        "-",
        "-",
        "3 of 1,234, 2 retried",
        "no",
        "[bold red]FAILED[/]",
    )


def test_the_table_names_each_column_and_fault() -> None:
    text = StringIO()
    Console(width=160, file=text).print(table.table([ROW]))
    assert [heading for heading in (*table.HEADINGS, "bundle deleted") if heading not in text.getvalue()] == []


def test_the_file_holds_all_rows_and_no_part_of_it_is_left(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "drills.json"
    table.write(path, [ROW])
    assert json.loads(path.read_text()) == {"drills": [dataclasses.asdict(ROW)]}
    assert list(path.parent.iterdir()) == [path]

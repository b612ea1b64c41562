"""Outputs and summary of a GitHub Actions step, from a command's JSON document; elsewhere nothing is written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

OUTPUT, SUMMARY = "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"
# Lists of plain objects in a JSON document that are shown as a table.
TABLES = ("stages", "checks")


def write_result(document: Mapping[str, Any]) -> None:
    """Write plain values of the document to the step's outputs, and the document to its summary."""
    for name, value in _plain(document):
        _append(OUTPUT, f"{name}={value}\n")
    summarize(_summary(_title(sys.argv), document))


def summarize(markdown: str) -> None:
    """Append to the summary of the step."""
    _append(SUMMARY, f"{markdown.rstrip()}\n\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; cells are escaped."""
    lines = [list(columns), ["---"] * len(columns), *([_cell(value) for value in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def code(text: str) -> str:
    """A fenced block of plain text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text.strip()}\n{fence}\n"


def _cell(value: Any) -> str:
    return str(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", "<br>")


def _plain(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Plain values, one level down as `target_color`; values of several lines are left out."""
    for name, value in document.items():
        if isinstance(value, Mapping) and not prefix:
            yield from _plain(value, f"{name}_")
        elif isinstance(value, bool):
            yield prefix + name, str(value).lower()
        elif isinstance(value, (str, int, float)) and len(str(value).splitlines()) < 2:
            yield prefix + name, value


def _title(argv: Sequence[str]) -> str:
    """Name of the command: the first argument of `bluegreen`, or the name of a module that is run as a file."""
    program, *arguments = argv
    name = Path(program).stem
    return arguments[0] if name == "bluegreen" and arguments else name


def _summary(script: str, document: Mapping[str, Any]) -> str:
    parts = [f"### {script}: {'ok' if document.get('ok', True) else 'failed'}\n"]
    if error := document.get("error"):
        parts.append(code(str(error)))
    for name in TABLES:
        if rows := document.get(name):
            columns = list(rows[0])
            parts.append(table(columns, [[row.get(column, "") for column in columns] for row in rows]))
    return "\n".join(parts)


def _append(variable: str, text: str) -> None:
    if path := os.environ.get(variable):
        with Path(path).open("a", encoding="utf-8", errors="replace") as file:
            file.write(text)

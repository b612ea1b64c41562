"""`make bench`: overhead of the program and the boot, as ratios and differences measured in one run.

Timing is verified here and in no test. Exit code 1: a limit is exceeded.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import boot_overhead, program
from benchmarks.figures import Figure
from rehearsal.host import install
from rehearsal.report.page import host_description

RESULTS = Path(__file__).resolve().parent.parent / "build" / "benchmarks.json"
EXCEEDED, INTERRUPTED = 1, 130


def main(
    results: Annotated[Path, typer.Option(help="Output file.")] = RESULTS,
) -> None:
    """Measure, store and show the figures; fail when a limit is exceeded."""
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console()
    before = os.getloadavg()
    try:
        figures = _measure(console)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    _store(results, figures, {"before": before, "after": os.getloadavg()})
    _show(console, figures)
    exceeded = [sentence for figure in figures if (sentence := figure.exceeded)]
    for sentence in exceeded:
        console.print(f"[bold red]exceeded[/] {sentence}", highlight=False, soft_wrap=True)
    raise typer.Exit(EXCEEDED if exceeded else 0)


def _measure(console: Console) -> list[Figure]:
    console.print("program against bare import")
    figures = [program.measure()]
    if os.geteuid() != 0:
        console.print("skipped: the boot program's overhead, whose instances need root")
        return figures
    install.require()
    return [*figures, boot_overhead.measure(lambda text: console.print(text, highlight=False))]


def _store(path: Path, figures: Sequence[Figure], load: dict[str, Any]) -> None:
    content = {
        "when": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "host": host_description(),
        "load_average": load,
        "figures": [figure.as_json() for figure in figures],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def _show(console: Console, figures: Sequence[Figure]) -> None:
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    table = Table(title=f"{host_description()}, load average {load}", title_justify="left")
    for column in ("figure", "value", "limit", "parts"):
        table.add_column(column)
    for figure in figures:
        limit, value = (f"{number:.2f} {figure.unit}" for number in (figure.limit, figure.value))
        table.add_row(figure.name, value, limit, _parts_text(figure.parts))
    console.print(table)


def _parts_text(parts: dict[str, Any]) -> str:
    """One line per part."""
    lines = []
    for name, part in parts.items():
        match part:
            case dict():
                lines.append(f"{name} " + ", ".join(f"{inner} {value:g}" for inner, value in part.items()))
            case list():
                lines.append(f"{name} " + " ".join(f"{value:g}" for value in part))
            case _:
                lines.append(f"{name} {part:g}")
    return "\n".join(lines)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    typer.run(main)

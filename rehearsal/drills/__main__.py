"""`make drill`: inject each fault under live traffic, and report detection, recovery and failed requests in a table."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from rehearsal.drills import table
from rehearsal.drills.drill import Drill, DrillRun, Row, run_drills
from rehearsal.drills.fixture import RATE, start_fixture
from rehearsal.drills.register import DRILLS
from rehearsal.environment import EnvironmentOptions
from rehearsal.host import install
from rehearsal.host.sandbox import RUNS

PLAIN_WIDTH = 160  # without a terminal, lines are for a log
FAILED, USAGE, CANNOT_RUN, INTERRUPTED = 1, 2, 3, 130


class NoSuchDrillError(Exception):
    """No drill has this fault's name."""


def select(only: Sequence[str], drills: Sequence[Drill] = DRILLS) -> list[Drill]:
    """All drills, or those named in `only`, in the order of the register. Raises NoSuchDrillError."""
    known = [drill.fault for drill in drills]
    if unknown := [name for name in only if name not in known]:
        allowed = ", ".join(repr(name) for name in known)  # quoted, since one contains a comma
        raise NoSuchDrillError(f"--only {unknown[0]!r}: no such fault; allowed are: {allowed}")
    return [drill for drill in drills if not only or drill.fault in only]


def main(
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="FAULT", help="Run this drill only, by its title in docs/runbook.md; repeatable."),
    ] = None,
    rate: Annotated[int, typer.Option(min=1, max=600, help="Requests per second, open loop.")] = RATE,
    report: Annotated[Path, typer.Option(file_okay=False, help="Folder for drills.json.")] = RUNS,
) -> None:
    """Inject each fault into a small stack on this host, under live traffic."""
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    try:
        drills = select(only or [])
    except NoSuchDrillError as error:
        console.print(escape(str(error)), highlight=False, soft_wrap=True)
        raise typer.Exit(USAGE) from error
    if os.geteuid() != 0:
        console.print("The drills start a Docker engine and create a network: run them as root, `sudo make drill`.")
        raise typer.Exit(CANNOT_RUN)
    install.require()
    raise typer.Exit(_run(drills, EnvironmentOptions(rate=rate), report / "drills.json", console))


def _run(drills: Sequence[Drill], options: EnvironmentOptions, path: Path, console: Console) -> int:
    """Run the drills; the exit code. An aborted run still reports the drills that finished."""
    runs: list[DrillRun] = []
    rows: list[Row] = []
    code = 0

    def notify(text: str) -> None:
        console.print(escape(text), highlight=False, soft_wrap=True)

    try:
        with start_fixture(options, notify) as fixture:

            def report(run: DrillRun) -> None:
                runs.append(run)
                row = run.row(fixture.load.log())
                rows.append(row)
                table.write(path, rows)  # also a run that is killed leaves the figures of its finished drills
                notify(f"{'ok    ' if row.ok else 'FAILED'} {row.seconds:6.1f} s  {row.fault}  {row.note}")

            try:
                run_drills(fixture, drills, report)
            finally:
                fixture.load.stop()
                rows = [run.row(fixture.load.log()) for run in runs]
    except KeyboardInterrupt:
        notify("interrupted")
        code = INTERRUPTED
    except Exception as error:
        notify(f"The drills were aborted. {type(error).__name__}: {error}")
        code = FAILED
    _show_result(rows, path, console)
    return code or (0 if rows and all(row.ok for row in rows) else FAILED)


def _show_result(rows: Sequence[Row], path: Path, console: Console) -> None:
    """Write drills.json and print the table; without a finished drill the previous file stays."""
    if not rows:
        console.print(f"no drill finished; {path} is unchanged", highlight=False, soft_wrap=True)
        return
    table.write(path, rows)
    console.print(table.table(rows))
    console.print(f"report: {path}", highlight=False, soft_wrap=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    typer.run(main)

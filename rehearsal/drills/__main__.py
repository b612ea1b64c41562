"""`make drill`: each fault is played while users are served, and one table tells what became of it."""

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
from rehearsal.drills.drill import Drill, Played, Row, perform
from rehearsal.drills.fixture import RATE, set_up
from rehearsal.drills.register import DRILLS
from rehearsal.environment import Options
from rehearsal.host import install
from rehearsal.host.sandbox import RUNS

PLAIN_WIDTH = 160  # where there is no terminal to fit, lines are for a log
FAILED, USAGE, CANNOT_RUN, INTERRUPTED = 1, 2, 3, 130


class NoSuchDrillError(Exception):
    """A fault was named that no drill plays."""


def chosen(only: Sequence[str], drills: Sequence[Drill] = DRILLS) -> list[Drill]:
    """All, or those named, in the usual order."""
    known = [drill.fault for drill in drills]
    if unknown := [name for name in only if name not in known]:
        allowed = ", ".join(repr(name) for name in known)  # in quotes, since one has a comma and one an apostrophe
        raise NoSuchDrillError(f"--only {unknown[0]!r}: no such fault; allowed are: {allowed}")
    return [drill for drill in drills if not only or drill.fault in only]


def main(
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAULT", help="Play this fault alone, by its title in docs/runbook.md; may be given again for more."
        ),
    ] = None,
    rate: Annotated[int, typer.Option(min=1, max=600, help="Users' requests a second, whatever the answers.")] = RATE,
    report: Annotated[Path, typer.Option(file_okay=False, help="Folder for drills.json.")] = RUNS,
) -> None:
    """Play each fault against a small stack on this machine, while users are served by it."""
    signal.signal(signal.SIGTERM, _like_ctrl_c)
    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    try:
        drills = chosen(only or [])
    except NoSuchDrillError as error:
        console.print(escape(str(error)), highlight=False, soft_wrap=True)
        raise typer.Exit(USAGE) from error
    if os.geteuid() != 0:
        console.print("The drills start Docker's engine and make a network: run them as root, `sudo make drill`.")
        raise typer.Exit(CANNOT_RUN)
    install.require()
    raise typer.Exit(_play(drills, Options(rate=rate), report / "drills.json", console))


def _play(drills: Sequence[Drill], options: Options, path: Path, console: Console) -> int:
    """The exit code; also drills that were broken off leave the table and the file of those that were played."""
    played: list[Played] = []
    rows: list[Row] = []
    code = 0

    def say(text: str) -> None:
        console.print(escape(text), highlight=False, soft_wrap=True)

    try:
        with set_up(options, say) as scene:

            def tell(one: Played) -> None:
                played.append(one)
                row = one.row(scene.users.log())
                say(f"{'ok    ' if row.ok else 'FAILED'} {row.seconds:6.1f} s  {row.fault}  {row.note}")

            try:
                perform(scene, drills, tell)
            finally:
                scene.users.leave()
                rows = [one.row(scene.users.log()) for one in played]
    except KeyboardInterrupt:
        say("interrupted")
        code = INTERRUPTED
    except Exception as error:
        say(f"The drills broke off. {type(error).__name__}: {error}")
        code = FAILED
    _show_end(rows, path, console)
    return code or (0 if rows and all(row.ok for row in rows) else FAILED)


def _show_end(rows: Sequence[Row], path: Path, console: Console) -> None:
    """A run that ends before its first drill does leaves the figures of the run before."""
    if not rows:
        console.print(f"no drill was played to its end; {path} is left as it was", highlight=False, soft_wrap=True)
        return
    table.write(path, rows)
    console.print(table.table(rows))
    console.print(f"report: {path}", highlight=False, soft_wrap=True)


def _like_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    typer.run(main)

"""`make rehearse-vpn`: an office and a cloud on this machine, and what their two tunnels bear; figures in vpn.json."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rehearsal import install
from rehearsal.ground import RUNS, Ground, GroundError
from rehearsal.vpn import alone, host
from rehearsal.vpn.result import Result, Step

FAILED, CANNOT_RUN, INTERRUPTED = 1, 3, 130


def main(
    report: Annotated[Path, typer.Option(help="Folder for vpn.json.")] = RUNS,
) -> None:
    """Play office, internet and cloud with real IPsec: both tunnels, the loss of one, new keys, a wrong key."""
    signal.signal(signal.SIGTERM, _like_ctrl_c)
    console = Console()
    if os.geteuid() != 0:
        console.print("The VPN's rehearsal makes networks: run it as root, `sudo make rehearse-vpn`.")
        raise typer.Exit(CANNOT_RUN)
    install.require(tools=install.FOR_VPN)
    if reason := host.reason_against():
        console.print(escape(f"The VPN can't be played here: {reason}."), highlight=False, soft_wrap=True)
        raise typer.Exit(CANNOT_RUN)
    try:
        result = _perform(console)
    except KeyboardInterrupt:
        console.print("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    report.mkdir(parents=True, exist_ok=True)
    file = report / "vpn.json"
    file.write_text(json.dumps(result.as_json(), indent=2) + "\n")
    _show(result, console, file)
    raise typer.Exit(0 if result.ok else FAILED)


def _perform(console: Console) -> Result:
    def tell(step: Step) -> None:
        mark = "[green]ok[/]" if step.ok else "[red]failed[/]"
        line = f"{mark} {step.seconds:6.2f} s  {escape(step.name)}: {escape(step.note)}"
        console.print(line, highlight=False, soft_wrap=True)

    try:
        with Ground.open(with_network=False) as ground:
            return alone.play(ground, tell)
    except GroundError as error:
        return Result(error=str(error))


def _show(result: Result, console: Console, file: Path) -> None:
    table = Table("figure", "found", title="VPN")
    for name, value in result.as_json().items():
        if name not in ("steps", "error"):
            table.add_row(name, str(value))
    console.print(table)
    for problem in result.problems:
        console.print(f"[bold red]{escape(problem)}[/]", highlight=False, soft_wrap=True)
    console.print(f"report: {file}", highlight=False, soft_wrap=True)


def _like_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    typer.run(main)

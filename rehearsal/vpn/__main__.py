"""`make rehearse-vpn`: an office and a cloud on this machine, and what their two tunnels bear; figures in vpn.json."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from pulumi.automation import CommandError as EngineError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rehearsal.cli import CliMissingError
from rehearsal.host import install
from rehearsal.host.commands import CommandError
from rehearsal.host.sandbox import RUNS, Ground, GroundError
from rehearsal.vpn import host, provisioned, standalone
from rehearsal.vpn.addresses import own_connection
from rehearsal.vpn.result import Result, Step
from scripts.vpn_render import Connection, parse_xml, render

Source = Callable[[Ground], Connection]
FAILED, CANNOT_RUN, INTERRUPTED = 1, 3, 130


def main(
    configuration: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="AWS's customer gateway XML to play; default: a made stack's.",
        ),
    ] = None,
    office_cidr: Annotated[list[str] | None, typer.Option(help="A range of the office; with --configuration.")] = None,
    vpc_cidr: Annotated[list[str] | None, typer.Option(help="A range of the VPC; with --configuration.")] = None,
    bare: Annotated[bool, typer.Option("--bare", help="Make the connection up: no stack, no emulator.")] = False,
    silent_path: Annotated[
        bool,
        typer.Option("--silent-path", help="Also cut the way to an endpoint that AWS goes on using."),
    ] = False,
    report: Annotated[Path, typer.Option(help="Folder for vpn.json.")] = RUNS,
) -> None:
    """Play office, internet and cloud with real IPsec: both tunnels, the loss of one, new keys, a wrong key."""
    signal.signal(signal.SIGTERM, _like_ctrl_c)
    console = Console()
    source = _source(configuration, office_cidr or [], vpc_cidr or [], _notify(console), bare=bare)
    _require_means(console)
    try:
        result = _perform(console, source, silent_path=silent_path)
    except KeyboardInterrupt:
        console.print("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    report.mkdir(parents=True, exist_ok=True)
    file = report / "vpn.json"
    file.write_text(json.dumps(result.as_json(), indent=2) + "\n")
    _show(result, console, file)
    raise typer.Exit(0 if result.ok else FAILED)


def _source(
    configuration: Path | None, office: list[str], vpc: list[str], notify: Callable[[str], None], *, bare: bool
) -> Source:
    """Where the connection comes from; a document is read, and judged, before anything is started."""
    if bare and configuration:
        raise typer.BadParameter("--bare and --configuration name two connections: give one of them")
    if bare:
        return lambda _ground: own_connection()
    if configuration is None:
        return lambda ground: provisioned.connection(ground, notify)
    try:
        found = parse_xml(configuration.read_text(), office_cidrs=office, vpc_cidrs=vpc)
        render(found, userspace=True)
    except ValueError as error:
        raise typer.BadParameter(f"{configuration}: {error}") from error
    return lambda _ground: found


def _notify(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(escape(text), highlight=False, soft_wrap=True)


def _require_means(console: Console) -> None:
    if os.geteuid() != 0:
        console.print("The VPN's rehearsal makes networks: run it as root, `sudo make rehearse-vpn`.")
        raise typer.Exit(CANNOT_RUN)
    install.require(tools=install.FOR_VPN)
    if reason := host.reason_against():
        console.print(escape(f"The VPN can't be played here: {reason}."), highlight=False, soft_wrap=True)
        raise typer.Exit(CANNOT_RUN)


def _perform(console: Console, source: Source, *, silent_path: bool) -> Result:
    def tell(step: Step) -> None:
        mark = "[green]ok[/]" if step.ok else "[red]failed[/]"
        line = f"{mark} {step.seconds:6.2f} s  {escape(step.name)}: {escape(step.note)}"
        console.print(line, highlight=False, soft_wrap=True)

    try:
        with Ground.open(with_network=False) as ground:
            began = time.monotonic()
            connection = source(ground)
            note = f"{connection.id}, {connection.routing} routing"
            tell(Step(name="the connection is there", seconds=time.monotonic() - began, ok=True, note=note))
            return standalone.play(ground, tell, connection, silent_path=silent_path)
    except (GroundError, CommandError, EngineError, CliMissingError) as error:
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

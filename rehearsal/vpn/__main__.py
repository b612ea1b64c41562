"""`make rehearse-vpn`: site-to-site VPN between a remote network and a cloud on this host; figures in vpn.json."""

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
from rehearsal.host.commands import ToolError
from rehearsal.host.sandbox import RUNS, Sandbox, SandboxError
from rehearsal.vpn import host, provisioned, standalone
from rehearsal.vpn.addresses import generated_connection
from rehearsal.vpn.result import Result, VpnStep
from scripts.vpn.render import Connection, parse_xml, render

Source = Callable[[Sandbox], Connection]
FAILED, CANNOT_RUN, INTERRUPTED = 1, 3, 130


def main(
    configuration: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Customer gateway configuration (XML) from AWS; default: that of a stack created in the emulator.",
        ),
    ] = None,
    remote_cidr: Annotated[
        list[str] | None, typer.Option(help="CIDR of the remote network; with --configuration.")
    ] = None,
    vpc_cidr: Annotated[list[str] | None, typer.Option(help="CIDR of the VPC; with --configuration.")] = None,
    bare: Annotated[bool, typer.Option("--bare", help="Generate the connection: no stack, no emulator.")] = False,
    silent_path: Annotated[
        bool,
        typer.Option(
            "--silent-path", help="Also drop packets of a tunnel without AWS's knowledge, until dead peer detection."
        ),
    ] = False,
    report: Annotated[Path, typer.Option(help="Folder for vpn.json.")] = RUNS,
) -> None:
    """Run a remote network, an internet and a cloud with real IPsec: tunnels, failover, key rotation, a wrong key."""
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console()
    source = _source(configuration, remote_cidr or [], vpc_cidr or [], _notify(console), bare=bare)
    _require_host_support(console)
    try:
        result = _run(console, source, silent_path=silent_path)
    except KeyboardInterrupt:
        console.print("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    report.mkdir(parents=True, exist_ok=True)
    file = report / "vpn.json"
    file.write_text(json.dumps(result.as_json(), indent=2) + "\n")
    _show(result, console, file)
    raise typer.Exit(0 if result.ok else FAILED)


def _source(
    configuration: Path | None, remote: list[str], vpc: list[str], notify: Callable[[str], None], *, bare: bool
) -> Source:
    """Source of the connection; an XML document is parsed and validated before anything is started."""
    if bare and configuration:
        raise typer.BadParameter("--bare and --configuration exclude each other: use one of them")
    if bare:
        return lambda _sandbox: generated_connection()
    if configuration is None:
        return lambda sandbox: provisioned.connection(sandbox, notify)
    try:
        connection = parse_xml(configuration.read_text(), remote_cidrs=remote, vpc_cidrs=vpc)
        render(connection, userspace=True)
    except ValueError as error:
        raise typer.BadParameter(f"{configuration}: {error}") from error
    return lambda _sandbox: connection


def _notify(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(escape(text), highlight=False, soft_wrap=True)


def _require_host_support(console: Console) -> None:
    if os.geteuid() != 0:
        console.print("The VPN rehearsal creates network namespaces: run it as root, `sudo make rehearse-vpn`.")
        raise typer.Exit(CANNOT_RUN)
    install.require(tools=install.FOR_VPN)
    if reason := host.unsupported_reason():
        console.print(escape(f"The VPN rehearsal can't run here: {reason}."), highlight=False, soft_wrap=True)
        raise typer.Exit(CANNOT_RUN)


def _run(console: Console, source: Source, *, silent_path: bool) -> Result:
    def report(step: VpnStep) -> None:
        mark = "[green]ok[/]" if step.ok else "[red]failed[/]"
        line = f"{mark} {step.seconds:6.2f} s  {escape(step.name)}: {escape(step.note)}"
        console.print(line, highlight=False, soft_wrap=True)

    try:
        with Sandbox.open(with_network=False) as sandbox:
            began = time.monotonic()
            connection = source(sandbox)
            note = f"{connection.id}, {connection.routing} routing"
            report(VpnStep(name="create the connection", seconds=time.monotonic() - began, ok=True, note=note))
            return standalone.run(sandbox, report, connection, silent_path=silent_path)
    except (SandboxError, ToolError, EngineError, CliMissingError) as error:
        return Result(error=str(error))


def _show(result: Result, console: Console, file: Path) -> None:
    table = Table("figure", "value", title="VPN")
    for name, value in result.as_json().items():
        if name not in ("steps", "error"):
            table.add_row(name, str(value))
    console.print(table)
    for problem in result.problems:
        console.print(f"[bold red]{escape(problem)}[/]", highlight=False, soft_wrap=True)
    console.print(f"report: {file}", highlight=False, soft_wrap=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    typer.run(main)

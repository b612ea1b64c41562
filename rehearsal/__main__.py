"""`make rehearse`: the entire deployment scenario on this host, with live output and a report at the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from pulumi.automation import CommandError
from rich.console import Console
from rich.markup import escape

from rehearsal.cli import CliMissingError
from rehearsal.environment import EnvironmentOptions, ScriptFailedError, start_environment
from rehearsal.host import install
from rehearsal.host.database import DatabaseError
from rehearsal.host.docker_engine import DockerError
from rehearsal.host.sandbox import RUNS, SandboxError
from rehearsal.images.instance_image import BakeError
from rehearsal.load.load import latest_second, seconds
from rehearsal.load.request_log import RequestLog
from rehearsal.report.display import View
from rehearsal.report.journal import Journal
from rehearsal.report.page import write_page
from rehearsal.scenario import Scenario, ScenarioError
from rehearsal.vpn import in_rehearsal as vpn
from rehearsal.workspace import PluginMissingError, ProviderPlugin
from scripts.cli.display import update_error

# Errors whose text is a sentence; the others are shown with their class.
KNOWN = (ScenarioError, ScriptFailedError, SandboxError, BakeError, DockerError, DatabaseError, CommandError)
FAILED, CANNOT_RUN, INTERRUPTED = 1, 3, 130


def main(
    rate: Annotated[int, typer.Option(min=1, max=2000, help="Requests per second, open loop.")] = 600,
    provider: Annotated[
        ProviderPlugin,
        typer.Option(help="Provider plugin for AWS resources: rehearsal, this project's own; aws, AWS's own, slower."),
    ] = ProviderPlugin.REHEARSAL,
    report: Annotated[Path, typer.Option(file_okay=False, help="Folder for report.json and report.html.")] = RUNS,
) -> None:
    """Run the entire scenario on this host: two releases, cutovers, a bad release, and a clean teardown."""
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console()
    _require_root(console)
    install.require()
    vpn.prepare(_notify(console))
    journal = Journal(path=report / "report.json", engine="pulumi")
    code = _run(journal, EnvironmentOptions(rate=rate, provider=provider), console)
    journal.write()
    _show_result(journal, report, console)
    raise typer.Exit(code or (0 if journal.ok else FAILED))


def _run(journal: Journal, options: EnvironmentOptions, console: Console) -> int:
    """Run the scenario and tear the environment down in any case; the exit code."""
    view = View(journal, lambda: latest_second(_load_folder(journal)), console)
    try:
        with view.showing(), ExitStack() as teardown:
            with journal.step("start the environment: Docker, network, registry, database, AWS emulator"):
                environment = teardown.enter_context(start_environment(options, _notify(console)))
            journal.extra["run"] = environment.folder.name
            journal.gaps = environment.gaps()
            Scenario(environment=environment, journal=journal).run()
            with journal.step("tear the environment down"):
                teardown.close()
    except KeyboardInterrupt:
        journal.error = "interrupted"
        return INTERRUPTED
    except (CliMissingError, PluginMissingError) as error:
        journal.error = str(error)
        return CANNOT_RUN
    except Exception as error:
        known = isinstance(error, KNOWN)
        journal.error = update_error(str(error)) if known else f"{type(error).__name__}: {error}"
        return FAILED
    journal.finished = True
    return 0


def _load_folder(journal: Journal) -> Path:
    return RUNS / str(journal.extra.get("run", "")) / "load"


def _show_result(journal: Journal, report: Path, console: Console) -> None:
    """Write the report page and print its path; a run that failed early has charts of what it recorded."""
    folder = _load_folder(journal)
    log = RequestLog.read(folder) if (folder / "requests.tsv").exists() else RequestLog([])
    began = min((request.due for request in log.requests), default=0.0)
    write_page(report / "report.html", journal.as_json(), seconds(log.requests), began - journal.epoch)
    if journal.error:
        console.print(f"[bold red]The rehearsal failed.[/] {escape(journal.error)}", highlight=False, soft_wrap=True)
    else:
        console.print("[bold green]The rehearsal passed.[/]" if journal.ok else "[bold red]The rehearsal failed.[/]")
    console.print(f"report: {report / 'report.html'}", highlight=False, soft_wrap=True)


def _notify(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(escape(text), highlight=False, soft_wrap=True)


def _require_root(console: Console) -> None:
    if os.geteuid() != 0:
        console.print("The rehearsal starts a Docker engine and a network: run it as root, `sudo make rehearse`.")
        raise typer.Exit(CANNOT_RUN)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    typer.run(main)

"""`make rehearse`: the whole journey on this machine, told live, with a report at its end."""

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
from rehearsal.environment import Options, ScriptFailedError, built
from rehearsal.host import install
from rehearsal.host.database import DatabaseError
from rehearsal.host.docker_engine import DockerError
from rehearsal.host.sandbox import RUNS, GroundError
from rehearsal.images.instance_image import BakeError
from rehearsal.load.request_log import RequestLog
from rehearsal.load.users import latest_second, seconds
from rehearsal.report.display import View
from rehearsal.report.journal import Journal
from rehearsal.report.page import write_page
from rehearsal.scenario import Story, StoryError
from rehearsal.vpn import in_rehearsal as vpn
from rehearsal.workspace import PluginMissingError, Provider
from scripts.display import update_error

# Errors whose text is a sentence already; of others the kind helps.
KNOWN = (StoryError, ScriptFailedError, GroundError, BakeError, DockerError, DatabaseError, CommandError)
FAILED, CANNOT_RUN, INTERRUPTED = 1, 3, 130


def main(
    rate: Annotated[int, typer.Option(min=1, max=2000, help="Users' requests a second, whatever the answers.")] = 600,
    provider: Annotated[
        Provider,
        typer.Option(
            help="Plugin that makes AWS resources: rehearsal, this project's own; aws, the one that users have, slower."
        ),
    ] = Provider.REHEARSAL,
    report: Annotated[Path, typer.Option(file_okay=False, help="Folder for report.json and report.html.")] = RUNS,
) -> None:
    """Play the whole journey on this machine: two releases, cutovers, a bad release, and nothing left at the end."""
    signal.signal(signal.SIGTERM, _like_ctrl_c)
    console = Console()
    _require_root(console)
    install.require()
    vpn.prepare(_notify(console))
    journal = Journal(path=report / "report.json", engine="pulumi")
    code = _perform(journal, Options(rate=rate, provider=provider), console)
    journal.write()
    _show_end(journal, report, console)
    raise typer.Exit(code or (0 if journal.ok else FAILED))


def _perform(journal: Journal, options: Options, console: Console) -> int:
    """Play, and clear the stage whatever happens; the exit code that the way it ended asks for."""
    view = View(journal, lambda: latest_second(_load_folder(journal)), console)
    try:
        with view.showing(), ExitStack() as ending:
            with journal.step("set the stage: Docker, network, registry, database, AWS"):
                stage = ending.enter_context(built(options, _notify(console)))
            journal.facts["run"] = stage.folder.name
            journal.gaps = stage.gaps()
            Story(stage=stage, journal=journal).play()
            with journal.step("clear the stage"):
                ending.close()
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
    return RUNS / str(journal.facts.get("run", "")) / "load"


def _show_end(journal: Journal, report: Path, console: Console) -> None:
    """The page, and where it is; a run that ended early has pictures of what there was."""
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
        console.print("The rehearsal starts Docker's engine and makes a network: run it as root, `sudo make rehearse`.")
        raise typer.Exit(CANNOT_RUN)


def _like_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    typer.run(main)

"""`make playground`: a rehearsal environment that stays open, with a live page, until Ctrl-C or `stop`."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import pulumi.automation as auto
import typer

from rehearsal.cli import CliMissingError
from rehearsal.drills.fixture import MAX_TRIES, SAMPLE, Fixture
from rehearsal.environment import (
    Environment,
    EnvironmentOptions,
    EnvironmentSetupError,
    ScriptFailedError,
    start_environment_in,
)
from rehearsal.host import install, processes
from rehearsal.host.claims import Claims
from rehearsal.host.database import DatabaseError
from rehearsal.host.docker_engine import DockerError
from rehearsal.host.ledger import TemporaryFolder
from rehearsal.host.processes import ProcessIdentity
from rehearsal.host.sandbox import Sandbox, SandboxError, sweep
from rehearsal.host.teardown import MARK
from rehearsal.images.instance_image import BakeError
from rehearsal.load.load import Load
from rehearsal.playground import faults, instructions, session, shell
from rehearsal.playground.board import Board
from rehearsal.playground.faults import Injector
from rehearsal.playground.observer import Observer, Sources
from rehearsal.playground.owner import Owner
from rehearsal.playground.server import PageServer
from rehearsal.playground.session import NOT_RUNNING, ROOT, Session, SessionError
from rehearsal.scenario import BAD_DATABASE_HOST
from rehearsal.workspace import PluginMissingError
from scripts.cli.display import update_error

STACK, RELEASE = "playground", "v1"
SETTINGS = ROOT / f"Pulumi.{STACK}.yaml"
PORT, RATE = 8700, 50
BAKE_SECONDS = "5"  # short, since a person waits for it
BOOT_TIMEOUT_S = "120"  # shorter than the default of five minutes for an instance that can't boot
MAX_LOAD_SECONDS, LOG_MINUTES = 86_400.0 * 7, 15.0  # maximum duration of the load; period that its log covers
TEARDOWN_TIMEOUT_S = 120.0
POLL_S = 0.5
FAILED, USAGE, CANNOT_RUN, INTERRUPTED = 1, 2, 3, 130
KNOWN = (
    *(ScriptFailedError, EnvironmentSetupError, SandboxError, BakeError, DockerError, DatabaseError, auto.CommandError),
    *(SessionError, CliMissingError, PluginMissingError),
)

cli = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False, rich_markup_mode=None)


@cli.callback(invoke_without_command=True)
def main(context: typer.Context) -> None:
    """A rehearsal environment that stays open. Without a command it starts."""
    if context.invoked_subcommand is None:
        start()


@cli.command()
def start(
    rate: Annotated[int, typer.Option(min=1, max=600, help="Requests per second.")] = RATE,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the page; the next free one if it is in use.")
    ] = PORT,
) -> None:
    """Start the playground, print the instructions, and keep it open until Ctrl-C or `stop`."""
    if os.geteuid() != 0:
        _say("The playground starts a Docker engine and creates a network: run it as root, `sudo make playground`.")
        raise typer.Exit(CANNOT_RUN)
    claims = _claim_playground()
    if SETTINGS.exists():
        _say(f"{SETTINGS} exists, and no playground created it: move it away first, as the playground writes its own.")
        raise typer.Exit(CANNOT_RUN)
    install.require()
    began = time.time()
    code = _Playground(rate=rate, port=port, claims=claims).run()
    Owner.caller().adopt_new(ROOT, began)
    raise typer.Exit(code)


@cli.command()
def stop() -> None:
    """Stop the running playground and wait until it is torn down."""
    running = _running()
    if running is None:
        _say(NOT_RUNNING)
        return
    try:
        running.post("stop")
    except SessionError:  # its server does not respond: send a signal, which root and the user who started it may
        with contextlib.suppress(PermissionError):
            processes.send(running.process, signal.SIGTERM)
    _wait_for_exit(running.process)
    _say("The playground has stopped and is torn down.")


@cli.command()
def fault(name: Annotated[str, typer.Argument(help="A name from the list of `faults`.")]) -> None:
    """Inject a fault into the running playground, or `restore` to end active faults."""
    if name == faults.LIST:
        _say(faults.listing())
        return
    if name not in faults.HELP:
        _say(faults.unknown(name))
        raise typer.Exit(USAGE)
    running = _running()
    if running is None:
        _say(NOT_RUNNING)
        raise typer.Exit(CANNOT_RUN)
    try:
        answer = running.post(f"faults/{name}")
    except SessionError as error:
        _say(str(error))
        raise typer.Exit(FAILED) from error
    _say(f"{name}: {answer['did']}.\nWhat to check: {answer['check']}.\n{running.page}")


@cli.command(name="faults")
def list_faults() -> None:
    """List the faults."""
    _say(faults.listing())


@dataclass(kw_only=True)
class _Playground:
    """One playground from its start to its end; `run` returns the exit code."""

    rate: int
    port: int
    claims: Claims
    owner: Owner = field(default_factory=Owner.caller)
    original_path: str = field(default_factory=lambda: os.environ["PATH"])
    began: float = field(default_factory=time.monotonic)
    ready: bool = False

    def run(self) -> int:
        signals = _handle_signals()
        _stop_with_terminal()
        try:
            with Sandbox.open(claims=self.claims) as sandbox, ExitStack() as closing:
                try:
                    self._open(sandbox, closing)
                finally:
                    _ignore(signals)  # nothing interrupts the teardown
        except KeyboardInterrupt:
            _say("The playground has stopped and is torn down.")
            return 0 if self.ready else INTERRUPTED
        except Exception as error:
            known = isinstance(error, KNOWN)
            message = update_error(str(error)) if known else f"{type(error).__name__}: {error}"
            _say(f"The playground did not start and is torn down. {message}")
            return CANNOT_RUN if isinstance(error, CliMissingError | PluginMissingError) else FAILED
        return 0

    def _open(self, sandbox: Sandbox, closing: ExitStack) -> None:
        sandbox.ledger.record(TemporaryFolder(name="playground", path=str(session.FOLDER)))
        session.FOLDER.mkdir(parents=True, exist_ok=True)
        board = Board(sandbox.id, rate=self.rate, chapters=[chapter.as_json() for chapter in instructions.CHAPTERS])
        commands: dict[str, Callable[[str], Any]] = {"stop": _stop_self}
        server = PageServer(board, commands, port=self.port)
        closing.callback(server.close)
        closing.callback(board.update, phase="ending")
        Session(process=_own_identity(), page=server.url, run=sandbox.id, token=server.token).write()
        self.owner.adopt(session.FOLDER)
        _say(f"page: {server.url}")
        options = EnvironmentOptions(rate=self.rate, stack=STACK, project=ROOT)
        environment = closing.enter_context(start_environment_in(sandbox, options, _say))
        fixture = self._provision(environment, board)
        injector = Injector(fixture=fixture, board=board)
        closing.callback(injector.end)
        commands["faults"] = injector.run
        self._write_caller_files(environment, server.url)
        observer = Observer(environment, board, self._sources(fixture))
        observer.observe()
        observer.start()
        closing.callback(observer.close)
        board.update(phase="running", app=environment.url, faults=faults.HELP, active=[])
        board.log("good", f"ready after {time.monotonic() - self.began:.0f} s: {RELEASE} is live on blue")
        self.ready = True
        _say(f"\nThe playground is ready: release {RELEASE} is live on blue, {self.rate} requests a second.\n")
        _say(instructions.render(server.url, environment.url))
        while True:
            time.sleep(3600)

    def _provision(self, environment: Environment, board: Board) -> Fixture:
        """Provision the stack with release v1 live on blue, and start the load."""
        with self._step(board, "bake the instance image"):
            image = environment.bake()
        with self._step(board, "install the Pulumi CLI and create the stack"):
            environment.create_stack()
            environment.stack.set_config("bluegreen:bootTimeout", auto.ConfigValue(BOOT_TIMEOUT_S))
        with self._step(board, "provision the stack: pulumi up"):
            environment.up()
            for name, value in environment.parameters().items():
                environment.put_parameter(name, value)
        with self._step(board, f"publish release {RELEASE} and deploy it to blue"):
            environment.run_script("publish_release", str(SAMPLE), "--version", RELEASE)
            environment.run_script("deploy", RELEASE, "--ami", image.ami_id)
        with self._step(board, f"start the load: {self.rate} requests per second"):
            load = Load.start(
                environment.sandbox,
                environment.url,
                self.rate,
                tries=MAX_TRIES,
                seconds=MAX_LOAD_SECONDS,
                keep=LOG_MINUTES,
            )
        return Fixture(environment=environment, ami=image.ami_id, image=image.image, load=load)

    @contextmanager
    def _step(self, board: Board, text: str) -> Iterator[None]:
        board.update(step=text)
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        board.log("script", f"{text}: {seconds:.1f} s")
        _say(f"ok {seconds:6.1f} s  {text}")

    def _write_caller_files(self, environment: Environment, page: str) -> None:
        """Write the files for the caller, who becomes the owner of them, of Docker's socket and of the backend."""
        _write_broken_release(session.FOLDER / Path(instructions.BROKEN).name)
        variables = {**environment.variables, "BLUEGREEN_STACK": STACK, "BLUEGREEN_BAKE_SECONDS": BAKE_SECONDS}
        path = variables.pop("PATH").removesuffix(self.original_path).strip(os.pathsep)
        del variables[MARK]  # programs started from that shell, such as an editor, do not belong to the run
        file = session.FOLDER / Path(instructions.ENV_FILE).name
        file.touch(mode=0o600)
        file.write_text(shell.render(variables, path.split(os.pathsep), page))
        self.owner.adopt(session.FOLDER, SETTINGS, _pulumi_folder(environment), *environment.docker.client_files())

    def _sources(self, fixture: Fixture) -> Sources:
        bucket = str(fixture.environment.stack.outputs()["artifactsBucket"].value)
        return Sources(load=fixture.load.folder, backend=_pulumi_folder(fixture.environment) / "backend", bucket=bucket)


def _pulumi_folder(environment: Environment) -> Path:
    return Path(environment.variables["PULUMI_HOME"]).parent


def _write_broken_release(folder: Path) -> None:
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    dockerfile = folder / "Dockerfile"
    text = dockerfile.read_text()
    dockerfile.write_text(text.replace('DATABASE_HOST=""', f'DATABASE_HOST="{BAD_DATABASE_HOST}"'))


def _claim_playground() -> Claims:
    """Exclusive claim of this checkout, until the run's last process (the janitor's, if killed) releases it."""
    claims, name = Claims(), f"playground-{sha256(str(ROOT).encode()).hexdigest()[:12]}"
    deadline, waiting = time.monotonic() + TEARDOWN_TIMEOUT_S, False
    while not claims.exclusive(name):
        running = _running()
        if running or time.monotonic() > deadline:
            where = f" at {running.page}, process {running.process.pid}" if running else ""
            _say(f"A playground is already running here{where}: `make playground-stop` stops it.")
            raise typer.Exit(CANNOT_RUN)
        if not waiting:
            _say("waiting for the teardown of the previous playground, or the start of another one")
            waiting = True
        time.sleep(POLL_S)
    for problem in sweep():
        _say(f"left behind by an earlier run: {problem}")
    return claims


def _running() -> Session | None:
    try:
        return session.find()
    except SessionError as error:
        _say(str(error))
        raise typer.Exit(CANNOT_RUN) from error


def _wait_for_exit(process: ProcessIdentity) -> None:
    if processes.wait_gone([process], seconds=TEARDOWN_TIMEOUT_S):
        _say(f"The playground, process {process.pid}, has not stopped within {TEARDOWN_TIMEOUT_S:g} s.")
        raise typer.Exit(FAILED)


def _stop_self(_argument: str) -> dict[str, str]:
    os.kill(os.getpid(), signal.SIGTERM)
    return {"did": "stops"}


def _own_identity() -> ProcessIdentity:
    identity = processes.identify(os.getpid())
    if identity is None:
        raise SandboxError("/proc does not show this process: a playground needs Linux with /proc mounted")
    return identity


def _handle_signals() -> list[signal.Signals]:
    """Handle SIGTERM and SIGHUP like Ctrl-C, unless SIGHUP is ignored (nohup); the handled signals."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    handled = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, interrupt)
    return [*handled, signal.SIGINT]


def _stop_with_terminal() -> None:
    """Stop when the terminal closes: the kernel signals only the session leader, and `make` does not pass it on."""
    terminals = [file for file in (0, 1, 2) if os.isatty(file)]

    def watch() -> None:
        while os.isatty(terminals[0]):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGHUP)

    if terminals and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        threading.Thread(target=watch, name="terminal", daemon=True).start()


def _ignore(numbers: list[signal.Signals]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def _say(text: str) -> None:
    """Print, ignoring a closed terminal: the teardown must continue."""
    with contextlib.suppress(OSError):
        print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    try:
        cli()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()

"""`make playground`: the rehearsal's stage left open for a person, with a live page, until Ctrl-C or `stop`."""

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
from rehearsal.drills.fixture import SAMPLE, TRIES, Scene
from rehearsal.environment import Options, ScriptFailedError, Stage, StageError, built_on
from rehearsal.host import install, processes
from rehearsal.host.claims import Claims
from rehearsal.host.database import DatabaseError
from rehearsal.host.docker_engine import DockerError
from rehearsal.host.ledger import TemporaryFolder
from rehearsal.host.processes import Identity
from rehearsal.host.sandbox import Ground, GroundError, sweep
from rehearsal.host.teardown import MARK
from rehearsal.images.instance_image import BakeError
from rehearsal.load.users import Users
from rehearsal.playground import faults, instructions, session, shell
from rehearsal.playground.board import Board
from rehearsal.playground.faults import Injector
from rehearsal.playground.observer import Observer, Sources
from rehearsal.playground.owner import Owner
from rehearsal.playground.server import PageServer
from rehearsal.playground.session import NONE_RUNS, ROOT, Session, SessionError
from rehearsal.scenario import BAD_DATABASE_HOST
from rehearsal.workspace import PluginMissingError
from scripts.display import update_error

STACK, RELEASE = "playground", "v1"
SETTINGS = ROOT / f"Pulumi.{STACK}.yaml"
PORT, RATE = 8700, 50
BAKE_SECONDS = "5"  # how long scripts watch a release: a person waits for it
BOOT_TIMEOUT_S = "120"  # a release that can't boot is replaced after this, not after the usual five minutes
LOAD_SECONDS, LOAD_MINUTES = 86_400.0 * 7, 15.0  # the longest that a playground's load runs, and what its log holds
TEARDOWN_LIMIT_S = 120.0
POLL_S = 0.5
FAILED, USAGE, CANNOT_RUN, INTERRUPTED = 1, 2, 3, 130
KNOWN = (
    *(ScriptFailedError, StageError, GroundError, BakeError, DockerError, DatabaseError, auto.CommandError),
    *(SessionError, CliMissingError, PluginMissingError),
)

cli = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False, rich_markup_mode=None)


@cli.callback(invoke_without_command=True)
def main(context: typer.Context) -> None:
    """Keep the rehearsal's stage open for a person. Without a command it starts."""
    if context.invoked_subcommand is None:
        start()


@cli.command()
def start(
    rate: Annotated[int, typer.Option(min=1, max=600, help="Users' requests a second.")] = RATE,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page; the next free one if taken.")] = PORT,
) -> None:
    """Start the playground, print what to type, and keep it open until Ctrl-C or `stop`."""
    if os.geteuid() != 0:
        _say("The playground starts Docker's engine and makes a network: run it as root, `sudo make playground`.")
        raise typer.Exit(CANNOT_RUN)
    claims = _only_one()
    if SETTINGS.exists():
        _say(f"{SETTINGS} exists and is no playground's: move it away first, as the playground writes its own.")
        raise typer.Exit(CANNOT_RUN)
    install.require()
    began = time.time()
    code = _Playground(rate=rate, port=port, claims=claims).run()
    Owner.caller().adopt_new(ROOT, began)
    raise typer.Exit(code)


@cli.command()
def stop() -> None:
    """End the running playground and wait until nothing is left of it."""
    running = _running()
    if running is None:
        _say(NONE_RUNS)
        return
    try:
        running.post("stop")
    except SessionError:  # its server may be gone or stuck; as root, or as the user who started it, there is a signal
        with contextlib.suppress(PermissionError):
            processes.send(running.process, signal.SIGTERM)
    _wait_until_gone(running.process)
    _say("The playground has ended; nothing of it is left.")


@cli.command()
def fault(name: Annotated[str, typer.Argument(help="One of those that `faults` lists.")]) -> None:
    """Inject a fault into the running playground, or `restore` what lasts."""
    if name == faults.LIST:
        _say(faults.listing())
        return
    if name not in faults.HELP:
        _say(faults.unknown(name))
        raise typer.Exit(USAGE)
    running = _running()
    if running is None:
        _say(NONE_RUNS)
        raise typer.Exit(CANNOT_RUN)
    try:
        answer = running.post(f"faults/{name}")
    except SessionError as error:
        _say(str(error))
        raise typer.Exit(FAILED) from error
    _say(f"{name}: {answer['did']}.\nWhat to look at: {answer['look']}.\n{running.page}")


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
    usual_path: str = field(default_factory=lambda: os.environ["PATH"])
    began: float = field(default_factory=time.monotonic)
    ready: bool = False

    def run(self) -> int:
        signals = _interrupted_by_signals()
        _end_with_terminal()
        try:
            with Ground.open(claims=self.claims) as ground, ExitStack() as closing:
                try:
                    self._open(ground, closing)
                finally:
                    _ignore(signals)  # nothing cuts the teardown short
        except KeyboardInterrupt:
            _say("The playground has ended; nothing of it is left.")
            return 0 if self.ready else INTERRUPTED
        except Exception as error:
            known = isinstance(error, KNOWN)
            told = update_error(str(error)) if known else f"{type(error).__name__}: {error}"
            _say(f"The playground did not start, and nothing of it is left. {told}")
            return CANNOT_RUN if isinstance(error, CliMissingError | PluginMissingError) else FAILED
        return 0

    def _open(self, ground: Ground, closing: ExitStack) -> None:
        ground.ledger.record(TemporaryFolder(name="playground", path=str(session.FOLDER)))
        session.FOLDER.mkdir(parents=True, exist_ok=True)
        board = Board(ground.id, rate=self.rate, chapters=[chapter.as_json() for chapter in instructions.CHAPTERS])
        commands: dict[str, Callable[[str], Any]] = {"stop": _stop_this}
        server = PageServer(board, commands, port=self.port)
        closing.callback(server.close)
        closing.callback(board.update, phase="ending")
        Session(process=_this(), page=server.url, run=ground.id, token=server.token).write()
        self.owner.adopt(session.FOLDER)
        _say(f"page: {server.url}")
        options = Options(rate=self.rate, stack=STACK, project=ROOT)
        stage = closing.enter_context(built_on(ground, options, _say))
        scene = self._furnish(stage, board)
        injector = Injector(scene=scene, board=board)
        closing.callback(injector.end)
        commands["faults"] = injector.run
        self._hand_over(stage, server.url)
        observer = Observer(stage, board, self._sources(scene))
        observer.look()
        observer.start()
        closing.callback(observer.close)
        board.update(phase="running", app=stage.url, faults=faults.HELP, lasting=[])
        board.log("good", f"ready after {time.monotonic() - self.began:.0f} s: {RELEASE} serves on blue")
        self.ready = True
        _say(f"\nThe playground is ready: release {RELEASE} is live on blue, {self.rate} requests a second.\n")
        _say(instructions.render(server.url, stage.url))
        while True:
            time.sleep(3600)

    def _furnish(self, stage: Stage, board: Board) -> Scene:
        """Release v1 live on blue, and users."""
        with self._step(board, "bake the machine image"):
            baked = stage.bake()
        with self._step(board, "bring the Pulumi CLI and create the stack"):
            stage.create_stack()
            stage.stack.set_config("bluegreen:bootTimeout", auto.ConfigValue(BOOT_TIMEOUT_S))
        with self._step(board, "provision the stack: pulumi up"):
            stage.up()
            for name, value in stage.parameters().items():
                stage.put_parameter(name, value)
        with self._step(board, f"publish release {RELEASE} and deploy it to blue"):
            stage.script("publish_release", str(SAMPLE), "--version", RELEASE)
            stage.script("deploy", RELEASE, "--ami", baked.ami_id)
        with self._step(board, f"start the users: {self.rate} requests a second"):
            users = Users.arrive(
                stage.ground, stage.url, self.rate, tries=TRIES, seconds=LOAD_SECONDS, keep=LOAD_MINUTES
            )
        return Scene(stage=stage, ami=baked.ami_id, image=baked.image, users=users)

    @contextmanager
    def _step(self, board: Board, text: str) -> Iterator[None]:
        board.update(doing=text)
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        board.log("script", f"{text}: {seconds:.1f} s")
        _say(f"ok {seconds:6.1f} s  {text}")

    def _hand_over(self, stage: Stage, page: str) -> None:
        """Files, Docker's socket and the backend become the caller's; written last is what is to be sourced."""
        _write_broken_release(session.FOLDER / Path(instructions.BROKEN).name)
        environment = {**stage.environment, "BLUEGREEN_STACK": STACK, "BLUEGREEN_BAKE_SECONDS": BAKE_SECONDS}
        path = environment.pop("PATH").removesuffix(self.usual_path).strip(os.pathsep)
        del environment[MARK]  # what a person starts from that shell, such as an editor, is not the run's to kill
        file = session.FOLDER / Path(instructions.ENV_FILE).name
        file.touch(mode=0o600)
        file.write_text(shell.render(environment, path.split(os.pathsep), page))
        self.owner.adopt(session.FOLDER, SETTINGS, _pulumi_folder(stage), *stage.docker.client_files())

    def _sources(self, scene: Scene) -> Sources:
        bucket = str(scene.stage.stack.outputs()["artifactsBucket"].value)
        return Sources(load=scene.users.folder, backend=_pulumi_folder(scene.stage) / "backend", bucket=bucket)


def _pulumi_folder(stage: Stage) -> Path:
    return Path(stage.environment["PULUMI_HOME"]).parent


def _write_broken_release(folder: Path) -> None:
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    dockerfile = folder / "Dockerfile"
    text = dockerfile.read_text()
    dockerfile.write_text(text.replace('DATABASE_HOST=""', f'DATABASE_HOST="{BAD_DATABASE_HOST}"'))


def _only_one() -> Claims:
    """Held until the run's last process lets go of it; of a killed playground that is its janitor."""
    claims, name = Claims(), f"playground-{sha256(str(ROOT).encode()).hexdigest()[:12]}"
    deadline, told = time.monotonic() + TEARDOWN_LIMIT_S, False
    while not claims.only_one(name):
        running = _running()
        if running or time.monotonic() > deadline:
            where = f" at {running.page}, process {running.process.pid}" if running else ""
            _say(f"A playground runs here already{where}: `make playground-stop` ends it.")
            raise typer.Exit(CANNOT_RUN)
        if not told:
            _say("waiting for the end of the last playground, or for the start of another one")
            told = True
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


def _wait_until_gone(process: Identity) -> None:
    if processes.wait_gone([process], seconds=TEARDOWN_LIMIT_S):
        _say(f"The playground, process {process.pid}, has not ended within {TEARDOWN_LIMIT_S:g} s.")
        raise typer.Exit(FAILED)


def _stop_this(_argument: str) -> dict[str, str]:
    os.kill(os.getpid(), signal.SIGTERM)
    return {"did": "ends"}


def _this() -> Identity:
    found = processes.identify(os.getpid())
    if found is None:
        raise GroundError("/proc does not show this process: a playground needs Linux with /proc mounted")
    return found


def _interrupted_by_signals() -> list[signal.Signals]:
    """SIGTERM and a closed terminal's SIGHUP end the playground as Ctrl-C does; not a SIGHUP that nohup has ignored."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    heeded = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, interrupt)
    return [*heeded, signal.SIGINT]


def _end_with_terminal() -> None:
    """The kernel tells a terminal's end to the session's leader only, which may be a `make` that tells nobody."""
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
    """Also to a terminal that is gone: the teardown must go on."""
    with contextlib.suppress(OSError):
        print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    try:
        cli()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()

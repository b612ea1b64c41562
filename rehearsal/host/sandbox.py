"""A rehearsal has a folder, ports and a network of its own, and however it ends, nothing that it started stays behind.

`python -m rehearsal.host.sandbox sweep` removes what dead runs left; `… janitor RUN_DIR` watches a run.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from types import TracebackType

from rehearsal.host import processes
from rehearsal.host.claims import Claims
from rehearsal.host.ledger import Content, Ledger, StartedProcess, TemporaryFolder, command
from rehearsal.host.processes import Identity
from rehearsal.host.teardown import MARK, TEMPORARY, teardown

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "build" / "rehearsal"
# Ended runs whose logs are kept for looking at.
KEPT_RUNS = 5
CLOSING_LIMIT = 180.0
# What serves users, and the users, go before what builds and deploys: on EC2 they have machines of their own.
SERVING = -8

Reason = Callable[[], str | None]


class GroundError(Exception):
    """Something on this machine did not get ready, or could not be had."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A started process, leader of its own session, whose output goes to a log of the run."""

    name: str
    popen: subprocess.Popen[bytes]
    identity: Identity
    log: Path
    grace: float

    @property
    def pid(self) -> int:
        return self.popen.pid

    def ended(self) -> str | None:
        """Why it can't be waited for any longer, or None while it runs."""
        code = self.popen.poll()
        return None if code is None else f"{self.name} ended with exit code {code}"

    def log_tail(self, lines: int = 15) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def stop(self) -> int:
        """End the whole session, gently first; the exit code of its leader."""
        processes.end(processes.session_of(self.identity), grace=self.grace)
        return self.popen.wait(timeout=10)


class Ground:
    """One run's place on this machine. Use it as a context manager: leaving it tears everything down."""

    def __init__(self, *, runs: Path, claims: Claims, network: IPv4Network | None) -> None:
        self.id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        self.folder = runs / f"run-{self.id}"
        self.claims = claims
        self._network = network
        self.folder.mkdir(parents=True)
        # Machines' users (PostgreSQL's) pass through on the way to folders of their own, but can't list.
        self.folder.chmod(0o711)
        self.ledger = Ledger(self.folder)
        self.ledger.create(Content(run=self.id, boot=processes.boot_id(), owner=_myself()))
        self._janitor = self._start_janitor()
        self.ledger.amend(janitor=processes.identify(self._janitor.pid))
        self.sockets = self._socket_folder()

    @classmethod
    def open(cls, *, runs: Path = RUNS, with_network: bool = True, claims: Claims | None = None) -> Ground:
        """Clean up after dead runs, claim a network, and start the janitor. `claims`: what the run holds already."""
        runs.mkdir(parents=True, exist_ok=True)
        sweep(runs)
        claims = claims or Claims()
        return cls(runs=runs, claims=claims, network=claims.network() if with_network else None)

    def __enter__(self) -> Ground:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for problem in self.close():
            print(f"left behind: {problem}", file=sys.stderr)  # noqa: T201

    @property
    def network(self) -> IPv4Network:
        if self._network is None:
            raise GroundError("this ground was opened without a network: open it with with_network=True")
        return self._network

    @property
    def gateway(self) -> str:
        """The host's own address in the run's network: where machines find emulator, registry and database."""
        return str(self.network[1])

    @property
    def environment(self) -> dict[str, str]:
        """For commands run outside `start`: they too are ended with the run."""
        return {**os.environ, MARK: self.id}

    def temporary(self, name: str) -> Path:
        """A folder that is removed with the run; logs and reports belong into `folder` itself, which stays."""
        path = self.folder / TEMPORARY / name
        path.mkdir(parents=True, exist_ok=True)
        (self.folder / TEMPORARY).chmod(0o711)
        return path

    def port(self, address: str = "127.0.0.1") -> int:
        return self.claims.port(address)

    def start(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        *,
        cwd: Path | None = None,
        grace: float = 5.0,
        nice: int = 0,
    ) -> Process:
        """Start a program in a session of its own, recorded before this returns; `env` adds to this process's own."""
        log = log or self.folder / f"{name}.log"
        with log.open("ab") as output:
            try:
                popen = subprocess.Popen(
                    list(argv),
                    env={**self.environment, **(env or {})},
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise GroundError(f"{name} can't be started: {argv[0]}: {error.strerror}") from error
        if nice:
            processes.prefer(popen.pid, nice)
        # A child that ended already has no identity any more, and nothing to tear down but what bears the mark.
        identity = processes.identify(popen.pid) or Identity(pid=popen.pid, started=0)
        if identity.started:
            self.ledger.record(StartedProcess(name=name, leader=identity, grace=grace, log=str(log)))
        return Process(name=name, popen=popen, identity=identity, log=log, grace=grace)

    def add_cleanup(
        self, argv: Sequence[str], name: str, env: Mapping[str, str] | None = None, *, timeout: float = 30.0
    ) -> None:
        """A command that the teardown runs, in reverse order among all that was started or added."""
        self.ledger.record(command(name, argv, env or {}, timeout))

    def wait_ready(self, process: Process, reason: Reason, *, what: str, deadline: float = 30.0) -> float:
        """Wait until `reason` has nothing to object; the seconds it took. An ended process fails at once."""
        return wait_until(reason, what=what, deadline=deadline, process=process)

    def close(self) -> tuple[str, ...]:
        """Tear everything down; what could not be, as sentences."""
        if self._janitor.stdin is not None and not self._janitor.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._janitor.stdin.close()
        try:
            self._janitor.wait(timeout=CLOSING_LIMIT)
        except subprocess.TimeoutExpired:
            return (f"the janitor has not finished within {CLOSING_LIMIT:g} s: see {self.folder / 'janitor.log'}",)
        problems = teardown(self.folder)  # only reads the janitor's result, unless the janitor was killed
        self.claims.release()
        return problems

    def _start_janitor(self) -> subprocess.Popen[bytes]:
        environment = {key: value for key, value in os.environ.items() if key != MARK}
        with (self.folder / "janitor.log").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "rehearsal.host.sandbox", "janitor", str(self.folder.resolve())],
                env=environment,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal reaches the owner only
                # It holds the claims too: the network is free for others when it is really gone.
                pass_fds=tuple(self.claims.handles.values()),
            )

    def _socket_folder(self) -> Path:
        """Unix sockets' paths are limited to 107 bytes, and a copy of this project may lie deep."""
        path = Path(tempfile.mkdtemp(prefix="bg-"))
        path.chmod(0o711)
        self.ledger.record(TemporaryFolder(name="sockets", path=str(path)))
        return path


def _myself() -> Identity:
    me = processes.identify(os.getpid())
    if me is None:
        raise GroundError("/proc does not show this process: a rehearsal needs Linux with /proc mounted")
    return me


def wait_until(reason: Reason, *, what: str, deadline: float, process: Process | None = None) -> float:
    """Ask `reason` until it returns None; the error says what was waited for, the last reason and the log's end."""
    started = time.monotonic()
    pause = 0.01
    while (last := reason()) is not None:
        if process is not None and (ended := process.ended()) is not None:
            raise GroundError(_failure(f"{what}: {ended}", last, process))
        if time.monotonic() - started > deadline:
            raise GroundError(_failure(f"{what}: not ready within {deadline:g} s", last, process))
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)
    return time.monotonic() - started


def _failure(headline: str, last: str, process: Process | None) -> str:
    lines = [f"{headline}: {last}"]
    if process is not None:
        lines.append(f"the end of {process.log}:\n{process.log_tail() or '(empty)'}")
    return "\n".join(lines)


def port_answers(address: str, port: int) -> Reason:
    """Objects until something accepts TCP connections there."""

    def reason() -> str | None:
        try:
            socket.create_connection((address, port), timeout=2).close()
        except OSError as error:
            return f"{address}:{port}: {error.strerror or error}"
        return None

    return reason


def url_answers(url: str, *, status: int = 200) -> Reason:
    """Objects until the URL answers with this status."""

    def reason() -> str | None:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - the run's own servers
                got: int = answer.status
        except urllib.error.HTTPError as error:
            got = error.code
        except OSError as error:
            return f"{url}: {getattr(error, 'reason', error)}"
        return None if got == status else f"{url}: answered {got}, not {status}"

    return reason


def sweep(runs: Path = RUNS) -> tuple[str, ...]:
    """Tear down runs whose owner and janitor are both dead, and drop the folders of long-ended ones."""
    problems: list[str] = []
    ended = []
    for folder in sorted(runs.glob("run-*")):
        try:
            content = Ledger(folder).read()
        except (FileNotFoundError, NotADirectoryError):
            continue  # being made this moment, or not ours
        if content.orphaned:
            problems += teardown(folder)
        elif content.closed:
            ended.append(folder)
    for folder in ended[:-KEPT_RUNS]:
        shutil.rmtree(folder, ignore_errors=True)
    return tuple(problems)


def janitor(folder: Path) -> int:
    """Wait until the owner closes its end of the pipe, or is gone in whatever way; then tear down."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    owner = Ledger(folder).read().owner
    while processes.alive(owner):
        # A forked child of the owner may hold the pipe open longer than the owner lives: look after it as well.
        if select.select([sys.stdin], [], [], 1.0)[0] and not os.read(0, 4096):
            break
    problems = teardown(folder)
    for problem in problems:
        print(f"left behind: {problem}", flush=True)  # noqa: T201
    return 1 if problems else 0


def main(argv: Sequence[str]) -> int:
    match list(argv):
        case ["janitor", folder]:
            return janitor(Path(folder))
        case ["sweep"]:
            problems = sweep()
            print("\n".join(problems) or "nothing left behind")  # noqa: T201
            return 1 if problems else 0
        case _:
            print("usage: python -m rehearsal.host.sandbox (sweep | janitor RUN_DIR)", file=sys.stderr)  # noqa: T201
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

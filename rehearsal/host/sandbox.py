"""Sandbox of a rehearsal run: its own folder, ports and network, torn down however the run ends.

`python -m rehearsal.host.sandbox sweep` removes leftovers of dead runs; `… janitor RUN_DIR` watches a run.
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
from rehearsal.host.ledger import LedgerContent, RunLedger, StartedProcess, TemporaryFolder, command
from rehearsal.host.processes import ProcessIdentity
from rehearsal.host.teardown import MARK, TEMPORARY, teardown

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "build" / "rehearsal"
# Finished runs whose logs are retained.
RETAINED_RUNS = 5
CLOSE_TIMEOUT = 180.0
# Nice value of serving processes and the load generator, ahead of builds: on EC2 they have hosts of their own.
SERVING_NICE = -8

Reason = Callable[[], str | None]


class SandboxError(Exception):
    """A process did not become ready, or a resource of this host is not available."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A started process, leader of its own session, with its output in a log of the run."""

    name: str
    popen: subprocess.Popen[bytes]
    identity: ProcessIdentity
    log: Path
    grace: float

    @property
    def pid(self) -> int:
        return self.popen.pid

    def ended(self) -> str | None:
        """The exit code as a sentence, or None while it runs."""
        code = self.popen.poll()
        return None if code is None else f"{self.name} exited with code {code}"

    def log_tail(self, lines: int = 15) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def stop(self) -> int:
        """Terminate the entire session, SIGTERM first; the exit code of its leader."""
        processes.end(processes.session_of(self.identity), grace=self.grace)
        return self.popen.wait(timeout=10)


class Sandbox:
    """Resources of one run on this host, as a context manager: exiting it tears everything down."""

    def __init__(self, *, runs: Path, claims: Claims, network: IPv4Network | None) -> None:
        self.id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        self.folder = runs / f"run-{self.id}"
        self.claims = claims
        self._network = network
        self.folder.mkdir(parents=True)
        # Other system users (PostgreSQL's) traverse it to reach their own folders, but can't list it.
        self.folder.chmod(0o711)
        self.ledger = RunLedger(self.folder)
        self.ledger.create(LedgerContent(run=self.id, boot=processes.boot_id(), owner=_own_identity()))
        self._janitor = self._start_janitor()
        self.ledger.amend(janitor=processes.identify(self._janitor.pid))
        self.sockets = self._socket_folder()

    @classmethod
    def open(cls, *, runs: Path = RUNS, with_network: bool = True, claims: Claims | None = None) -> Sandbox:
        """Clean up after dead runs, claim a network, and start the janitor. `claims`: existing claims of the run."""
        runs.mkdir(parents=True, exist_ok=True)
        sweep(runs)
        claims = claims or Claims()
        return cls(runs=runs, claims=claims, network=claims.network() if with_network else None)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for problem in self.close():
            print(f"left behind: {problem}", file=sys.stderr)  # noqa: T201

    @property
    def network(self) -> IPv4Network:
        if self._network is None:
            raise SandboxError("this sandbox has no network: open it with with_network=True")
        return self._network

    @property
    def gateway(self) -> str:
        """The host's address in the run's network, where instances reach emulator, registry and database."""
        return str(self.network[1])

    @property
    def environment(self) -> dict[str, str]:
        """Environment for commands that `start` does not run, so that they are ended with the run too."""
        return {**os.environ, MARK: self.id}

    def temporary(self, name: str) -> Path:
        """A folder that is removed with the run; logs and reports belong in `folder` itself, which is retained."""
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
        """Start a program in its own session; `env` extends this process's environment. Raises SandboxError."""
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
                raise SandboxError(f"{name} can't be started: {argv[0]}: {error.strerror}") from error
        if nice:
            processes.set_priority(popen.pid, nice)
        # A child that exited already has no identity; its descendants are found by the environment variable.
        identity = processes.identify(popen.pid) or ProcessIdentity(pid=popen.pid, started=0)
        if identity.started:
            self.ledger.record(StartedProcess(name=name, leader=identity, grace=grace, log=str(log)))
        return Process(name=name, popen=popen, identity=identity, log=log, grace=grace)

    def add_cleanup(
        self, argv: Sequence[str], name: str, env: Mapping[str, str] | None = None, *, timeout: float = 30.0
    ) -> None:
        """Add a command to the teardown, which undoes processes and commands in reverse order."""
        self.ledger.record(command(name, argv, env or {}, timeout))

    def wait_ready(self, process: Process, reason: Reason, *, what: str, deadline: float = 30.0) -> float:
        """Wait until `reason` returns None; the seconds it took. Raises SandboxError, also when the process exits."""
        return wait_until(reason, what=what, deadline=deadline, process=process)

    def close(self) -> tuple[str, ...]:
        """Tear everything down; what failed, as sentences."""
        if self._janitor.stdin is not None and not self._janitor.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._janitor.stdin.close()
        try:
            self._janitor.wait(timeout=CLOSE_TIMEOUT)
        except subprocess.TimeoutExpired:
            return (f"the janitor has not finished within {CLOSE_TIMEOUT:g} s: see {self.folder / 'janitor.log'}",)
        problems = teardown(self.folder)  # the janitor's result, or a teardown when the janitor was killed
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
                # It inherits the claims: the network becomes free only after the teardown.
                pass_fds=tuple(self.claims.handles.values()),
            )

    def _socket_folder(self) -> Path:
        """A folder with a short path: Unix socket paths are limited to 107 bytes."""
        path = Path(tempfile.mkdtemp(prefix="bg-"))
        path.chmod(0o711)
        self.ledger.record(TemporaryFolder(name="sockets", path=str(path)))
        return path


def _own_identity() -> ProcessIdentity:
    me = processes.identify(os.getpid())
    if me is None:
        raise SandboxError("/proc does not show this process: a rehearsal needs Linux with /proc mounted")
    return me


def wait_until(reason: Reason, *, what: str, deadline: float, process: Process | None = None) -> float:
    """Poll `reason` until it returns None; the seconds it took.

    SandboxError names what was waited for, the last reason and the end of the process's log.
    """
    started = time.monotonic()
    pause = 0.01
    while (last := reason()) is not None:
        if process is not None and (ended := process.ended()) is not None:
            raise SandboxError(_failure(f"{what}: {ended}", last, process))
        if time.monotonic() - started > deadline:
            raise SandboxError(_failure(f"{what}: not ready within {deadline:g} s", last, process))
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)
    return time.monotonic() - started


def _failure(headline: str, last: str, process: Process | None) -> str:
    lines = [f"{headline}: {last}"]
    if process is not None:
        lines.append(f"the end of {process.log}:\n{process.log_tail() or '(empty)'}")
    return "\n".join(lines)


def port_answers(address: str, port: int) -> Reason:
    """Readiness check: something accepts TCP connections there."""

    def reason() -> str | None:
        try:
            socket.create_connection((address, port), timeout=2).close()
        except OSError as error:
            return f"{address}:{port}: {error.strerror or error}"
        return None

    return reason


def url_answers(url: str, *, status: int = 200) -> Reason:
    """Readiness check: the URL answers with this status."""

    def reason() -> str | None:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - the run's own servers
                actual: int = answer.status
        except urllib.error.HTTPError as error:
            actual = error.code
        except OSError as error:
            return f"{url}: {getattr(error, 'reason', error)}"
        return None if actual == status else f"{url}: answered {actual}, not {status}"

    return reason


def sweep(runs: Path = RUNS) -> tuple[str, ...]:
    """Tear down runs without a living owner or janitor, and remove old finished runs; failures as sentences."""
    problems: list[str] = []
    finished = []
    for folder in sorted(runs.glob("run-*")):
        try:
            content = RunLedger(folder).read()
        except (FileNotFoundError, NotADirectoryError):
            continue  # being created, or not a run
        if content.orphaned:
            problems += teardown(folder)
        elif content.closed:
            finished.append(folder)
    for folder in finished[:-RETAINED_RUNS]:
        shutil.rmtree(folder, ignore_errors=True)
    return tuple(problems)


def janitor(folder: Path) -> int:
    """Wait until the owner closes the pipe or exits, then tear down. Exit code 1: something was left behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    owner = RunLedger(folder).read().owner
    while processes.alive(owner):
        # A forked child of the owner may keep the pipe open: poll the owner as well.
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

"""Ledger of a run, ledger.json: everything the run started on this host, as input of the teardown."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rehearsal.host import processes
from rehearsal.host.processes import ProcessIdentity

FILE = "ledger.json"


@dataclass(frozen=True, kw_only=True)
class StartedProcess:
    """A session leader; `grace`: seconds between SIGTERM and SIGKILL."""

    name: str
    leader: ProcessIdentity
    grace: float
    log: str


@dataclass(frozen=True, kw_only=True)
class CleanupCommand:
    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    timeout: float


@dataclass(frozen=True, kw_only=True)
class TemporaryFolder:
    """A folder outside the run's own that is removed with the run."""

    name: str
    path: str


@dataclass(frozen=True, kw_only=True)
class TemporaryFile:
    """A file outside the run's folder that is removed with the run."""

    name: str
    path: str


Entry = StartedProcess | CleanupCommand | TemporaryFolder | TemporaryFile
KINDS: dict[str, type[StartedProcess] | type[CleanupCommand] | type[TemporaryFolder] | type[TemporaryFile]] = {
    "process": StartedProcess,
    "command": CleanupCommand,
    "folder": TemporaryFolder,
    "file": TemporaryFile,
}


@dataclass(frozen=True, kw_only=True)
class LedgerContent:
    run: str
    boot: str
    owner: ProcessIdentity
    janitor: ProcessIdentity | None = None
    closed: bool = False
    problems: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = field(default=())

    @property
    def orphaned(self) -> bool:
        """Whether neither owner nor janitor is alive to tear this run down."""
        if self.closed:
            return False
        if self.boot != processes.boot_id():
            return True
        return not any(processes.alive(process) for process in (self.owner, self.janitor) if process is not None)


class RunLedger:
    """Read and write the ledger; safe for concurrent processes: changes are locked and atomic."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE

    def create(self, content: LedgerContent) -> None:
        with self._locked():
            self._write(content)

    def read(self) -> LedgerContent:
        return _parse(json.loads(self.path.read_text()))

    def record(self, entry: Entry) -> None:
        with self._locked():
            content = self.read()
            if content.closed:
                raise RuntimeError(f"the run in {self.folder} is closed: {entry.name} can't be added to it")
            self._write(replace(content, entries=(*content.entries, entry)))

    def amend(self, **changes: Any) -> None:
        with self._locked():
            self._write(replace(self.read(), **changes))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "ledger.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self, content: LedgerContent) -> None:
        fresh = self.path.with_suffix(".new")
        # Cleanup commands include their environment: readable by the owner only.
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
            json.dump(_render(content), handle, indent=1)
        fresh.replace(self.path)


def _render(content: LedgerContent) -> dict[str, Any]:
    names = {cls: kind for kind, cls in KINDS.items()}
    entries = [{"kind": names[type(entry)], **asdict(entry)} for entry in content.entries]
    return {**asdict(content), "entries": entries}


def _parse(raw: dict[str, Any]) -> LedgerContent:
    janitor = raw["janitor"]
    return LedgerContent(
        run=raw["run"],
        boot=raw["boot"],
        owner=ProcessIdentity(**raw["owner"]),
        janitor=ProcessIdentity(**janitor) if janitor else None,
        closed=raw["closed"],
        problems=tuple(raw["problems"]),
        entries=tuple(_parse_entry(entry) for entry in raw["entries"]),
    )


def _parse_entry(raw: dict[str, Any]) -> Entry:
    values = {key: value for key, value in raw.items() if key != "kind"}
    if "leader" in values:
        values["leader"] = ProcessIdentity(**values["leader"])
    if "argv" in values:
        values["argv"] = tuple(values["argv"])
    return KINDS[raw["kind"]](**values)


def command(name: str, argv: Sequence[str], env: Mapping[str, str], timeout: float) -> CleanupCommand:
    return CleanupCommand(name=name, argv=tuple(argv), env=dict(env), timeout=timeout)

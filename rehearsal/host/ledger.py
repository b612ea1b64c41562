"""A run's folder holds ledger.json: everything the run started on this machine, and so all that may be torn down."""

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
from rehearsal.host.processes import Identity

FILE = "ledger.json"


@dataclass(frozen=True, kw_only=True)
class StartedProcess:
    """The leader of a session of its own; `grace` seconds lie between TERM and KILL."""

    name: str
    leader: Identity
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
    """A folder outside the run's own that goes with the run."""

    name: str
    path: str


@dataclass(frozen=True, kw_only=True)
class TemporaryFile:
    """A file outside the run's own folder that goes with the run."""

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
class Content:
    run: str
    boot: str
    owner: Identity
    janitor: Identity | None = None
    closed: bool = False
    problems: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = field(default=())

    @property
    def orphaned(self) -> bool:
        """Nobody is left to tear this run down: neither its owner nor its janitor lives."""
        if self.closed:
            return False
        if self.boot != processes.boot_id():
            return True
        return not any(processes.alive(one) for one in (self.owner, self.janitor) if one is not None)


class Ledger:
    """Several processes may record: a change is read, made and written under one lock, and replaces the file whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE

    def create(self, content: Content) -> None:
        with self._locked():
            self._write(content)

    def read(self) -> Content:
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

    def _write(self, content: Content) -> None:
        fresh = self.path.with_suffix(".new")
        # Cleanup commands carry their environment: nobody else needs to read it.
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
            json.dump(_render(content), handle, indent=1)
        fresh.replace(self.path)


def _render(content: Content) -> dict[str, Any]:
    names = {cls: kind for kind, cls in KINDS.items()}
    entries = [{"kind": names[type(entry)], **asdict(entry)} for entry in content.entries]
    return {**asdict(content), "entries": entries}


def _parse(raw: dict[str, Any]) -> Content:
    janitor = raw["janitor"]
    return Content(
        run=raw["run"],
        boot=raw["boot"],
        owner=Identity(**raw["owner"]),
        janitor=Identity(**janitor) if janitor else None,
        closed=raw["closed"],
        problems=tuple(raw["problems"]),
        entries=tuple(_parse_entry(entry) for entry in raw["entries"]),
    )


def _parse_entry(raw: dict[str, Any]) -> Entry:
    values = {key: value for key, value in raw.items() if key != "kind"}
    if "leader" in values:
        values["leader"] = Identity(**values["leader"])
    if "argv" in values:
        values["argv"] = tuple(values["argv"])
    return KINDS[raw["kind"]](**values)


def command(name: str, argv: Sequence[str], env: Mapping[str, str], timeout: float) -> CleanupCommand:
    return CleanupCommand(name=name, argv=tuple(argv), env=dict(env), timeout=timeout)

"""A stack's lock: one update at a time; the file names its holder, and the kernel frees it when the holder dies.

On a folder that several hosts share, the kernel knows the processes of its own host only: a lock that another host's
process left is never taken over by itself, for that process may still run.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType


@dataclass(frozen=True, kw_only=True)
class Holder:
    pid: int
    who: str
    since: str
    doing: str

    def __str__(self) -> str:
        return f"{self.who} (pid {self.pid}), {self.doing} since {self.since}"

    @property
    def host(self) -> str:
        return self.who.rpartition("@")[2]

    @classmethod
    def me(cls, doing: str) -> Holder:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return cls(pid=os.getpid(), who=f"{_user()}@{socket.gethostname()}", since=now, doing=doing)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without an entry, as in many containers
        return str(os.getuid())


class LockedError(Exception):
    """Another update holds the stack."""


class Lock:
    """Use as a context manager. `took_over` names a holder that died without releasing."""

    def __init__(self, path: Path, doing: str) -> None:
        self.path = path
        self.holder = Holder.me(doing)
        self.took_over: Holder | None = None
        self._handle = -1

    def __enter__(self) -> Lock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                raise LockedError(f"the stack is currently locked by {read(self.path) or 'another update'}") from None
            if self._is_the_file(handle):
                break
            os.close(handle)  # released and removed between our open and our lock: there is a new file by now
        self.took_over = read(self.path)
        if self.took_over and self.took_over.host != self.holder.host:
            os.close(handle)
            raise LockedError(
                f"the stack is currently locked by {self.took_over}, and {self.holder.host} can't see whether that "
                f"process still runs on {self.took_over.host}"
            )
        self._handle = handle
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(asdict(self.holder)).encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_the_file(self._handle):
            self.path.unlink(missing_ok=True)
        os.close(self._handle)

    def _is_the_file(self, handle: int) -> bool:
        try:
            return os.fstat(handle).st_ino == self.path.stat().st_ino
        except FileNotFoundError:
            return False


def read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None

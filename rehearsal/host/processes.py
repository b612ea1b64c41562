"""Processes are named so that a reused pid is never taken for the one once started, and are ended as whole sessions."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
# Fields of /proc/PID/stat counted after the command name, which may itself hold spaces and brackets.
STATE, PARENT, SESSION, START = 0, 1, 3, 19


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A pid with the kernel's start time in clock ticks after boot: together they never come twice in one boot."""

    pid: int
    started: int


def boot_id() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str] | None:
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    # A zombie has ended; only its parent has not asked yet.
    return None if fields[STATE] in "ZX" else fields


def identify(pid: int) -> Identity | None:
    fields = _stat(pid)
    return None if fields is None else Identity(pid=pid, started=int(fields[START]))


def alive(identity: Identity) -> bool:
    return identify(identity.pid) == identity


def prefer(pid: int, nice: int) -> None:
    """Gives a session's processes more of a busy machine. Where the kernel groups sessions, the group needs it too."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
        group = PROC / str(pid) / "autogroup"
        if group.exists():
            group.write_text(str(nice))


def everyone() -> Iterator[tuple[int, list[str]]]:
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            yield int(entry.name), fields


def session_of(leader: Identity) -> list[Identity]:
    """Everything in the leader's session, also after the leader has gone: the kernel reserves its number until then."""
    now = identify(leader.pid)
    if now is not None and now != leader:
        return []
    return [
        Identity(pid=pid, started=int(fields[START]))
        for pid, fields in everyone()
        if int(fields[SESSION]) == leader.pid and int(fields[START]) >= leader.started
    ]


def marked(variable: str, value: str) -> list[Identity]:
    """Everything that inherited this environment variable, and what descends from it without (containers do)."""
    wanted = f"{variable}={value}".encode()
    snapshot = dict(everyone())
    found = {pid for pid in snapshot if wanted in _environment(pid)}
    while grown := {pid for pid, fields in snapshot.items() if int(fields[PARENT]) in found} - found:
        found |= grown
    return [Identity(pid=pid, started=int(snapshot[pid][START])) for pid in sorted(found)]


def _environment(pid: int) -> list[bytes]:
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def send(identity: Identity, number: signal.Signals) -> None:
    """Signal through a pidfd: between the check and the signal the pid can't become somebody else's."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(identity.pid)
        try:
            if identify(identity.pid) == identity:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def wait_gone(identities: Iterable[Identity], *, seconds: float) -> list[Identity]:
    """Who is still there after so many seconds; returns as soon as nobody is."""
    deadline = time.monotonic() + seconds
    left = [one for one in identities if alive(one)]
    while left and (remaining := deadline - time.monotonic()) > 0:
        _wait_exit(left[0], seconds=min(remaining, 0.2))
        left = [one for one in left if alive(one)]
    return left


def _wait_exit(identity: Identity, *, seconds: float) -> None:
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        select.select([handle], [], [], seconds)
    finally:
        os.close(handle)


def end(identities: Iterable[Identity], *, grace: float) -> list[Identity]:
    """TERM, then KILL for those that need more than the grace; returns those that even KILL did not end in 5 s."""
    targets = list(identities)
    for one in targets:
        send(one, signal.SIGTERM)
    stubborn = wait_gone(targets, seconds=grace)
    for one in stubborn:
        send(one, signal.SIGKILL)
    return wait_gone(stubborn, seconds=5)

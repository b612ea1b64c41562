"""Process identity that survives pid reuse, and termination of entire sessions."""

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
class ProcessIdentity:
    """A pid and its start time in clock ticks since boot: unique within one boot."""

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
    # A zombie has exited; its parent has not waited for it yet.
    return None if fields[STATE] in "ZX" else fields


def identify(pid: int) -> ProcessIdentity | None:
    fields = _stat(pid)
    return None if fields is None else ProcessIdentity(pid=pid, started=int(fields[START]))


def alive(identity: ProcessIdentity) -> bool:
    return identify(identity.pid) == identity


def set_priority(pid: int, nice: int) -> None:
    """Set the nice value of a session leader, and of its autogroup where the kernel schedules by session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
        group = PROC / str(pid) / "autogroup"
        if group.exists():
            group.write_text(str(nice))


def all_processes() -> Iterator[tuple[int, list[str]]]:
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            yield int(entry.name), fields


def session_of(leader: ProcessIdentity) -> list[ProcessIdentity]:
    """All processes of the leader's session, also after its exit: the kernel does not reuse its pid until then."""
    now = identify(leader.pid)
    if now is not None and now != leader:
        return []
    return [
        ProcessIdentity(pid=pid, started=int(fields[START]))
        for pid, fields in all_processes()
        if int(fields[SESSION]) == leader.pid and int(fields[START]) >= leader.started
    ]


def marked(variable: str, value: str) -> list[ProcessIdentity]:
    """All processes with this environment variable, and their descendants without it (containers)."""
    variable_value = f"{variable}={value}".encode()
    snapshot = dict(all_processes())
    pids = {pid for pid in snapshot if variable_value in _environment(pid)}
    while grown := {pid for pid, fields in snapshot.items() if int(fields[PARENT]) in pids} - pids:
        pids |= grown
    return [ProcessIdentity(pid=pid, started=int(snapshot[pid][START])) for pid in sorted(pids)]


def _environment(pid: int) -> list[bytes]:
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def send(identity: ProcessIdentity, number: signal.Signals) -> None:
    """Send a signal through a pidfd, so that a reused pid is never signalled."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(identity.pid)
        try:
            if identify(identity.pid) == identity:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def wait_gone(identities: Iterable[ProcessIdentity], *, seconds: float) -> list[ProcessIdentity]:
    """The processes that are still running after `seconds`; returns early when all have exited."""
    deadline = time.monotonic() + seconds
    left = [process for process in identities if alive(process)]
    while left and (remaining := deadline - time.monotonic()) > 0:
        _wait_exit(left[0], seconds=min(remaining, 0.2))
        left = [process for process in left if alive(process)]
    return left


def _wait_exit(identity: ProcessIdentity, *, seconds: float) -> None:
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        select.select([handle], [], [], seconds)
    finally:
        os.close(handle)


def end(identities: Iterable[ProcessIdentity], *, grace: float) -> list[ProcessIdentity]:
    """SIGTERM, then SIGKILL after `grace` seconds; the processes that are still running 5 s after SIGKILL."""
    targets = list(identities)
    for process in targets:
        send(process, signal.SIGTERM)
    remaining = wait_gone(targets, seconds=grace)
    for process in remaining:
        send(process, signal.SIGKILL)
    return wait_gone(remaining, seconds=5)

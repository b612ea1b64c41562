"""Teardown of a run: ends the processes and removes the containers, mounts and folders that its ledger records."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from rehearsal.host import processes
from rehearsal.host.ledger import CleanupCommand, Entry, RunLedger, StartedProcess, TemporaryFile, TemporaryFolder

# Every process of a run inherits this variable with the run's id: it also finds processes that left their session, or
# whose parent was killed before it could record them in the ledger.
MARK = "BLUEGREEN_RUN"
TEMPORARY = "tmp"
ROOT = Path(__file__).resolve().parents[2]


def teardown(folder: Path) -> tuple[str, ...]:
    """Tear the run down; what failed, as sentences. Idempotent, and safe to call concurrently."""
    with (folder / "teardown.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ledger = RunLedger(folder)
        content = ledger.read()
        if content.closed:
            return content.problems
        problems = tuple(_problems(folder, same_boot=content.boot == processes.boot_id()))
        ledger.amend(closed=True, problems=problems)
        return problems


def _problems(folder: Path, *, same_boot: bool) -> Iterator[str]:
    content = RunLedger(folder).read()
    if same_boot:  # after a reboot the pids belong to other processes
        for entry in reversed(content.entries):
            yield from _undo(entry, run=content.run)
        yield from _end_marked(content.run)
    folders = [Path(entry.path) for entry in content.entries if isinstance(entry, TemporaryFolder)]
    for path in (folder, *folders):
        yield from _unmount_below(path)
    for path in (folder / TEMPORARY, *folders):
        yield from _remove(path)
    for entry in content.entries:
        if isinstance(entry, TemporaryFile):
            yield from _remove_file(Path(entry.path))


def _undo(entry: Entry, *, run: str) -> Iterator[str]:
    if isinstance(entry, StartedProcess):
        left = processes.end(processes.session_of(entry.leader), grace=entry.grace)
        yield from (f"{entry.name}: process {process.pid} is still running after SIGKILL" for process in left)
    elif isinstance(entry, CleanupCommand):
        yield from _run(entry, run=run)


def _run(entry: CleanupCommand, *, run: str) -> Iterator[str]:
    try:
        done = subprocess.run(
            entry.argv,
            env={**os.environ, **entry.env, MARK: run},
            cwd=ROOT,  # so that `python -m rehearsal.…` finds this checkout
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=entry.timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield f"{entry.name}: timed out after {entry.timeout:g} s"
    except OSError as error:
        yield f"{entry.name}: {error}"
    else:
        if done.returncode != 0:
            yield f"{entry.name}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-500:]}"


def _end_marked(run: str) -> Iterator[str]:
    # Twice: a process may start another one before it ends.
    for _ in range(2):
        left = processes.end(processes.marked(MARK, run), grace=3)
    yield from (f"process {process.pid} of this run is still running after SIGKILL" for process in left)


def _unmount_below(folder: Path) -> Iterator[str]:
    for point in sorted(_mounts_below(folder.resolve()), key=len, reverse=True):
        done = subprocess.run(["umount", "--lazy", point], capture_output=True, text=True, timeout=20, check=False)
        # A mount may appear in two trees and be gone with the first.
        if done.returncode != 0 and point in _mounts_below(folder.resolve()):
            yield f"mount {point}: {done.stderr.strip()}"


def _mounts_below(folder: Path) -> list[str]:
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    decoded = [point.encode().decode("unicode_escape") if "\\" in point else point for point in points]
    return [point for point in decoded if point.startswith(f"{folder}/")]


def _remove_file(path: Path) -> Iterator[str]:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        yield f"file {path} could not be removed: {error.strerror}"


def _remove(path: Path) -> Iterator[str]:
    errors: list[str] = []
    shutil.rmtree(path, onerror=lambda _call, where, info: errors.append(f"{where}: {info[1]}"))
    if path.exists():
        yield f"folder {path} could not be removed: {errors[0] if errors else 'no reason given'}"

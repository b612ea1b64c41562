"""Subprocesses with a deadline, their output in the journal line by line."""

import logging
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Sequence

from .retrying import Deadline

LOG = logging.getLogger("boot")
QUOTED_LINES = 5
MAX_LINES = 200
LINE_LENGTH = 1 << 14


class CommandError(Exception):
    pass


def run(command: Sequence[str], *, deadline: Deadline, quiet: bool = False) -> str:
    """Returns the last lines that it printed, standard error included. Raises CommandError."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that a timeout kills its children as well
    )
    timer = threading.Timer(deadline.remaining(), _kill_group, [process])
    timer.start()
    try:
        lines = _follow(process, quiet)
        code = process.wait()
    finally:
        timer.cancel()
    if code:
        reason = "timed out" if deadline.passed else f"exited with {code}"
        quoted = " | ".join(deque(lines, QUOTED_LINES))
        raise CommandError(f"{' '.join(command[:2])} {reason}" + (f": {quoted}" if quoted else ""))
    return "\n".join(lines)


def _follow(process: subprocess.Popen[str], quiet: bool) -> deque[str]:
    """The last lines: a build may print more than a small instance has memory, also without a line break."""
    lines = deque[str](maxlen=MAX_LINES)
    if process.stdout:
        for line in iter(lambda: process.stdout.readline(LINE_LENGTH), ""):  # type: ignore[union-attr]
            lines.append(line.rstrip())
            if not quiet and line.strip():
                LOG.info("%s", line.rstrip())
    return lines


def _kill_group(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return

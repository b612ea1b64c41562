"""A tool has run to its end within its time, or the error says which one failed, and its last words."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

SHOWN = 1500  # characters of a failed tool's output: its reason is at the end


class CommandError(Exception):
    """A tool is missing, failed, or took too long."""


def run(argv: Sequence[str], *, limit: float, env: Mapping[str, str] | None = None, log: Path | None = None) -> str:
    """Standard output and error together, also kept in `log`; `env` adds to this process's own."""
    try:
        tool = subprocess.Popen(
            list(argv),
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that all that the tool starts can be ended with it
        )
    except FileNotFoundError as error:
        raise CommandError(f"{argv[0]} is not installed: `apt-get install {Path(argv[0]).name}`") from error
    try:
        output = _kept(tool.communicate(timeout=limit)[0], log)
    except subprocess.TimeoutExpired as error:
        output = _kept(_ended(tool), log)
        raise CommandError(f"{argv[0]} did not end within {limit:g} s: {output.strip()[-SHOWN:]}") from error
    except BaseException:  # Ctrl-C reaches this process alone
        _ended(tool)
        raise
    if tool.returncode:
        raise CommandError(f"{argv[0]} ended with exit code {tool.returncode}: {output.strip()[-SHOWN:]}")
    return output


def _ended(tool: subprocess.Popen[bytes]) -> bytes:
    """What a tool said before it was killed, with all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(tool.pid, signal.SIGKILL)
    said: bytes = tool.communicate()[0]
    return said


def _kept(output: bytes, log: Path | None) -> str:
    text = output.decode(errors="replace")
    if log is not None:
        log.write_text(text)
    return text

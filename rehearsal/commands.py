"""A tool has run to its end within its time, or the error says which one failed, and its last words."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

SHOWN = 1500  # characters of a failed tool's output: its reason is at the end


class CommandError(Exception):
    """A tool is missing, failed, or took too long."""


def run(argv: Sequence[str], *, limit: float, env: Mapping[str, str] | None = None, log: Path | None = None) -> str:
    """Standard output and error together, also kept in `log`; `env` adds to this process's own."""
    try:
        done = subprocess.run(
            list(argv),
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(f"{argv[0]} is not installed: `apt-get install {Path(argv[0]).name}`") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{argv[0]} did not end within {limit:g} s: {_kept(error.output, log)[-SHOWN:]}") from error
    output = _kept(done.stdout, log)
    if done.returncode:
        raise CommandError(f"{argv[0]} ended with exit code {done.returncode}: {output.strip()[-SHOWN:]}")
    return output


def _kept(output: bytes | None, log: Path | None) -> str:
    text = (output or b"").decode(errors="replace")
    if log is not None:
        log.write_text(text)
    return text

"""Command runner with a timeout; the command's processes end with the call, or with this process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rehearsal.cli import supervised


class CliCommandError(Exception):
    """A failed command; the message completes "it …"."""


def run(*argv: str | Path, environment: Mapping[str, str], timeout: float, cwd: Path | None = None) -> str:
    """Return the command's output; raises CliCommandError.

    Output goes to files: a pipe would stay open in the command's background processes.
    """
    command = [sys.executable, "-I", "-S", supervised.__file__, *map(str, argv)]
    with (
        tempfile.TemporaryFile("w+", errors="replace") as output,
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=errors,
            env=environment,
            cwd=cwd,
            start_new_session=True,
        ) as process,
    ):
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise CliCommandError(f"did not end within {timeout:.0f} s") from None
        output.seek(0)
        errors.seek(0)
        if code == supervised.COMMAND_NOT_RUN:
            raise CliCommandError(f"does not run: {errors.read().strip()}")
        if code != 0:
            lines = (errors.read().strip() or output.read().strip() or "no output").splitlines()
            raise CliCommandError(f"ended with exit code {code}: {lines[-1]}")
        return output.read()

"""Run command-line tools with a timeout; a failure is reported with the end of the tool's output."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

TAIL_LENGTH = 1500  # characters of a failed tool's output: the reason is at the end


class ToolError(Exception):
    """A tool is not installed, failed, or timed out."""


def run(argv: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None, log: Path | None = None) -> str:
    """Standard output and error combined, also written to `log`; `env` extends this process's own. Raises ToolError."""
    try:
        tool = subprocess.Popen(
            list(argv),
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its child processes can be killed with it
        )
    except FileNotFoundError as error:
        raise ToolError(f"{argv[0]} is not installed: `apt-get install {Path(argv[0]).name}`") from error
    try:
        output = _logged(tool.communicate(timeout=timeout)[0], log)
    except subprocess.TimeoutExpired as error:
        output = _logged(_killed(tool), log)
        raise ToolError(f"{argv[0]} did not finish within {timeout:g} s: {output.strip()[-TAIL_LENGTH:]}") from error
    except BaseException:  # Ctrl-C reaches this process alone
        _killed(tool)
        raise
    if tool.returncode:
        raise ToolError(f"{argv[0]} exited with code {tool.returncode}: {output.strip()[-TAIL_LENGTH:]}")
    return output


def _killed(tool: subprocess.Popen[bytes]) -> bytes:
    """Kill a tool with its child processes; its output until then."""
    with suppress(ProcessLookupError):
        os.killpg(tool.pid, signal.SIGKILL)
    output: bytes = tool.communicate()[0]
    return output


def _logged(output: bytes, log: Path | None) -> str:
    text = output.decode(errors="replace")
    if log is not None:
        log.write_text(text)
    return text

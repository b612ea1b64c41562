"""The engine's process, split off from one that has made the imports: they cost more than most tests' few resources."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from rehearsal.engine import process

_CONTEXT = multiprocessing.get_context("forkserver")
_ROOT = Path(__file__).resolve().parents[3]


def start() -> None:
    """Start the process that others are split off from; it ends with this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(_ROOT))
        _CONTEXT.set_forkserver_preload([f"{__package__}.warm"])
        forkserver.ensure_running()


class Forked:
    """Stands in for `subprocess.Popen`: a process of its own too, with its own environment, folder and pipes."""

    def __init__(self, arguments: list[str], *, env: Mapping[str, str], **options: Any) -> None:
        assert arguments[1:] == ["-m", "rehearsal.engine.process"], arguments
        theirs, self.stdin = _pipe("w")
        events, self.stdout = _pipe("r")
        noise, self.stderr = _pipe("r")
        self._process = _CONTEXT.Process(target=_play, args=(theirs, events, noise, dict(env), Path.cwd()))
        self._process.start()
        for end in (theirs, events, noise):
            end.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def __enter__(self) -> Forked:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wait()
        for pipe in (self.stdin, self.stdout, self.stderr):
            pipe.close()

    def wait(self) -> int:
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()


def _pipe(mode: str) -> tuple[Connection[Any, Any], Any]:
    """The child's end, which can be handed over, and a file for the other, to be read or written."""
    readable, writable = _CONTEXT.Pipe(duplex=False)
    theirs, ours = (readable, writable) if mode == "w" else (writable, readable)
    with ours:
        return theirs, os.fdopen(os.dup(ours.fileno()), mode)


def _play(
    requests: Connection[Any, Any],
    events: Connection[Any, Any],
    noise: Connection[Any, Any],
    environment: dict[str, str],
    folder: Path,
) -> None:
    for number, end in enumerate((requests, events, noise)):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin = os.fdopen(0)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    code = process.main()
    sys.stdout.flush()
    os._exit(code)

"""The engine's process, played in this one: its imports cost more than its work, which tests repeat many times."""

from __future__ import annotations

import asyncio
import contextvars
import io
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from rehearsal.engine import process
from rehearsal.engine.display import Display
from rehearsal.engine.run import Run


class _Request(io.StringIO):
    """What is written to it is there for the run after its end."""

    text = ""

    def close(self) -> None:
        self.text = self.getvalue()
        super().close()


class Within:
    """Stands in for `subprocess.Popen`: the same request in, the same events out, and no process between."""

    def __init__(self, arguments: list[str], **options: Any) -> None:
        assert arguments[1:] == ["-m", "rehearsal.engine.process"], arguments
        self.stdin = _Request()
        self.stderr = io.StringIO()
        self.pid = os.getpid()
        self._code = 0

    def __enter__(self) -> Within:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @property
    def stdout(self) -> io.StringIO:
        """Asked for when the request is complete."""
        events = io.StringIO()
        if self.stdin.closed:
            self._code = contextvars.copy_context().run(self._play, events)
            events.seek(0)
        return events

    def _play(self, events: io.StringIO) -> int:
        run, place, modules = Run.decode(self.stdin.text), Path.cwd(), list(sys.path)
        display = Display(events, dry_run=run.asked.dry_run, tells_events=run.tells_events)
        try:
            return process._Session(run, display).play()
        finally:
            os.chdir(place)
            sys.path[:] = modules
            _end_loop()

    def wait(self) -> int:
        return self._code

    def kill(self) -> None:
        raise AssertionError("a run within the test's own process can't be killed")


def _end_loop() -> None:
    """A process that ends takes the loop of its run, and that loop's threads, along."""
    loop = asyncio.get_event_loop_policy().get_event_loop()
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    asyncio.set_event_loop(asyncio.new_event_loop())

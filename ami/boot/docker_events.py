"""Event stream of one container, live and from a time in the past on."""

import json
import logging
import queue
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

LOG = logging.getLogger("boot")
NANOSECONDS = 10**9


@dataclass(frozen=True, kw_only=True)
class Event:
    """`at` is Docker's own time, in nanoseconds since 1970."""

    at: int
    action: str
    container: str
    attributes: Mapping[str, str] = field(default_factory=dict)


class StreamEndedError(Exception):
    """The daemon is gone, or the connection to it."""


def parse(line: str, name: str) -> Event | None:
    """None for other lines and other containers: Docker's filter matches any name that begins so."""
    try:
        raw = json.loads(line)
        actor = raw["Actor"]
        attributes = {key: str(value) for key, value in actor["Attributes"].items()}
        event = Event(at=int(raw["timeNano"]), action=raw["Action"], container=actor["ID"], attributes=attributes)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return event if attributes.get("name") == name else None


def moment(at: int) -> str:
    """A time as `--since` takes it."""
    return f"{at // NANOSECONDS}.{at % NANOSECONDS:09d}"


class Stream:
    """A running `docker events`. Docker keeps its last 256 events in memory: earlier ones are not lost."""

    def __init__(self, name: str, since: int) -> None:
        self._name = name
        self._last_line = ""
        self._lines = queue.SimpleQueue[str | None]()
        filters = ("--filter", "type=container", "--filter", f"container={name}")
        command = ["docker", "events", "--since", moment(since), *filters, "--format", "{{json .}}"]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise StreamEndedError(str(error)) from error
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def next(self, seconds: float) -> Event | None:
        """The next event, None when there was none for so many seconds. Raises StreamEndedError after the last one."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            return None
        if line is None:
            raise StreamEndedError(self._last_line or "docker events ended")
        event = parse(line, self._name)
        if event is None:
            self._last_line = line.strip()
        return event

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line)
        self._lines.put(None)

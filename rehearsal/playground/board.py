"""State of the page: latest observation, traffic by second, and a log of events. Thread-safe."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

TRAFFIC_SECONDS = 600
EVENTS, NOTIFICATIONS = 300, 30


@dataclass(frozen=True, kw_only=True)
class BoardEvent:
    """One line of the log; `kind` chooses its mark on the page, `time` is in seconds since the epoch."""

    number: int
    time: float
    kind: str
    text: str


class Board:
    """Updated by the observer and the commands, read by the page's server."""

    def __init__(self, run: str, **fixed: Any) -> None:
        self._lock = threading.Lock()
        self._fixed: dict[str, Any] = {"run": run, "started": time.time(), **fixed}
        self._state: dict[str, Any] = {"phase": "starting", "step": ""}
        self._traffic: deque[Mapping[str, Any]] = deque(maxlen=TRAFFIC_SECONDS)
        self._events: deque[BoardEvent] = deque(maxlen=EVENTS)
        self._notifications: deque[Mapping[str, Any]] = deque(maxlen=NOTIFICATIONS)
        self._numbers = itertools.count(1)
        self._requested = 0.0

    def update(self, **state: Any) -> None:
        with self._lock:
            self._state |= state

    def log(self, kind: str, text: str, at: float | None = None) -> None:
        with self._lock:
            when = time.time() if at is None else at
            self._events.append(BoardEvent(number=next(self._numbers), time=when, kind=kind, text=text))

    def add_traffic(self, rows: Iterable[Mapping[str, Any]]) -> None:
        with self._lock:
            self._traffic.extend(rows)

    def add_notifications(self, rows: Iterable[Mapping[str, Any]]) -> None:
        with self._lock:
            self._notifications.extend(rows)

    def is_watched(self, within: float) -> bool:
        """Whether a page requested the state within the last seconds."""
        return time.monotonic() - self._requested < within

    def as_json(self, *, after: float = 0.0, event: int = 0) -> dict[str, Any]:
        """The state, with traffic after the time `after` and log entries after the number `event`."""
        with self._lock:
            self._requested = time.monotonic()
            return {
                **self._fixed,
                **self._state,
                "now": time.time(),
                "traffic": [row for row in self._traffic if row["time"] > after],
                "events": [asdict(entry) for entry in self._events if entry.number > event],
                "notifications": list(self._notifications),
            }

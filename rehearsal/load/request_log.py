"""Request log of the load generator: requests, failures and retries by time window, and its control file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class Request:
    """Times in seconds since the epoch, durations in milliseconds; `due`: its scheduled time."""

    due: float
    lag_ms: float
    latency_ms: float
    status: int
    release: str
    color: str
    error: str

    @property
    def responded_at(self) -> float:
        return self.due + self.latency_ms / 1000


@dataclass(frozen=True, kw_only=True)
class Window:
    """Counts of a time window; `retried`: requests with more than one attempt."""

    requests: int
    failed: int
    retried: int


@dataclass(frozen=True)
class RequestLog:
    """Requests in order of completion; `retried`: due times of those with more than one attempt."""

    requests: Sequence[Request]
    retried: frozenset[float] = frozenset()

    @classmethod
    def read(cls, folder: Path) -> RequestLog:
        """Read the log, also of a running generator: the last 100 ms may be missing."""
        retried = frozenset(float(line.partition("\t")[0]) for line in _lines(folder / "retried.tsv"))
        return cls([_request(line) for line in _lines(folder / "requests.tsv")], retried)

    def between(self, start: float, end: float) -> Window:
        """Requests that were due in this window."""
        window = [request for request in self.requests if start <= request.due < end]
        return Window(
            requests=len(window),
            failed=sum(bool(request.error) for request in window),
            retried=sum(start <= due < end for due in self.retried),
        )

    def first_streak(self, release: str, *, after: float, length: int = 20) -> float | None:
        """Time of the first of `length` consecutive responses of this release, or None."""
        streak: list[float] = []
        for request in self._responses(after):
            streak = [*streak, request.responded_at] if request.release == release else []
            if len(streak) == length:
                return streak[0]
        return None

    def last_response(self, release: str, *, after: float, before: float = float("inf")) -> float | None:
        """Time of the last response of this release in the window, or None."""
        times = [
            request.responded_at
            for request in self._responses(after)
            if request.release == release and request.responded_at < before
        ]
        return max(times, default=None)

    def _responses(self, after: float) -> Iterator[Request]:
        return (request for request in self.requests if request.responded_at >= after and request.status)


def _request(line: str) -> Request:
    due, lag, latency, status, release, color, error = line.rstrip("\n").split("\t", 6)
    return Request(float(due), float(lag), float(latency), int(status), release, color, error)


def _lines(file: Path) -> Iterator[str]:
    """Complete lines: the last one may be partly written."""
    with file.open() as text:
        yield from (line for line in text if line.endswith("\n"))


def not_ready_reason(folder: Path) -> str | None:
    """Why the generator in this folder does not accept commands yet, or None."""
    return None if (folder / "control").exists() else f"{folder / 'control'} does not exist yet"


def command(folder: Path, text: str) -> None:
    """Send `mark NAME` or `stop`; it takes effect within 100 ms."""
    if "\n" in text:
        raise ValueError(f"load command {text!r}: allowed is one line")
    handle = os.open(folder / "control", os.O_WRONLY | os.O_APPEND)
    with os.fdopen(handle, "w") as control:
        control.write(f"{text}\n")


def last_status(folder: Path) -> dict[str, Any]:
    """The newest line of status.jsonl; empty before the first second is over."""
    try:
        lines = (folder / "status.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return {}
    return cast(dict[str, Any], json.loads(lines[-1])) if lines else {}


def stop(folder: Path, *, deadline: float = 20.0) -> dict[str, Any]:
    """Stop the load; its summary. Raises TimeoutError."""
    command(folder, "stop")
    end = time.monotonic() + deadline
    summary = folder / "summary.json"
    while not summary.exists():
        if time.monotonic() > end:
            raise TimeoutError(f"the load generator in {folder} has not written its summary within {deadline:g} s")
        time.sleep(0.05)
    return cast(dict[str, Any], json.loads(summary.read_text()))

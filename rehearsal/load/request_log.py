"""What the load generator wrote down answers afterwards what its users saw between two moments."""

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
    """Times in seconds since the epoch, durations in milliseconds; `due` is when its user wanted it sent."""

    due: float
    lag_ms: float
    latency_ms: float
    status: int
    release: str
    color: str
    error: str

    @property
    def answered(self) -> float:
        return self.due + self.latency_ms / 1000


@dataclass(frozen=True, kw_only=True)
class Window:
    """`retried`: how many of the requests were sent more than once."""

    requests: int
    failed: int
    retried: int


@dataclass(frozen=True)
class RequestLog:
    """In the order of the answers; `retried`: when those were due that were sent more than once."""

    requests: Sequence[Request]
    retried: frozenset[float] = frozenset()

    @classmethod
    def read(cls, folder: Path) -> RequestLog:
        """Also while the generator runs: what is at most 100 ms old may still be missing."""
        again = frozenset(float(line.partition("\t")[0]) for line in _lines(folder / "retried.tsv"))
        return cls([_request(line) for line in _lines(folder / "requests.tsv")], again)

    def between(self, start: float, end: float) -> Window:
        """Requests that were due in this time."""
        inside = [request for request in self.requests if start <= request.due < end]
        return Window(
            requests=len(inside),
            failed=sum(bool(request.error) for request in inside),
            retried=sum(start <= due < end for due in self.retried),
        )

    def first_streak(self, release: str, *, after: float, length: int = 20) -> float | None:
        """When the first of so many answers in a row from this release came."""
        streak: list[float] = []
        for request in self._answers(after):
            streak = [*streak, request.answered] if request.release == release else []
            if len(streak) == length:
                return streak[0]
        return None

    def last_answer(self, release: str, *, after: float, before: float = float("inf")) -> float | None:
        """When this release answered for the last time in between; None when it did not at all."""
        times = [one.answered for one in self._answers(after) if one.release == release and one.answered < before]
        return max(times, default=None)

    def _answers(self, after: float) -> Iterator[Request]:
        return (request for request in self.requests if request.answered >= after and request.status)


def _request(line: str) -> Request:
    due, lag, latency, status, release, color, error = line.rstrip("\n").split("\t", 6)
    return Request(float(due), float(lag), float(latency), int(status), release, color, error)


def _lines(file: Path) -> Iterator[str]:
    """The whole ones: the last may still be being written."""
    with file.open() as text:
        yield from (line for line in text if line.endswith("\n"))


def objection(folder: Path) -> str | None:
    """Why the generator in this folder does not take commands yet, or None."""
    return None if (folder / "control").exists() else f"{folder / 'control'} is not there yet"


def command(folder: Path, text: str) -> None:
    """`mark NAME` or `stop`, obeyed within 100 ms."""
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
    """End the load and return its summary."""
    command(folder, "stop")
    limit = time.monotonic() + deadline
    summary = folder / "summary.json"
    while not summary.exists():
        if time.monotonic() > limit:
            raise TimeoutError(f"the load generator in {folder} has not written its summary within {deadline:g} s")
        time.sleep(0.05)
    return cast(dict[str, Any], json.loads(summary.read_text()))

"""The record of one rehearsal: its steps, cutovers, boots and load, written to report.json after every step."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(kw_only=True)
class StepRecord:
    """One step of the scenario. `started`: seconds since the start of the rehearsal."""

    name: str
    started: float
    seconds: float = 0.0
    ok: bool = False
    note: str = ""
    running: bool = True


@dataclass(frozen=True, kw_only=True)
class CutoverRecord:
    """One cutover or rollback.

    `seconds`: from the start of the command to the last response of the previous color. `up_seconds`: the update's
    part of the command, gates included.
    """

    source: str
    target: str
    seconds: float
    changed_resources: int
    requests: int
    failed: int
    command_seconds: float
    up_seconds: float
    started: float

    def as_json(self) -> dict[str, Any]:
        values = asdict(self)
        return {"from": values.pop("source"), "to": values.pop("target"), **values}


@dataclass(kw_only=True)
class Journal:
    """Results of a rehearsal. `clock` is monotonic; `epoch` is the start by the wall clock; `extra`: further keys."""

    path: Path
    engine: str
    clock: Callable[[], float] = time.monotonic
    resources: int = 0
    hello_seconds: float | None = None
    steps: list[StepRecord] = field(default_factory=list)
    cutovers: list[CutoverRecord] = field(default_factory=list)
    load: dict[str, Any] = field(default_factory=dict)
    boots: list[dict[str, Any]] = field(default_factory=list)
    gaps: list[dict[str, str]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    finished: bool = False

    def __post_init__(self) -> None:
        self._zero = self.clock()
        self.epoch = time.time()

    def now(self) -> float:
        """Seconds since the rehearsal began."""
        return self.clock() - self._zero

    @contextmanager
    def step(self, name: str) -> Iterator[StepRecord]:
        """Time a step; an exception marks it as failed and propagates. The report is written in either case."""
        step = StepRecord(name=name, started=self.now())
        self.steps.append(step)
        try:
            yield step
            step.ok = True
        finally:
            step.seconds = self.now() - step.started
            step.running = False
            self.write()

    @property
    def ok(self) -> bool:
        """True when the scenario ran to its end, every step passed, and no request failed."""
        passed = all(step.ok for step in self.steps)
        return self.finished and passed and not self.error and self.load.get("failed", 0) == 0

    def as_json(self) -> dict[str, Any]:
        """The content of report.json: the fixed keys, then those of `extra`."""
        steps = [asdict(step) for step in self.steps]
        for step in steps:
            del step["running"]
        return {
            "engine": self.engine,
            "resources": self.resources,
            "hello_seconds": None if self.hello_seconds is None else round(self.hello_seconds, 3),
            "steps": _rounded(steps),
            "cutovers": _rounded([cutover.as_json() for cutover in self.cutovers]),
            "load": self.load,
            "boots": self.boots,
            "gaps": self.gaps,
            "ok": self.ok,
            "error": self.error,
            "seconds": round(self.now(), 3),
            **self.extra,
        }

    def write(self) -> None:
        """Replace report.json atomically."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(self.as_json(), indent=2) + "\n")
        part.replace(self.path)


def _rounded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()} for row in rows]

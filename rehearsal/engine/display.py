"""The lines that a run prints, in the shape of `pulumi up`'s."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import IO, Any

from .values import Props, masked


class Op(StrEnum):
    """What happens to a resource; the values are Pulumi's."""

    SAME = "same"
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    CREATE_REPLACEMENT = "create-replacement"
    DELETE = "delete"
    DELETE_REPLACED = "delete-replaced"
    DISCARD = "discard"
    READ = "read"
    REFRESH = "refresh"


_MARKS = {
    Op.CREATE: "+ ",
    Op.UPDATE: "~ ",
    Op.REPLACE: "+-",
    Op.CREATE_REPLACEMENT: "++",
    Op.DELETE: "- ",
    Op.DELETE_REPLACED: "--",
    Op.DISCARD: "<-",
    Op.READ: "> ",
    Op.REFRESH: "~ ",
    Op.SAME: "  ",
}
_WORDS = {
    Op.CREATE: ("creating", "created"),
    Op.UPDATE: ("updating", "updated"),
    Op.REPLACE: ("replacing", "replaced"),
    Op.CREATE_REPLACEMENT: ("creating replacement", "created replacement"),
    Op.DELETE: ("deleting", "deleted"),
    Op.DELETE_REPLACED: ("deleting original", "deleted original"),
    Op.DISCARD: ("forgetting", "retained in the cloud"),
    Op.READ: ("reading", "read"),
    Op.REFRESH: ("refreshing", "refreshed"),
    Op.SAME: ("checking", "unchanged"),
}


class Display:
    """Writes one JSON event a line: text for people, and the run's result for the parent process."""

    def __init__(self, stream: IO[str], *, dry_run: bool) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._dry_run = dry_run
        self.started = time.monotonic()
        self.counts: Counter[str] = Counter()
        self.diagnostics: list[tuple[str, str]] = []

    def event(self, **values: Any) -> None:
        with self._lock:
            self._stream.write(json.dumps(values) + "\n")
            self._stream.flush()

    def line(self, text: str = "") -> None:
        self.event(line=text)

    def begin(self, op: Op, kind: str, name: str) -> None:
        if not self._dry_run:
            self.line(f" {_MARKS[op]} {kind} {name} {_WORDS[op][0]} (0s)")

    def end(self, op: Op, kind: str, name: str, *, since: float, detail: str = "") -> None:
        self.counts[op] += 1
        note = f" [{detail}]" if detail else ""
        if self._dry_run:
            self.line(f" {_MARKS[op]} {kind} {name} {op.value}{note}")
        elif op is not Op.SAME:
            self.line(f" {_MARKS[op]} {kind} {name} {_WORDS[op][1]} ({time.monotonic() - since:.1f}s){note}")

    def same(self) -> None:
        self.counts[Op.SAME] += 1

    def fail(self, op: Op, kind: str, name: str, *, since: float, message: str) -> None:
        doing = _WORDS[op][0]
        self.line(f" {_MARKS[op]} {kind} {name} **{doing} failed** ({time.monotonic() - since:.1f}s)")
        self.diagnose(f"{kind} ({name})", f"error: {message}")

    def diagnose(self, about: str, message: str) -> None:
        self.diagnostics.append((about, message))

    def changes(self) -> dict[str, int]:
        """Counts as Pulumi's history has them: a replacement is one change."""
        hidden = {Op.CREATE_REPLACEMENT, Op.DELETE_REPLACED}
        return {op: count for op, count in self.counts.items() if op not in hidden}

    def close(self, outputs: Props | None) -> None:
        self._diagnostics()
        if outputs:
            self._outputs(outputs)
        self._summary(self.changes())
        self.line(f"Duration: {time.monotonic() - self.started:.1f}s")

    def _diagnostics(self) -> None:
        if self.diagnostics:
            self.line("Diagnostics:")
        for about, message in self.diagnostics:
            self.line(f"  {about}:")
            for text in message.splitlines():
                self.line(f"    {text}")
            self.line()

    def _outputs(self, outputs: Mapping[str, Any]) -> None:
        self.line("Outputs:")
        width = max(map(len, outputs))
        for key, value in sorted(outputs.items()):
            self.line(f"    {key:<{width}} : {json.dumps(masked(value), default=repr)}")
        self.line()

    def _summary(self, changes: Mapping[str, int]) -> None:
        past = {Op.CREATE: "created", Op.UPDATE: "updated", Op.REPLACE: "replaced", Op.DELETE: "deleted"}
        self.line("Resources:")
        for op, word in past.items():
            if changes.get(op):
                self.line(f"    {_MARKS[op].strip()} {changes[op]} {f'to {op.value}' if self._dry_run else word}")
        if changes.get(Op.SAME):
            self.line(f"    {changes[Op.SAME]} unchanged")
        self.line()


class ProgramLog:
    """The SDK's engine service: the program's log messages become diagnostics."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def Log(self, request: Any) -> None:  # noqa: N802 - the SDK's name
        severity = {0: "debug", 1: "info", 2: "warning", 3: "error"}.get(request.severity, "info")
        if severity == "debug" or not request.message.strip():
            return
        about = request.urn.rpartition("::")[2] or "pulumi:pulumi:Stack"
        self._display.diagnose(about, f"{severity}: {request.message}")

"""The lines that a run prints, in the shape of `pulumi up`'s."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import IO, Any

from .difference import show
from .events import Change, Events, Op
from .state import Resource
from .values import Props, masked

_SHOWN_PATHS = 6


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


_SEVERITIES = ("info", "warning", "error")


def _paths(change: Change) -> str:
    told = dict.fromkeys(show(path) for path in change.shown)
    return f"diff: {','.join(list(told)[:_SHOWN_PATHS])}"


class Display:
    """Writes one JSON event a line: text for people, and the run's result for the parent process."""

    def __init__(self, stream: IO[str], *, dry_run: bool, tells_events: bool = False) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._dry_run = dry_run
        self.events = Events(self._engine_event if tells_events else None, planning=dry_run)
        self.started = time.monotonic()
        self.counts: Counter[str] = Counter()
        self.diagnostics: list[tuple[str, str]] = []

    def event(self, **values: Any) -> None:
        with self._lock:
            self._stream.write(json.dumps(values) + "\n")
            self._stream.flush()

    def _engine_event(self, event: dict[str, Any]) -> None:
        self.event(engine=event)

    def line(self, text: str = "") -> None:
        self.event(line=text)

    def begin(self, change: Change) -> None:
        self.events.begun(change)
        if not self._dry_run:
            self.line(f" {_MARKS[change.op]} {change.label} {_WORDS[change.op][0]} (0s)")

    def end(self, change: Change, *, since: float, detail: str = "") -> None:
        self.counts[change.op] += 1
        self.events.ended(change)
        if change.op is Op.SAME:
            return
        note = f" [{detail or _paths(change)}]" if detail or change.paths else ""
        if self._dry_run:
            self.line(f" {_MARKS[change.op]} {change.label} {change.op.value}{note}")
        else:
            took = time.monotonic() - since
            self.line(f" {_MARKS[change.op]} {change.label} {_WORDS[change.op][1]} ({took:.1f}s){note}")

    def done(self, change: Change, *, detail: str = "") -> None:
        """A step that takes no time: what lives in the state alone, or is only planned."""
        self.events.begun(change)
        self.end(change, since=time.monotonic(), detail=detail)

    def same(self, resource: Resource, old: Resource | None = None) -> None:
        self.counts[Op.SAME] += 1
        change = Change(op=Op.SAME, old=old or resource, new=resource)
        self.events.begun(change)
        self.events.ended(change)

    def refreshed(self, change: Change) -> None:
        """What a refresh found before an update or its preview: told, but no change of the run's own."""
        self.events.ended(Change(op=Op.REFRESH, old=change.old, new=change.new, paths=change.paths))
        if change.op is not Op.SAME:
            what = _paths(change) if change.new else "gone from the cloud"
            self.line(f" {_MARKS[Op.REFRESH]} {change.label} drifted [{what}]")

    def fail(self, change: Change, *, since: float, message: str) -> None:
        self.events.failed(change)
        doing = _WORDS[change.op][0]
        self.line(f" {_MARKS[change.op]} {change.label} **{doing} failed** ({time.monotonic() - since:.1f}s)")
        self.diagnose(f"{change.resource.type} ({change.resource.name})", f"error: {message}", change.resource.urn)

    def diagnose(self, about: str, message: str, urn: str = "") -> None:
        severity = message.partition(":")[0]
        self.events.diagnostic(severity if severity in _SEVERITIES else "info", message, urn)
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
        took = time.monotonic() - self.started
        self.events.summary(self.changes(), took)
        self.line(f"Duration: {took:.1f}s")

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
        self._display.diagnose(about, f"{severity}: {request.message}", request.urn)

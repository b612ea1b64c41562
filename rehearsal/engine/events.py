"""What a run tells programs: the events of Pulumi's event log, in its JSON form."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from . import difference
from .state import Resource
from .values import masked, to_json

Write = Callable[[dict[str, Any]], None]


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


@dataclass(frozen=True, kw_only=True)
class Change:
    """One resource's step: what it was, what it is to be (or is by now), and the paths of the inputs that differ."""

    op: Op
    old: Resource | None = None
    new: Resource | None = None
    paths: tuple[difference.Path, ...] = ()

    @property
    def resource(self) -> Resource:
        found = self.new or self.old
        assert found is not None  # noqa: S101 - a step is about something
        return found

    @property
    def shown(self) -> tuple[difference.Path, ...]:
        """What changed, each thing once: `tagsAll` holds the program's own tags again."""
        told = {path[1:] for path in self.paths if path[0] == "tags"}
        again = [path for path in self.paths if path[0] == "tagsAll" and (path[1:] in told or () in told)]
        return tuple(path for path in self.paths if path not in again)

    @property
    def label(self) -> str:
        return f"{self.resource.type} {self.resource.name}"


class Events:
    """Numbers events and passes them on, from any thread."""

    def __init__(self, write: Write | None, *, planning: bool) -> None:
        """Without `write` nobody listens, and nothing is put together."""
        self._write = write
        self._planning = planning
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def _tell(self, kind: str, content: Mapping[str, Any]) -> None:
        if self._write is None:
            return
        with self._lock:  # the numbers grow in the order of the lines
            self._write({"sequence": next(self._numbers), "timestamp": int(time.time()), kind: dict(content)})

    def begun(self, change: Change) -> None:
        self._steps("resourcePreEvent", change)

    def ended(self, change: Change) -> None:
        self._steps("resOutputsEvent", change)

    def _steps(self, kind: str, change: Change) -> None:
        for each in _parts(change) if self._write else ():
            self._tell(kind, {"metadata": _metadata(each), "planning": self._planning})

    def failed(self, change: Change) -> None:
        if self._write:
            self._tell("resOpFailedEvent", {"metadata": _metadata(change), "status": 1, "steps": 1})

    def diagnostic(self, severity: str, message: str, urn: str) -> None:
        about = {"urn": urn} if urn else {}
        self._tell("diagnosticEvent", {"severity": severity, "message": message, "color": "never", **about})

    def policy(self, *, rule: str, message: str, pack: str, urn: str) -> None:
        self._tell(
            "policyEvent",
            {
                "policyName": rule,
                "policyPackName": pack,
                "policyPackVersion": "",
                "policyPackVersionTag": "",
                "enforcementLevel": "mandatory",
                "message": message,
                "color": "never",
                "resourceUrn": urn,
            },
        )

    def summary(self, changes: Mapping[str, int], seconds: float) -> None:
        content = {"maybeCorrupt": False, "durationSeconds": round(seconds), "resourceChanges": dict(changes)}
        self._tell("summaryEvent", content | {"PolicyPacks": {}})
        self._tell("cancelEvent", {})


def _parts(change: Change) -> list[Change]:
    """A replacement is told as Pulumi tells it: the new one's creation, and the change as a whole."""
    if change.op is not Op.REPLACE:
        return [change]
    created = Change(op=Op.CREATE_REPLACEMENT, old=change.old, new=change.new, paths=change.paths)
    return [created, change]


def _metadata(change: Change) -> dict[str, Any]:
    resource = change.resource
    found: dict[str, Any] = {
        "op": change.op.value,
        "urn": resource.urn,
        "type": resource.type,
        "provider": resource.provider,
        "old": _state(change.old),
        "new": _state(change.new),
        "logical": change.op not in (Op.CREATE_REPLACEMENT, Op.DELETE_REPLACED),
    }
    if change.paths:
        found["diffs"] = list(dict.fromkeys(str(path[0]) for path in change.shown))
        found["detailedDiff"] = {difference.show(path): _kind(change, path) for path in change.shown}
    return found


def _kind(change: Change, path: difference.Path) -> dict[str, Any]:
    old, new = (each.plain_inputs if each else {} for each in (change.old, change.new))
    kind = "add" if not difference.has(old, path) else "update" if difference.has(new, path) else "delete"
    suffix = "-replace" if change.op in (Op.REPLACE, Op.CREATE_REPLACEMENT) else ""
    return {"diffKind": kind + suffix, "inputDiff": True}


def _state(resource: Resource | None) -> dict[str, Any] | None:
    if resource is None:
        return None
    return {
        "type": resource.type,
        "urn": resource.urn,
        "id": resource.id,
        "custom": resource.custom,
        "parent": resource.parent,
        "provider": resource.provider,
        "protect": resource.protect,
        "retainOnDelete": resource.retain,
        "delete": resource.superseded,
        "inputs": to_json(masked(resource.inputs)),
        "outputs": to_json(masked(resource.outputs)),
    }

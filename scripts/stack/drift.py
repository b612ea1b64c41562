"""Drift detection: how a stack's resources differ from program, config and state, without changing any."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from scripts.ci.workflow import summarize
from scripts.cli.display import Display
from scripts.cli.exits import Exit, ScriptError
from scripts.preview import as_json
from scripts.stack.added_rules import GROUP, LISTENER, AddedRule, RecordedResource, find
from scripts.stack.automation import PreviewedStack, read_facts
from scripts.stack.change_report import markdown
from scripts.stack.changes import Changes, read_events

if TYPE_CHECKING:
    from pulumi.automation import EngineEvent
    from pulumi.automation.events import StepEventMetadata

HIDDEN = "[secret]"
# Pulumi's mark on a map that stands for a secret, an asset or the like (pulumi.runtime.rpc).
SIGNATURE = "4dabf18193072939515e22adb298388d"
MAX_SHOWN = 48
_PART = re.compile(r'\["([^"]+)"\]|\[(\d+)\]|([^.\[\]]+)')


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A property by its path: desired is what the last update recorded, actual what AWS has; None for nothing."""

    path: str
    desired: Any
    actual: Any


@dataclass(frozen=True, kw_only=True)
class Drifted:
    """A resource that was changed or deleted outside of Pulumi."""

    type: str
    name: str
    gone: bool = False
    properties: tuple[Difference, ...] = ()


class DriftError(ScriptError):
    """Resources drifted, or the program hasn't been applied; the message names them."""

    code = Exit.DRIFTED


def detect_drift(
    stack: PreviewedStack, on_output: Callable[[str], None] | None = None
) -> tuple[list[Drifted], Changes]:
    """Drifted resources, and what an `up` would change; neither state nor resources are modified.

    Raises pulumi.automation.CommandError when the preview fails.
    """
    events = _refreshed(stack, on_output)
    return read_drift(events), read_events(events)


def _refreshed(stack: PreviewedStack, on_output: Callable[[str], None] | None) -> list[EngineEvent]:
    events: list[EngineEvent] = []
    stack.preview(diff=True, refresh=True, policy_packs=[], on_output=on_output, on_event=events.append)
    return events


def read_drift(events: Iterable[EngineEvent]) -> list[Drifted]:
    """Drifted resources, from the events of a preview with refresh."""
    found = [_drifted(step) for step in _refreshes(events) if step.new is None or step.detailed_diff]
    return sorted(found, key=lambda one: (one.type, one.name))


def read_recorded(events: Iterable[EngineEvent]) -> list[RecordedResource]:
    """Resources of the state that AWS still has, from the events of the same preview."""
    steps = [step for step in _refreshes(events) if step.old and step.new]
    return [RecordedResource(type=step.type, name=_name(step), id=step.old.id) for step in steps if step.old]


def _refreshes(events: Iterable[EngineEvent]) -> list[StepEventMetadata]:
    steps = [event.res_outputs_event.metadata for event in events if event.res_outputs_event]
    return [step for step in steps if step.op.value == "refresh"]


def _name(step: StepEventMetadata) -> str:
    return step.urn.rpartition("::")[2]


def _drifted(step: StepEventMetadata) -> Drifted:
    name = _name(step)
    if step.new is None:
        return Drifted(type=step.type, name=name, gone=True)
    was, now = (each.inputs or {} if each else {} for each in (step.old, step.new))
    paths = sorted(step.detailed_diff or {})
    differences = tuple(Difference(path=path, desired=_at(was, path), actual=_at(now, path)) for path in paths)
    return Drifted(type=step.type, name=name, properties=differences)


def _at(value: Any, path: str) -> Any:
    """The value at one of Pulumi's property paths: a.b, a[0], a["b.c"]."""
    for quoted, index, name in _PART.findall(path):
        if _is_hidden(value):
            return HIDDEN
        if isinstance(value, Mapping):
            value = value.get(quoted or index or name)
        elif isinstance(value, list) and index and int(index) < len(value):
            value = value[int(index)]
        else:
            return None
    return HIDDEN if _is_hidden(value) else value


def _is_hidden(value: Any) -> bool:
    return value == HIDDEN or (isinstance(value, Mapping) and SIGNATURE in value)


def report(stack: PreviewedStack, display: Display) -> None:
    """Show the differences, also in a workflow's summary; raise DriftError when there is one."""
    with display.stage(f"drift: compare {stack.name} with its program and config") as update:
        events = _refreshed(stack, update)
        drifted, found = read_drift(events), read_events(events)
        added = _added(stack, events)
    page = markdown(stack.name, found, None)
    summarize(page)
    document = {
        "stack": stack.name,
        "drift": [asdict(one) for one in drifted],
        "added": [asdict(one) for one in added],
        **as_json(found),
    }
    if not drifted and not added and not found.changes:
        display.result({"ok": True, **document})
        display.say(f"{stack.name} is what its program and config say")
        return
    if drifted:
        rows = [row for one in drifted for row in _rows(one)]
        display.table(f"{stack.name}  changed by hand", ("resource", "type", "property", "desired", "actual"), rows)
    if added:
        rows = [(one.owner, one.type, one.allows, one.id) for one in added]
        title = f"{stack.name}  added by hand, and removed by no update: delete these by hand"
        display.table(title, ("to", "what", "allows", "id"), rows)
    display.say(page)
    named = {f"{one.type} {one.name}": "by hand" for one in drifted}
    named |= {f"{change.type} {change.name}": change.op for change in found.changes}
    named |= {f"{one.type} {one.id} of {one.owner}": f"added by hand: {one.allows}" for one in added}
    listed = ", ".join(f"{what} ({how})" for what, how in named.items())
    raise DriftError(f"{stack.name} is not what its program and config say: {listed}", document)


def _added(stack: PreviewedStack, events: Iterable[EngineEvent]) -> list[AddedRule]:
    recorded = read_recorded(events)
    if not any(one.type in (GROUP, LISTENER) for one in recorded):
        return []
    return find(recorded, read_facts(stack).session)


def _rows(one: Drifted) -> list[tuple[str, ...]]:
    if one.gone:
        return [(one.name, one.type, "", "there", "gone")]
    return [(one.name, one.type, each.path, _shown(each.desired), _shown(each.actual)) for each in one.properties]


def _shown(value: Any) -> str:
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"

"""How a stack differs from what its program and config say, found without a change to either."""

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
from scripts.stack.added_rules import GROUP, LISTENER, AddedRule, Recorded, find
from scripts.stack.automation import PreviewedStack, read_facts
from scripts.stack.change_report import markdown
from scripts.stack.changes import Changes, read_events

if TYPE_CHECKING:
    from pulumi.automation import EngineEvent
    from pulumi.automation.events import StepEventMetadata

HIDDEN = "[secret]"
# Pulumi's mark on a map that stands for a secret, an asset or the like (pulumi.runtime.rpc).
SIGNATURE = "4dabf18193072939515e22adb298388d"
LONGEST_SHOWN = 48
_PART = re.compile(r'\["([^"]+)"\]|\[(\d+)\]|([^.\[\]]+)')


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A property by its path: what was recorded when the stack was last updated, and what the cloud has; None for
    nothing."""

    path: str
    want: Any
    have: Any


@dataclass(frozen=True, kw_only=True)
class Drifted:
    """A resource that was changed past its program, or is gone from the cloud."""

    type: str
    name: str
    gone: bool = False
    properties: tuple[Difference, ...] = ()


class DriftError(ScriptError):
    """Something was changed past the program, or the program hasn't been applied; the message names what."""

    code = Exit.DRIFTED


def look(stack: PreviewedStack, tell: Callable[[str], None] | None = None) -> tuple[list[Drifted], Changes]:
    """What the cloud has otherwise than recorded, and what an `up` would do about it; state and cloud stay as they are.

    Raises pulumi.automation.CommandError when the preview fails.
    """
    events = _refreshed(stack, tell)
    return read_drift(events), read_events(events)


def _refreshed(stack: PreviewedStack, tell: Callable[[str], None] | None) -> list[EngineEvent]:
    events: list[EngineEvent] = []
    stack.preview(diff=True, refresh=True, policy_packs=[], on_output=tell, on_event=events.append)
    return events


def read_drift(events: Iterable[EngineEvent]) -> list[Drifted]:
    """From a preview that refreshes: each resource's refresh tells what it found."""
    found = [_drifted(step) for step in _refreshes(events) if step.new is None or step.detailed_diff]
    return sorted(found, key=lambda one: (one.type, one.name))


def read_recorded(events: Iterable[EngineEvent]) -> list[Recorded]:
    """From the same preview: what the state has, and AWS still has, too."""
    steps = [step for step in _refreshes(events) if step.old and step.new]
    return [Recorded(type=step.type, name=_name(step), id=step.old.id) for step in steps if step.old]


def _refreshes(events: Iterable[EngineEvent]) -> list[StepEventMetadata]:
    ended = [event.res_outputs_event.metadata for event in events if event.res_outputs_event]
    return [step for step in ended if step.op.value == "refresh"]


def _name(step: StepEventMetadata) -> str:
    return step.urn.rpartition("::")[2]


def _drifted(step: StepEventMetadata) -> Drifted:
    name = _name(step)
    if step.new is None:
        return Drifted(type=step.type, name=name, gone=True)
    was, now = (each.inputs or {} if each else {} for each in (step.old, step.new))
    paths = sorted(step.detailed_diff or {})
    told = tuple(Difference(path=path, want=_at(was, path), have=_at(now, path)) for path in paths)
    return Drifted(type=step.type, name=name, properties=told)


def _at(value: Any, path: str) -> Any:
    """What stands at one of Pulumi's property paths: a.b, a[0], a["b.c"]."""
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
    with display.stage(f"drift: compare {stack.name} with its program and config") as tell:
        events = _refreshed(stack, tell)
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
        display.table(f"{stack.name}  changed by hand", ("resource", "type", "property", "want", "have"), rows)
    if added:
        told_of = [(one.owner, one.type, one.allows, one.id) for one in added]
        title = f"{stack.name}  added by hand, and removed by no update: delete these by hand"
        display.table(title, ("to", "what", "allows", "id"), told_of)
    display.say(page)
    named = {f"{one.type} {one.name}": "by hand" for one in drifted}
    named |= {f"{change.type} {change.name}": change.op for change in found.changes}
    named |= {f"{one.type} {one.id} of {one.owner}": f"added by hand: {one.allows}" for one in added}
    told = ", ".join(f"{what} ({how})" for what, how in named.items())
    raise DriftError(f"{stack.name} is not what its program and config say: {told}", document)


def _added(stack: PreviewedStack, events: Iterable[EngineEvent]) -> list[AddedRule]:
    recorded = read_recorded(events)
    if not any(one.type in (GROUP, LISTENER) for one in recorded):
        return []
    return find(recorded, read_facts(stack).session)


def _rows(one: Drifted) -> list[tuple[str, ...]]:
    if one.gone:
        return [(one.name, one.type, "", "there", "gone")]
    return [(one.name, one.type, each.path, _shown(each.want), _shown(each.have)) for each in one.properties]


def _shown(value: Any) -> str:
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"

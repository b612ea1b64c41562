"""How a stack differs from what its program and config say, found without a change to either."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from scripts.change_report import markdown
from scripts.changes import Changes, read_events
from scripts.display import Display
from scripts.exits import ScriptError
from scripts.preview import as_json
from scripts.stacks import PreviewedStack
from scripts.workflow import summarize

if TYPE_CHECKING:
    from pulumi.automation import EngineEvent


class DriftError(ScriptError):
    """Something was changed past the program, or the program hasn't been applied; the message names what."""


def look(stack: PreviewedStack, tell: Callable[[str], None] | None = None) -> Changes:
    """What an `up` would do after it had looked at the cloud anew; state and cloud stay as they are.

    Raises pulumi.automation.CommandError when the preview fails.
    """
    events: list[EngineEvent] = []
    stack.preview(diff=True, refresh=True, policy_packs=[], on_output=tell, on_event=events.append)
    return read_events(events)


def report(stack: PreviewedStack, display: Display) -> None:
    """Show the differences, also in a workflow's summary; raise DriftError when there is one."""
    with display.stage(f"drift: compare {stack.name} with its program and config") as tell:
        found = look(stack, tell)
    page = markdown(stack.name, found, None)
    summarize(page)
    if found.changes:
        display.say(page)
        named = ", ".join(f"{change.type} {change.name} ({change.op})" for change in found.changes)
        raise DriftError(f"{stack.name} is not what its program and config say: {named}")
    display.result({"ok": True, "stack": stack.name, **as_json(found)})
    display.say(f"{stack.name} is what its program and config say")

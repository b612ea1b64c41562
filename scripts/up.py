"""Update of a stack to program and config, unless that would cause an outage or destroy a network or data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ami.boot.messages import Kind
from fleet import deployments
from scripts.cli.display import Display, exit_codes
from scripts.cli.exits import RefusedError, UsageError
from scripts.cli.interrupts import defer_signals, handle_sigterm
from scripts.cli.options import AllowReplaceOption, BreakLockOption, JsonOption, ReportOption, StackOption, app
from scripts.preview import checked_preview
from scripts.rollout.traffic import fleet_if_any, require_no_stale_traffic
from scripts.stack.automation import PreviewedStack, Stack, changed_resources, open_stack, read_facts
from scripts.stack.runs import Run, changing


@dataclass(frozen=True, kw_only=True)
class UpArgs:
    """What to allow, and the file for the preview's report."""

    allow_replace: bool = False
    report: Path | None = None
    break_lock: bool = False


def bring_up(stack: PreviewedStack, args: UpArgs, display: Display) -> dict[str, Any]:
    """Preview, then refuse or apply; returns the command's JSON document."""
    with recorded(stack, args) as run:
        checked_preview(stack, display, allow_replace=args.allow_replace, report=args.report)
        run.state = "run the same command again: it continues from there"
        with display.stage(f"up: bring {stack.name} to its program and config") as update:
            run.changed_resources = changed_resources(defer_signals(lambda: stack.up(on_output=update)))
    return {"ok": True, "kind": run.kind, "changed_resources": run.changed_resources, "stages": display.stages}


@contextmanager
def recorded(stack: Stack, args: UpArgs) -> Iterator[Run]:
    """Under the stack's lock and in its history, once it has the bucket that holds both."""
    try:
        facts = read_facts(stack)
    except UsageError:
        yield Run(kind=Kind.UP)
        return
    if reason := deployments.refusal(facts.stack, facts.last, facts.desired, os.environ):
        raise RefusedError(reason)
    with changing(facts, Kind.UP, break_lock=args.break_lock) as run:
        require_no_stale_traffic(facts, fleet_if_any(facts))
        yield run


cli = app()


@cli.command()
def main(
    stack: StackOption = "",
    report: ReportOption = None,
    allow_replace: AllowReplaceOption = False,
    break_lock: BreakLockOption = False,
    as_json: JsonOption = False,
) -> None:
    """Apply program and config, unless `preview` would refuse it: then exit code 3, and no change.

    Refused likewise where AWS has other traffic weights than the stack's last update left, and config does
    not have them: a direct rollback, or a change by hand.
    """
    handle_sigterm()
    display = Display(as_json=as_json)
    args = UpArgs(allow_replace=allow_replace, report=report, break_lock=break_lock)
    with exit_codes(display):
        opened = open_stack(stack)
        done = bring_up(opened, args, display)
        display.result(done)
        display.say(f"{opened.name}: {done['changed_resources']} resources changed")


if __name__ == "__main__":
    cli()

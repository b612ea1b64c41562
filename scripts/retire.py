"""Retirement of the idle color, or of both: no instances, no launch template; the target groups stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from ami.boot.messages import ChangeRecord, Kind, content
from config.colors import ColorSettings
from fleet.colors import Color
from fleet.command_lines import bluegreen
from fleet.deployments import ALLOW_OFFLINE, ALLOW_RETIRE
from fleet.state import Fleet
from fleet.waiting import tolerate_transient_errors, wait_until
from scripts.cli.display import Display, exit_codes
from scripts.cli.exits import RefusedError, UsageError
from scripts.cli.interrupts import handle_sigterm
from scripts.cli.options import BreakLockOption, JsonOption, StackOption, app, seconds
from scripts.rollout.traffic import allowed, require_agreement
from scripts.stack.automation import Stack, StackFacts, changed_resources, color_values, open_stack, read_facts
from scripts.stack.config_change import apply, require_allowed
from scripts.stack.runs import changing, snapshot

GONE_DEADLINE_S = 900.0


@dataclass(frozen=True, kw_only=True)
class RetireArgs:
    """The color to remove; None means the idle one."""

    color: Color | None = None
    all: bool = False
    """Whether to remove both colors: no release is live afterwards."""
    break_lock: bool = False
    deadline_s: float = GONE_DEADLINE_S


def retire(stack: Stack, args: RetireArgs, display: Display) -> ChangeRecord | None:
    """Remove the release from the color's config, `up`, and wait until its instances have drained and are gone."""
    facts = read_facts(stack)
    with changing(facts, Kind.RETIRE, break_lock=args.break_lock) as run:
        with display.stage("reconcile: read the stack and the fleet"):
            fleet = facts.fleet()
            require_agreement(stack, facts, fleet)
            color = args.color or facts.active.other
            if not args.all and (reason := refusal(facts, fleet, color)):
                raise RefusedError(reason)
            # The idle color first: the program would refuse an interrupted run that left only the live color off.
            colors = [facts.active.other, facts.active] if args.all else [color]
            values = {"canaryPercent": "0"} if args.all and facts.canary_percent else {}
            for each in colors:
                values |= color_values(each, ColorSettings(ami=facts.colors[each].ami))
            require_allowed(facts, values)
            run.source = snapshot(fleet, facts.active if args.all else color)
        name = " and ".join(colors)
        with display.stage(f"clean up: drain {name} and remove the instances") as update:

            def up() -> Any:
                run.state = f"config says {name} is off; run the same command again"
                with allowed(ALLOW_OFFLINE if args.all else ALLOW_RETIRE):
                    return stack.up(on_output=update)

            run.changed_resources = changed_resources(apply(stack, values, up))
        with display.stage(f"wait until {name} is gone"):
            wait_until(
                tolerate_transient_errors(
                    lambda: next(filter(None, (_still_there(facts, each) for each in colors)), None)
                ),
                what=f"the end of {name}",
                deadline_s=args.deadline_s,
            )
    return run.record


def refusal(facts: StackFacts, fleet: Fleet, color: Color) -> str | None:
    """Why the color must stay, or None."""
    if fleet.colors[color].weight and fleet.colors[color.other].weight:
        return (
            f"{color} has {fleet.colors[color].weight} % of the traffic, a canary; end it first: "
            f"{bluegreen('canary', '0', stack=facts.stack)}"
        )
    if color == facts.active or fleet.colors[color].weight:
        return (
            f"{color} has {fleet.colors[color].weight} % of the traffic and is "
            f"{'' if color == facts.active else 'not '}the active color; only a color without traffic can be retired, "
            f"now that is {color.other if not fleet.colors[color.other].weight else 'none'}"
        )
    return None


def _still_there(facts: StackFacts, color: Color) -> str | None:
    side = facts.fleet().colors[color]
    left = [machine.id for group in side.groups for machine in group.instances] + list(side.unknown_targets)
    return f"{color} still has {', '.join(left) or side.release}" if side.groups or left else None


cli = app()


@cli.command()
def main(
    stack: StackOption = "",
    color: Annotated[Color | None, typer.Option(help="The color to retire; default: the idle one.")] = None,
    all_colors: Annotated[
        bool, typer.Option("--all", help="Both colors: every request gets a 503 until the next deploy.")
    ] = False,
    deadline: Annotated[float, seconds(help="Seconds within which the instances must be gone.")] = GONE_DEADLINE_S,
    break_lock: BreakLockOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove the idle color's instances, and with them the immediate rollback.

    They drain first. With --all both colors', at the end of a stack's life.
    """
    handle_sigterm()
    display = Display(as_json=as_json)
    with exit_codes(display):
        if all_colors and color:
            raise UsageError(f"--all and --color {color}: allowed is one of them")
        args = RetireArgs(color=color, all=all_colors, break_lock=break_lock, deadline_s=deadline)
        record = retire(open_stack(stack), args, display)
        if record:
            display.result({"ok": True, **content(record), "stages": display.stages})
            off = "both colors are" if all_colors else f"{record.source.color} is"
            display.say(f"{off} off, release {record.source.release} has no instances any more")


if __name__ == "__main__":
    cli()

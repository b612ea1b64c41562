"""The color without users is off after this ran: no machines, no launch template; its target group stays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from checks.colors import Color
from checks.fleet import Fleet, describe
from checks.waiting import patient, wait_until
from scripts.display import Display, exit_codes
from scripts.exits import RefusedError
from scripts.history import Record
from scripts.interrupts import terminate_like_ctrl_c, to_the_end
from scripts.options import BreakLockOption, JsonOption, StackOption, app, seconds
from scripts.runs import changing, place
from scripts.stacks import Stack, StackFacts, changed_resources, open_stack, read_facts, set_color
from scripts.traffic import refuse_stale_config

GONE_DEADLINE_S = 900.0


@dataclass(frozen=True, kw_only=True)
class RetireArgs:
    """Which color to turn off; none means the one without users."""

    color: Color | None = None
    break_lock: bool = False
    deadline_s: float = GONE_DEADLINE_S


def retire(stack: Stack, args: RetireArgs, display: Display) -> Record | None:
    """Take the release out of the color's config, `up`, and wait until its machines have drained and gone."""
    facts = read_facts(stack)
    with changing(facts, "retire", break_lock=args.break_lock) as run:
        with display.stage("reconcile: read the stack and the fleet"):
            fleet = describe(stack.name, facts.session)
            refuse_stale_config(facts, fleet)
            color = args.color or facts.active.other
            if reason := refusal(facts, fleet, color):
                raise RefusedError(reason)
            run.source = place(fleet, color)
        with display.stage(f"clean up: drain {color} and remove its machines") as tell:
            set_color(stack, color, replace(facts.colors[color], release="", release_url="", sha256=""))
            run.state = f"config says {color} is off; run the same command again, or `pulumi up --stack {stack.name}`"
            run.changed_resources = changed_resources(to_the_end(lambda: stack.up(on_output=tell)))
        with display.stage(f"wait until {color} is gone"):
            wait_until(
                patient(lambda: _still_there(facts, color)), what=f"the end of {color}", deadline_s=args.deadline_s
            )
    return run.record


def refusal(facts: StackFacts, fleet: Fleet, color: Color) -> str | None:
    """Why the color must stay, or None."""
    if color == facts.active or fleet.sides[color].weight:
        return (
            f"{color} has {fleet.sides[color].weight} % of the users and is {'' if color == facts.active else 'not '}"
            f"the active color; only a color without users can be retired, now that is "
            f"{color.other if not fleet.sides[color.other].weight else 'none'}"
        )
    return None


def _still_there(facts: StackFacts, color: Color) -> str | None:
    side = describe(facts.stack, facts.session).sides[color]
    left = [machine.instance for group in side.groups for machine in group.machines] + list(side.strays)
    return f"{color} still has {', '.join(left) or side.release}" if side.groups or left else None


cli = app()


@cli.command()
def main(
    stack: StackOption = "dev",
    color: Annotated[Color | None, typer.Option(help="Default: the color without users.")] = None,
    deadline: Annotated[float, seconds(help="Seconds within which the machines must be gone.")] = GONE_DEADLINE_S,
    break_lock: BreakLockOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn the color without users off: its machines drain and go. The immediate way back goes with them."""
    terminate_like_ctrl_c()
    display = Display(as_json=as_json)
    with exit_codes(display):
        record = retire(open_stack(stack), RetireArgs(color=color, break_lock=break_lock, deadline_s=deadline), display)
        if record:
            display.result({"ok": True, **record.as_json(), "stages": display.stages})
            display.say(f"{record.source.color} is off, release {record.source.release} is gone from the machines")


if __name__ == "__main__":
    cli()

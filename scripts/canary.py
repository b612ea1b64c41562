"""Canary: a percentage of the traffic to the idle color, watched, and ended automatically when its release is bad."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from pulumi.automation.errors import CommandError, ConcurrentUpdateError

from ami.boot.messages import ChangeRecord, Kind, content
from fleet.colors import ALL_TRAFFIC
from fleet.state import Fleet
from scripts.cli.display import Display, exit_codes, update_error
from scripts.cli.exits import RefusedError
from scripts.cli.interrupts import handle_sigterm
from scripts.cli.options import BakeOption, BreakLockOption, JsonOption, ReasonOption, StackOption, app
from scripts.rollout.automatic_rollback import AutomaticRollback, bake
from scripts.rollout.bake import BAKE_S, watched_release
from scripts.rollout.traffic import require_agreement, up, weights
from scripts.stack import config_change
from scripts.stack.automation import Stack, StackFacts, changed_resources, open_stack, read_facts, set_value
from scripts.stack.config_change import apply, require_allowed
from scripts.stack.runs import Run, changing, snapshot


@dataclass(frozen=True, kw_only=True)
class CanaryArgs:
    """The percentage of the traffic, 0 to 99, and the length of the bake."""

    percent: int
    bake_s: float = 0.0
    reason: str = ""
    break_lock: bool = False


def set_weight(stack: Stack, args: CanaryArgs, display: Display) -> ChangeRecord | None:
    """Send this percentage of the traffic to the idle color; the program's gates check it first."""
    facts, percent = read_facts(stack), args.percent
    with changing(facts, Kind.CANARY, break_lock=args.break_lock, reason=args.reason, display=display) as run:
        with display.stage("reconcile: read the stack and the fleet"):
            fleet = facts.fleet()
            if reason := refusal(fleet):
                raise RefusedError(reason)
            require_agreement(stack, facts, fleet)
            require_allowed(facts, {"canaryPercent": str(percent)})
            run.source, run.target = snapshot(fleet, facts.active), snapshot(fleet, facts.active.other)
        with display.stage(f"production traffic shift: {percent} % to {facts.active.other}") as update:
            shift(stack, facts, fleet, percent, run, update)
        if percent and args.bake_s:
            with display.stage(f"bake: watch {facts.active.other} for {args.bake_s:g} s"):
                run.state = f"{facts.active.other} keeps its {percent} %, and config says so"
                release = watched_release(facts, fleet, facts.active.other, is_canary=True)
                bake(automatic_rollback(stack, facts), release, args.bake_s, run, display)
    return run.record


def refusal(fleet: Fleet) -> str | None:
    """Why this stack's traffic can't be split, or None."""
    if fleet.serving is None:
        return "no release is live yet, so there is nothing to split; deploy a first release"
    return None


def shift(
    stack: Stack, facts: StackFacts, fleet: Fleet, percent: int, run: Run, on_output: Callable[[str], None]
) -> None:
    """Set canaryPercent and `up`; when that is refused, the config is restored."""
    restore = config_change.save(stack)

    def change() -> Any:
        run.state = f"config says {percent} %; run the same command again"
        return up(stack, facts, fleet, weights(facts.active, percent), on_output)

    try:
        run.changed_resources = changed_resources(apply(stack, {"canaryPercent": str(percent)}, change))
    except (CommandError, RefusedError) as error:
        if isinstance(error, ConcurrentUpdateError):
            raise
        actual = facts.fleet().colors[facts.active.other].weight
        if actual == percent != facts.canary_percent:
            raise
        restore()
        raise RefusedError(
            f"{facts.active.other} keeps its {facts.canary_percent} %: {update_error(str(error))}"
        ) from error


def automatic_rollback(stack: Stack, facts: StackFacts) -> AutomaticRollback:
    color = facts.active.other
    return AutomaticRollback(
        stack=stack,
        color=color,
        set_config=lambda: set_value(stack, "canaryPercent", "0"),
        restore_capacity=lambda: None,  # the other color serves the rest already
        is_rolled_back=lambda: facts.fleet().colors[color].weight == 0,
        action="ending the canary",
        result=f"the canary on {color} is ended",
        manual_step=f"config says 0 % already, `pulumi up --stack {stack.name}` ends it",
    )


cli = app()


@cli.command()
def main(
    percent: Annotated[
        int,
        typer.Argument(
            min=0, max=ALL_TRAFFIC - 1, help="Percentage of the traffic; 0 ends the canary. All of it: `cutover`."
        ),
    ],
    stack: StackOption = "",
    bake_seconds: BakeOption = BAKE_S,
    reason: ReasonOption = "",
    break_lock: BreakLockOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send PERCENT of the traffic to the idle color, to see its release at work before the cutover.

    The color is checked first, as for a cutover, and watched afterwards: when its release is bad, the canary is ended
    automatically. A cutover ends it too, and so does 0. Ctrl-C while it watches leaves the traffic as it is.
    """
    handle_sigterm()
    display = Display(as_json=as_json)
    with exit_codes(display):
        args = CanaryArgs(percent=percent, bake_s=bake_seconds, reason=reason, break_lock=break_lock)
        record = set_weight(open_stack(stack), args, display)
        if record:
            display.result({"ok": True, "percent": percent, **content(record), "stages": display.stages})
            display.say(
                f"{record.target} has {percent} % of the traffic, {record.source} the rest; {record.seconds:.1f} s"
            )


if __name__ == "__main__":
    cli()

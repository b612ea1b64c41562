"""Rollback: all traffic back to the color that holds the previous release, by Pulumi or by the AWS API alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ami.boot.messages import Kind
from fleet.colors import Color
from fleet.command_lines import bluegreen
from scripts.cli.display import Display, exit_codes
from scripts.cli.exits import UsageError
from scripts.cli.interrupts import handle_sigterm
from scripts.cli.options import (
    SMOKE_DEADLINE_S,
    AcceptBreakingOption,
    BreakLockOption,
    JsonOption,
    ReasonOption,
    SmokeDeadlineOption,
    StackOption,
    app,
)
from scripts.cutover import CutoverArgs, run_cli
from scripts.rollout import direct_rollback
from scripts.rollout.direct_rollback import DirectArgs, DirectResult
from scripts.rollout.traffic import format_weights
from scripts.stack.automation import selected_stack_on_disk

cli = app()


@cli.command()
def main(
    stack: StackOption = "",
    direct: Annotated[
        bool,
        typer.Option(
            "--direct", help="Set the live rule's weights by the AWS API, without Pulumi's CLI, its lock or its state."
        ),
    ] = False,
    without_checks: Annotated[
        bool,
        typer.Option(
            "--without-checks", help="With --direct: shift the traffic although the checks of the color fail."
        ),
    ] = False,
    to: Annotated[
        Color | None,
        typer.Option("--to", help="With --direct: the color that gets all traffic, instead of the idle one."),
    ] = None,
    region: Annotated[
        str,
        typer.Option("--region", help="With --direct: the stack's region, instead of aws:region of its config file."),
    ] = "",
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config-file",
            dir_okay=False,
            help="With --direct: the stack's config file, if not Pulumi.<stack>.yaml here.",
        ),
    ] = None,
    smoke_deadline: SmokeDeadlineOption = SMOKE_DEADLINE_S,
    reason: ReasonOption = "",
    accept_breaking_migration: AcceptBreakingOption = False,
    break_lock: BreakLockOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send all traffic back to the other color, which still holds the previous release.

    The same steps as a cutover, without the watch. Refused when the other color is off or unhealthy, or when a newer
    release's migration breaks the older one.
    With --direct Pulumi is not needed, for when its CLI, its lock or its backend is what is broken: the stack is found
    in AWS by its tags, and `pulumi up --refresh` reconciles the state afterwards.
    """
    display = Display(as_json=as_json)
    if direct:
        args = DirectArgs(
            to=to,
            region=region,
            config_file=config_file,
            with_checks=not without_checks,
            accept_breaking_migration=accept_breaking_migration,
            break_lock=break_lock,
            reason=reason,
            public_deadline_s=smoke_deadline,
        )
        _roll_back_directly(stack, args, display)
        return
    with exit_codes(display):
        _require_direct(
            {"--without-checks": without_checks, "--to": to, "--region": region, "--config-file": config_file}
        )
    cutover = CutoverArgs(
        kind=Kind.ROLLBACK,
        break_lock=break_lock,
        accept_breaking_migration=accept_breaking_migration,
        smoke_deadline_s=smoke_deadline,
        reason=reason,
    )
    run_cli(stack, cutover, display)


def _require_direct(options: dict[str, object]) -> None:
    if alone := [name for name, value in options.items() if value]:
        raise UsageError(f"{', '.join(alone)}: only with --direct, which rolls back without Pulumi")


def _roll_back_directly(stack: str, args: DirectArgs, display: Display) -> None:
    handle_sigterm()
    with exit_codes(display):
        stack = stack or selected_stack_on_disk()
        done = direct_rollback.roll_back(stack, args, display)
        display.result({"ok": True, **done.as_json(), "warnings": display.warnings, "stages": display.stages})
        for line in _summary(done, stack):
            display.say(line)


def _summary(done: DirectResult, stack: str) -> list[str]:
    record = done.record
    return [
        f"{record.target if record else ''} has all traffic: {format_weights(done.after)} "
        f"(before: {format_weights(done.before)}), {done.moved_seconds:.1f} s after the start",
        f"{done.config}. Pulumi's state does not know of it yet: `{done.reconcile}` reconciles it once Pulumi works "
        f"again; in any other checkout {bluegreen('sync-config', stack=stack)} comes first",
    ]


if __name__ == "__main__":
    cli()

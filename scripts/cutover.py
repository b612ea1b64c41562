"""Cutover: all traffic to the other color, with an automatic rollback, on record either way."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Annotated

import typer
from pulumi.automation.errors import ConcurrentUpdateError

from ami.boot.messages import ChangeRecord, Kind, content
from fleet import launches
from fleet.colors import ALL_TRAFFIC, Color
from fleet.command_lines import bluegreen
from fleet.deployments import is_current
from fleet.gates import capacity_needed, not_ready, require_ready
from fleet.smoke_test import failures, smoke
from fleet.state import Fleet, Group, client
from fleet.waiting import tolerate_transient_errors, wait_until
from scripts.cli.display import Display, exit_codes, pulumi_lock, update_error
from scripts.cli.exits import LockedError, RefusedError, RollbackFailedError
from scripts.cli.interrupts import defer_signals, handle_sigterm, uninterruptible
from scripts.cli.options import (
    SMOKE_DEADLINE_S,
    AcceptBreakingOption,
    BakeOption,
    BreakLockOption,
    JsonOption,
    ReasonOption,
    SmokeDeadlineOption,
    StackOption,
    app,
)
from scripts.releases.bucket import breaking_between
from scripts.rollout.automatic_rollback import AutomaticRollback, bake
from scripts.rollout.bake import BAKE_S, watched_release
from scripts.rollout.resume import ResumedStack, require_gone
from scripts.rollout.traffic import require_current, up, weights
from scripts.stack import config_change
from scripts.stack.automation import Stack, StackFacts, changed_resources, open_stack, read_facts, set_value
from scripts.stack.config_change import require_allowed
from scripts.stack.lock import holder
from scripts.stack.recorded_config import recorded
from scripts.stack.runs import Run, changing, snapshot
from scripts.sync_config import SyncArgs, sync_config

# An instance has to boot: download, build, first passed health check.
SCALE_UP_DEADLINE_S = 900.0
# In a rollback; its notification waits for it.
CAPACITY_DEADLINE_S = 180.0


@dataclass(frozen=True, kw_only=True)
class CutoverArgs:
    """The color that is to get all traffic; None means the idle one."""

    target: Color | None = None
    release: str = ""
    """The release that the target must hold; empty allows any."""
    if_needed: bool = False
    """Whether to succeed when the target has all traffic already."""
    kind: Kind = Kind.CUTOVER
    break_lock: bool = False
    resume: bool = False
    """Whether to continue a killed run: releases its locks, and repeats no completed step."""
    accept_breaking_migration: bool = False
    preview_deadline_s: float = 5.0
    smoke_deadline_s: float = SMOKE_DEADLINE_S
    bake_s: float = 0.0
    reason: str = ""


@dataclass(kw_only=True)
class Cutover:
    """One cutover while it happens."""

    stack: Stack
    facts: StackFacts
    fleet: Fleet
    target: Color
    display: Display
    args: CutoverArgs
    run: Run

    @property
    def source(self) -> Color:
        return self.target.other

    @property
    def release(self) -> str:
        return self.facts.colors[self.target].version

    @property
    def is_moved(self) -> bool:
        """Whether the resumed run had shifted all traffic to the target already."""
        target = self.fleet.colors.get(self.target)
        return self.args.resume and target is not None and target.weight == ALL_TRAFFIC


def cut_over(stack: Stack, args: CutoverArgs, display: Display) -> ChangeRecord | None:
    """The runbook. Until the production traffic shift a failure changes nothing; after it, it is undone."""
    facts = read_facts(stack)
    if args.resume:
        require_gone(holder(facts.s3, facts.bucket, facts.stack))
        args = replace(args, break_lock=True)
        stack = ResumedStack(name=stack.name, stack=stack, display=display)
    if args.kind == Kind.ROLLBACK and (refused := config_change.problem(facts.stack, facts.config)):
        # A rollback must not wait for a config file to be repaired.
        with recorded(stack, refused, display) as usable:
            return _cut_over(usable, read_facts(usable), args, display)
    if args.kind == Kind.ROLLBACK and not is_current(facts.last, facts.desired):
        display.warn("this checkout's config was older than the stack's last change, and is brought up to date first")
        sync_config(stack, SyncArgs())
        facts = read_facts(stack)
    return _cut_over(stack, facts, args, display)


def _cut_over(stack: Stack, facts: StackFacts, args: CutoverArgs, display: Display) -> ChangeRecord | None:
    with changing(facts, args.kind, break_lock=args.break_lock, reason=args.reason, display=display) as run:
        with display.stage("reconcile: read the stack, the fleet and the releases"):
            cutover = preflight(stack, facts, args, display, run)
            run.source, run.target = snapshot(cutover.fleet, cutover.source), snapshot(cutover.fleet, cutover.target)
        if not cutover.is_moved:
            with display.stage(f"scale up: {cutover.target} to the capacity that serves now"):
                scale_up(cutover)
            with display.stage(f"test traffic: check {cutover.target} through the preview"):
                gate = replace(facts.gate, preview_deadline_s=args.preview_deadline_s)
                require_ready(gate, cutover.fleet, cutover.target, ALL_TRAFFIC)
        with display.stage(f"production traffic shift: {cutover.source} to {cutover.target}") as update:
            switch(cutover, update)
        with display.stage("smoke test: of the public endpoint"):
            smoke_or_roll_back(cutover)
        if args.bake_s:
            with display.stage(f"bake: watch {cutover.target} for {args.bake_s:g} s"):
                release = watched_release(facts, cutover.fleet, cutover.target)
                bake(automatic_rollback(cutover), release, args.bake_s, run, display)
    return run.record


def preflight(stack: Stack, facts: StackFacts, args: CutoverArgs, display: Display, run: Run) -> Cutover:
    """Read AWS and the releases concurrently; raise RefusedError where the cutover must not be attempted."""
    require_current(stack, facts)
    target = args.target or facts.active.other
    colors = facts.colors
    with ThreadPoolExecutor(2) as pool:
        fleet = pool.submit(facts.fleet)
        breaking = pool.submit(
            breaking_between, facts.s3, facts.bucket, colors[target].version, colors[target.other].version
        )
        cutover = Cutover(
            stack=stack, facts=facts, fleet=fleet.result(), target=target, display=display, args=args, run=run
        )
        reason = refusal(cutover, breaking.result())
    if reason:
        raise RefusedError(reason)
    require_allowed(facts, {"activeColor": target, "canaryPercent": "0"})
    return cutover


def refusal(cutover: Cutover, breaking: list[str]) -> str | None:
    """Why this cutover must not be attempted, or None."""
    serving, active = cutover.fleet.serving, cutover.facts.active
    if cutover.args.release and cutover.args.release != cutover.release:
        return f"{cutover.target} holds release {cutover.release or 'none'}, not {cutover.args.release}"
    if serving is None:
        return f"no release is live yet, there is nothing to move traffic from; deploy a first release to {active}"
    if cutover.is_moved:
        return None  # the smoke test comes next
    if serving == cutover.target and cutover.fleet.colors[cutover.target].weight == ALL_TRAFFIC:
        return f"{cutover.target} has all traffic already, with release {cutover.fleet.colors[cutover.target].release}"
    if active != serving and active != cutover.target:
        return (
            f"config says {active} is active, but {serving} has the traffic; "
            f"run {bluegreen('sync-config', stack=cutover.stack.name)} first, which sets config by what AWS has"
        )
    if cutover.args.kind == Kind.ROLLBACK and cutover.facts.canary_percent:
        return (
            f"{cutover.target} holds release {cutover.release} for {cutover.facts.canary_percent} % of the traffic: "
            f"that is a canary, not the previous release; end it: {bluegreen('canary', '0', stack=cutover.stack.name)}"
        )
    if breaking and not cutover.args.accept_breaking_migration:
        return (
            f"{cutover.target} holds release {cutover.release}, which can't run on the database that "
            f"{', '.join(breaking)} left (migration: breaking); in a planned window, and after undoing the migration, "
            "say --accept-breaking-migration"
        )
    # With a weight of 0: too few instances are no refusal yet, scaling up comes next.
    return not_ready(cutover.fleet, cutover.target, release=cutover.release, minimum=0, weight=0)


def serves_all(stack: Stack, args: CutoverArgs) -> bool:
    """Whether the target has all traffic already; a wrong release on it is for `cut_over` to refuse."""
    facts = read_facts(stack)
    side = facts.fleet().colors.get(args.target or facts.active.other)
    if side is None or side.color != facts.active or side.weight != ALL_TRAFFIC:
        return False
    return args.release in ("", side.release)


def scale_up(cutover: Cutover) -> None:
    """Give the target as many instances as serve now, before it is checked."""
    config = cutover.facts.colors[cutover.target]
    needed = capacity_needed(cutover.fleet, cutover.target, minimum=config.min_size, weight=ALL_TRAFFIC)
    group = cutover.fleet.colors[cutover.target].group_of(config.version)
    if group is None:
        return
    if group.is_stopped:
        resume_launches(cutover, group, needed)
    if group.healthy >= needed:
        return
    if needed > group.maximum:
        name = cutover.stack.name
        raise RefusedError(
            f"{cutover.source} serves with {needed} instances, but {cutover.target} may have {group.maximum} at most; "
            f"raise it: `pulumi config set --stack {name} --path {cutover.target}.maxSize {needed}`, "
            f"then `pulumi up --stack {name}`"
        )
    scale_to(cutover, cutover.target, group, needed, SCALE_UP_DEADLINE_S)


def scale_to(cutover: Cutover, color: Color, group: Group, needed: int, deadline_s: float) -> None:
    """Scale the color's group to this many healthy instances; raises TimedOut."""
    if group.desired < needed:
        scaling = client(cutover.facts.session, "autoscaling")
        scaling.set_desired_capacity(AutoScalingGroupName=group.name, DesiredCapacity=needed, HonorCooldown=False)
    wait_until(
        tolerate_transient_errors(lambda: _still_missing(cutover, color, needed)),
        what=f"{needed} healthy instances of {color}",
        deadline_s=deadline_s,
    )


def restore_capacity(cutover: Cutover) -> None:
    """Scale the source up again where its gate would fail: it may have scaled in since, or the target out."""
    cutover.fleet = cutover.facts.fleet()
    config = cutover.facts.colors[cutover.source]
    needed = capacity_needed(cutover.fleet, cutover.source, minimum=config.min_size, weight=ALL_TRAFFIC)
    group = cutover.fleet.colors[cutover.source].group_of(config.version)
    # Unhealthy instances are no lack of capacity, and not waited for while the traffic is on a bad release.
    if group and group.desired < needed <= group.maximum:
        cutover.display.note(f"{cutover.source} needs {needed} instances to take the traffic back")
        scale_to(cutover, cutover.source, group, needed, CAPACITY_DEADLINE_S)


def resume_launches(cutover: Cutover, group: Group, needed: int) -> None:
    """Resume the launches of a group that a failed deploy stopped: a live group must replace lost instances."""
    if group.healthy < needed:
        raise RefusedError(
            f"{cutover.target} has {group.healthy} of {needed} healthy instances of release {group.release}, and a "
            f"deploy that failed has stopped {group.name} from launching more; deploy it again: "
            + bluegreen("deploy", group.release, "--color", cutover.target, stack=cutover.stack.name)
        )
    launches.resume(client(cutover.facts.session, "autoscaling"), group.name)
    cutover.display.note(f"{group.name} may launch instances again, which a failed deploy had stopped")


def _still_missing(cutover: Cutover, color: Color, needed: int) -> str | None:
    cutover.fleet = cutover.facts.fleet()
    release = cutover.facts.colors[color].version
    return not_ready(cutover.fleet, color, release=release, minimum=needed, weight=0)


def switch(cutover: Cutover, on_output: Callable[[str], None]) -> None:
    """Set the config and `up`; on a failure, config and traffic agree again afterwards."""
    run, restore = cutover.run, config_change.save(cutover.stack)
    try:
        _set_active(cutover, cutover.target)
        target = weights(cutover.target, 0)
        result = defer_signals(lambda: up(cutover.stack, cutover.facts, cutover.fleet, target, on_output))
        run.changed_resources = changed_resources(result)
        run.state = f"traffic is on {cutover.target}, and config says so"
    except BaseException as error:
        with uninterruptible():
            run.state = _recover(cutover, error, restore)
        raise


def _recover(cutover: Cutover, error: BaseException, restore: Callable[[], None]) -> str:
    """After a failed switch: the state of traffic and config, or raises what the operator must know."""
    moved = _serving(cutover, error) == cutover.target
    if moved and isinstance(error, Exception):
        automatic_rollback(cutover).roll_back(cutover.run, cutover.display, update_error(str(error)))
    if moved:
        return f"traffic is on {cutover.target}, and config says so"
    restore()
    if isinstance(error, ConcurrentUpdateError):
        raise LockedError(f"traffic stays on {cutover.source}: {pulumi_lock(str(error))}") from error
    if cutover.facts.active != cutover.source:
        _set_active(cutover, cutover.source)  # config was ahead of the traffic
    if isinstance(error, Exception):
        raise RefusedError(f"traffic stays on {cutover.source}: {update_error(str(error))}") from error
    return f"traffic is on {cutover.source}, and config says so"


def _serving(cutover: Cutover, error: BaseException) -> Color | None:
    try:
        return cutover.facts.fleet().serving
    except Exception as unknown:  # AWS may be what failed: an operator must check
        raise RollbackFailedError(
            f"the switch to {cutover.target} failed ({update_error(str(error)) or 'interrupted'}), and AWS does not "
            f"say where the traffic goes now: {unknown}. Act now: {bluegreen('status', stack=cutover.stack.name)}; "
            f"config says {cutover.target}, `pulumi up --stack {cutover.stack.name}` sends the traffic there"
        ) from error


def smoke_or_roll_back(cutover: Cutover) -> None:
    results = smoke(
        cutover.facts.url,
        expect_release=cutover.release,
        health_path=cutover.facts.health_path,
        deadline=cutover.args.smoke_deadline_s,
        in_a_row=3,
    )
    if reason := failures(results):
        automatic_rollback(cutover).roll_back(cutover.run, cutover.display, reason)


def automatic_rollback(cutover: Cutover) -> AutomaticRollback:
    stack, source = cutover.stack, cutover.source
    return AutomaticRollback(
        stack=stack,
        color=cutover.target,
        set_config=lambda: _set_active(cutover, source),
        restore_capacity=lambda: restore_capacity(cutover),
        is_rolled_back=lambda: cutover.facts.fleet().serving == source,
        action=f"rolling back to {source}",
        result=f"traffic is back on {source}",
        manual_step=f"config says {source} already, `pulumi up --stack {stack.name}` sends it there",
    )


def _set_active(cutover: Cutover, color: Color) -> None:
    if cutover.facts.canary_percent:
        # A cutover ends the canary, and a rollback leaves a bad release no traffic.
        set_value(cutover.stack, "canaryPercent", "0")
    set_value(cutover.stack, "activeColor", color)


cli = app()


@cli.command()
def main(
    color: Annotated[Color, typer.Argument(help="The color that is to get all traffic.")],
    stack: StackOption = "",
    release: Annotated[str, typer.Option(help="Refuse unless COLOR holds this release.")] = "",
    if_needed: Annotated[
        bool, typer.Option("--if-needed", help="Do nothing, instead of refusing, when COLOR has all traffic already.")
    ] = False,
    smoke_deadline: SmokeDeadlineOption = SMOKE_DEADLINE_S,
    bake_seconds: BakeOption = BAKE_S,
    reason: ReasonOption = "",
    accept_breaking_migration: AcceptBreakingOption = False,
    break_lock: BreakLockOption = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from where a cutover to COLOR was killed: release its lock, and Pulumi's, once it is sure that "
            "their processes, of this host, are gone.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Send all traffic to COLOR, with no failed request, and roll back automatically if its release is bad.

    Takes the stack's lock, scales COLOR to the capacity that serves now, checks it through the preview, shifts the
    traffic (activeColor and `up`), runs the smoke test on the public endpoint, watches the release for a while (its
    alarm, its smoke test, its error rate), and records and publishes who did what.
    Ctrl-C while it watches leaves the traffic on COLOR.
    """
    args = CutoverArgs(
        target=color,
        release=release,
        if_needed=if_needed,
        break_lock=break_lock,
        resume=resume,
        accept_breaking_migration=accept_breaking_migration,
        smoke_deadline_s=smoke_deadline,
        bake_s=bake_seconds,
        reason=reason,
    )
    run_cli(stack, args, Display(as_json=as_json))


def run_cli(stack: str, args: CutoverArgs, display: Display) -> None:
    handle_sigterm()
    with exit_codes(display):
        opened = open_stack(stack)
        if args.if_needed and serves_all(opened, args):
            display.result({"ok": True, "changed_resources": 0})
            display.say(f"{args.target} has all traffic already")
            return
        record = cut_over(opened, args, display)
        if record:
            warned = {"warnings": display.warnings} if display.warnings else {}
            display.result({"ok": True, **content(record), **warned, "stages": display.stages})
            display.say(
                f"{record.target} has all traffic, {record.source} stays ready for a rollback; {record.seconds:.1f} s"
            )


if __name__ == "__main__":
    cli()

"""Rolling restart of a color's instances, one at a time and with no failed request, to read changed parameters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from ami.boot.messages import Kind
from fleet.colors import Color
from fleet.state import ColorState, Fleet, Group, InstanceState, client
from fleet.waiting import wait_until
from scripts.cli.display import Display, exit_codes
from scripts.cli.exits import RefusedError, UsageError
from scripts.cli.interrupts import handle_sigterm, uninterruptible
from scripts.cli.options import BreakLockOption, JsonOption, StackOption, app
from scripts.rollout.traffic import require_agreement
from scripts.stack.automation import Stack, StackFacts, open_stack, read_facts
from scripts.stack.runs import changing, snapshot

# Longer than a usual deregistration delay, and than a reboot with a slow app.
DRAIN_DEADLINE_S = 600.0
BACK_DEADLINE_S = 600.0
# These would replace an instance during its reboot. Launch and the rest stay on: other instances are still replaced.
SUSPENDED = ["HealthCheck", "ReplaceUnhealthy"]


@dataclass(frozen=True, kw_only=True)
class RestartArgs:
    """The instances to restart: all of the color, the first `count`, or named ones."""

    color: Color | None = None
    count: int = 0
    instances: tuple[str, ...] = ()
    break_lock: bool = False


@dataclass(frozen=True, kw_only=True)
class Restarted:
    """An instance that was restarted."""

    instance: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class RestartContext:
    """Group and AWS clients for the restart of one instance."""

    facts: StackFacts
    side: ColorState
    group: Group
    autoscaling: Any
    elbv2: Any
    ec2: Any


def restart(stack: Stack, args: RestartArgs, display: Display) -> list[Restarted]:
    """Restart one instance at a time: deregister, drain, reboot, wait until healthy, register."""
    facts = read_facts(stack)
    with changing(facts, Kind.RESTART, break_lock=args.break_lock) as run:
        fleet = facts.fleet()
        require_agreement(stack, facts, fleet)
        side = fleet.colors[args.color or facts.active]
        chosen = choose(side, args)
        if reason := refusal(fleet, side):
            raise RefusedError(reason)
        run.source = run.target = snapshot(fleet, side.color)
        done = list[Restarted]()

        def set_state(step: str) -> None:
            finished = [f"restarted: {', '.join(one.instance for one in done)}"] if done else []
            run.state = "; ".join([*finished, *([step] if step else [])])

        for group, machine in chosen:
            with display.stage(f"restart {machine.id} of {side.color}"):
                done.append(restart_one(_context(facts, side, group), machine, set_state))
                set_state("")
    return done


def choose(side: ColorState, args: RestartArgs) -> list[tuple[Group, InstanceState]]:
    healthy = [(group, machine) for group in side.groups for machine in group.instances if machine.is_healthy]
    if args.instances:
        unknown = set(args.instances) - {machine.id for _, machine in healthy}
        if unknown:
            known = ", ".join(machine.id for _, machine in healthy) or "none"
            raise UsageError(f"{', '.join(sorted(unknown))}: {side.color} has no such healthy instance, it has {known}")
        return [(group, machine) for group, machine in healthy if machine.id in args.instances]
    return healthy[: args.count or None]


def refusal(fleet: Fleet, side: ColorState) -> str | None:
    """Why no instance of this color may be out of service now, or None."""
    if not side.is_on:
        return f"{side.color} is off, it has no instances to restart"
    if side.weight and side.healthy < 2:
        return (
            f"{side.color} serves {side.weight} % of the traffic with {side.healthy} healthy instance of release "
            f"{side.release}; restarting it would fail their requests. Bring it to 2: raise minSize of {side.color} "
            f"in the config, then `pulumi up --stack {fleet.stack}`"
        )
    return None


def restart_one(context: RestartContext, machine: InstanceState, set_state: Callable[[str], None]) -> Restarted:
    """`set_state` is called with what an interrupt from now on leaves."""
    started = time.monotonic()
    with processes_suspended(context):
        set_state(f"{machine.id} was taken out of the load balancer and put back in, and not rebooted")
        with deregistered(context, machine):
            set_state(
                f"{machine.id} was marked unhealthy and rebooted, and put back into the load balancer; the group "
                f"{context.group.name} may replace it before it is ready"
            )
            reboot(context, machine)
            set_state(f"{machine.id} was rebooted and put back into the load balancer")
        wait_until(lambda: _not_serving(context, machine), what=f"{machine.id} to serve", deadline_s=BACK_DEADLINE_S)
    return Restarted(instance=machine.id, seconds=round(time.monotonic() - started, 3))


@contextmanager
def processes_suspended(context: RestartContext) -> Iterator[None]:
    """Suspend the group's replacement of unhealthy instances while the block runs."""
    group = {"AutoScalingGroupName": context.group.name, "ScalingProcesses": SUSPENDED}
    try:
        context.autoscaling.suspend_processes(**group)
        yield
    finally:
        with uninterruptible():
            context.autoscaling.resume_processes(**group)


@contextmanager
def deregistered(context: RestartContext, machine: InstanceState) -> Iterator[None]:
    """Deregister and drain the instance before the block begins, and register it again after."""
    target = {"TargetGroupArn": context.side.target_group_arn, "Targets": [{"Id": machine.id}]}
    try:
        context.elbv2.deregister_targets(**target)
        wait_until(
            lambda: _still_draining(context, machine),
            what=f"{machine.id} to drain",
            deadline_s=DRAIN_DEADLINE_S,
        )
        yield
    finally:
        with uninterruptible():
            context.elbv2.register_targets(**target)


def reboot(context: RestartContext, machine: InstanceState) -> None:
    """Reboot, and wait until the instance's boot reports that it is ready.

    EC2 reports neither the begin nor the end of a reboot. So the instance is marked unhealthy first, and its boot
    program marks it healthy once the app responds: only an instance that has really booted does that.
    """
    _mark(context, machine, "Unhealthy")
    context.ec2.reboot_instances(InstanceIds=[machine.id])
    wait_until(lambda: _not_booted(context, machine), what=f"{machine.id} to boot", deadline_s=BACK_DEADLINE_S)


def _mark(context: RestartContext, machine: InstanceState, health: str) -> None:
    context.autoscaling.set_instance_health(InstanceId=machine.id, HealthStatus=health, ShouldRespectGracePeriod=False)


def _not_booted(context: RestartContext, machine: InstanceState) -> str | None:
    instances = context.autoscaling.describe_auto_scaling_instances(InstanceIds=[machine.id])["AutoScalingInstances"]
    if not instances:
        return f"{machine.id} is no longer in {context.group.name}"
    health = str(instances[0]["HealthStatus"])
    return None if health.lower() == "healthy" else f"its boot hasn't reported yet, it is marked {health.lower()}"


def _still_draining(context: RestartContext, machine: InstanceState) -> str | None:
    state = _state(context, machine)
    return None if state in ("unused", "unregistered") else f"it is {state}"


def _not_serving(context: RestartContext, machine: InstanceState) -> str | None:
    state = _state(context, machine)
    return None if state == "healthy" else f"it is {state}"


def _state(context: RestartContext, machine: InstanceState) -> str:
    # All targets, not this one: for one that is gone, AWS returns an error.
    response = context.elbv2.describe_target_health(TargetGroupArn=context.side.target_group_arn)
    states = {one["Target"]["Id"]: one["TargetHealth"]["State"] for one in response["TargetHealthDescriptions"]}
    return str(states.get(machine.id, "unregistered"))


def _context(facts: StackFacts, side: ColorState, group: Group) -> RestartContext:
    return RestartContext(
        facts=facts,
        side=side,
        group=group,
        autoscaling=client(facts.session, "autoscaling"),
        elbv2=client(facts.session, "elbv2"),
        ec2=client(facts.session, "ec2"),
    )


cli = app()


@cli.command()
def main(
    stack: StackOption = "",
    color: Annotated[Color | None, typer.Option(help="The color to restart; default: the active one.")] = None,
    count: Annotated[int, typer.Option(min=0, help="Restart only this many instances; 0 is all of them.")] = 0,
    instance: Annotated[list[str] | None, typer.Option(help="Restart this instance; may be repeated.")] = None,
    break_lock: BreakLockOption = False,
    as_json: JsonOption = False,
) -> None:
    """Restart instances of a color one at a time, so that they read changed parameters; no request fails.

    Each instance leaves the load balancer, drains, reboots, is healthy again, and comes back before the next.
    """
    handle_sigterm()
    display = Display(as_json=as_json)
    args = RestartArgs(color=color, count=count, instances=tuple(instance or ()), break_lock=break_lock)
    with exit_codes(display):
        done = restart(open_stack(stack), args, display)
        restarted = [{"instance": one.instance, "seconds": one.seconds} for one in done]
        display.result({"ok": True, "restarted": restarted})
        display.say(f"restarted {len(done)}: " + ", ".join(f"{one.instance} ({one.seconds:.1f} s)" for one in done))


if __name__ == "__main__":
    cli()

"""Restart of a color's instances, one at a time and with no failed request, so that they read changed parameters."""

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
from scripts.cli.interrupts import shielded, terminate_like_ctrl_c
from scripts.cli.options import BreakLockOption, JsonOption, StackOption, app
from scripts.rollout.traffic import require_agreement
from scripts.stack.automation import Stack, StackFacts, open_stack, read_facts
from scripts.stack.runs import changing, snapshot

# Longer than any deregistration delay one would choose, and than a reboot with a slow app.
DRAIN_DEADLINE_S = 600.0
BACK_DEADLINE_S = 600.0
# What would replace a machine that is away for a moment. Launch and the rest go on: a dead neighbour is replaced.
SUSPENDED = ["HealthCheck", "ReplaceUnhealthy"]


@dataclass(frozen=True, kw_only=True)
class RestartArgs:
    """Which machines to restart: all of the color, the first so many, or named ones."""

    color: Color | None = None
    count: int = 0
    instances: tuple[str, ...] = ()
    break_lock: bool = False


@dataclass(frozen=True, kw_only=True)
class Restarted:
    """One machine that is back."""

    instance: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class _Hands:
    """What touches machines of one color."""

    facts: StackFacts
    side: ColorState
    group: Group
    autoscaling: Any
    balancing: Any
    ec2: Any


def restart(stack: Stack, args: RestartArgs, display: Display) -> list[Restarted]:
    """One machine at a time: out of the target group, drained, rebooted, ready again, back in."""
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

        def begun(step: str) -> None:
            finished = [f"restarted: {', '.join(one.instance for one in done)}"] if done else []
            run.state = "; ".join([*finished, *([step] if step else [])])

        for group, machine in chosen:
            with display.stage(f"restart {machine.id} of {side.color}"):
                done.append(restart_one(_hands(facts, side, group), machine, begun))
                begun("")
    return done


def choose(side: ColorState, args: RestartArgs) -> list[tuple[Group, InstanceState]]:
    there = [(group, machine) for group in side.groups for machine in group.instances if machine.is_healthy]
    if args.instances:
        unknown = set(args.instances) - {machine.id for _, machine in there}
        if unknown:
            known = ", ".join(machine.id for _, machine in there) or "none"
            raise UsageError(f"{', '.join(sorted(unknown))}: {side.color} has no such healthy instance, it has {known}")
        return [(group, machine) for group, machine in there if machine.id in args.instances]
    return there[: args.count or None]


def refusal(fleet: Fleet, side: ColorState) -> str | None:
    """Why no machine of this color may be away now, or None."""
    if not side.is_on:
        return f"{side.color} is off, it has no instances to restart"
    if side.weight and side.healthy < 2:
        return (
            f"{side.color} serves {side.weight} % of the traffic with {side.healthy} healthy instance of release "
            f"{side.release}; restarting it would fail their requests. Bring it to 2: raise minSize of {side.color} "
            f"in the config, then `pulumi up --stack {fleet.stack}`"
        )
    return None


def restart_one(hands: _Hands, machine: InstanceState, begun: Callable[[str], None]) -> Restarted:
    """`begun` is called with what an interrupt from now on leaves behind."""
    started = time.monotonic()
    with left_in_peace(hands):
        begun(f"{machine.id} was taken out of the load balancer and put back in, and not rebooted")
        with out_of_balancer(hands, machine):
            begun(
                f"{machine.id} was marked unhealthy and rebooted, and put back into the load balancer; the group "
                f"{hands.group.name} may replace it before it is ready"
            )
            reboot(hands, machine)
            begun(f"{machine.id} was rebooted and put back into the load balancer")
        wait_until(lambda: _not_serving(hands, machine), what=f"{machine.id} to serve", deadline_s=BACK_DEADLINE_S)
    return Restarted(instance=machine.id, seconds=round(time.monotonic() - started, 3))


@contextmanager
def left_in_peace(hands: _Hands) -> Iterator[None]:
    """The group doesn't replace a machine that is away on purpose; a machine that never comes back it then does."""
    group = {"AutoScalingGroupName": hands.group.name, "ScalingProcesses": SUSPENDED}
    try:
        hands.autoscaling.suspend_processes(**group)
        yield
    finally:
        with shielded():
            hands.autoscaling.resume_processes(**group)


@contextmanager
def out_of_balancer(hands: _Hands, machine: InstanceState) -> Iterator[None]:
    """No new request reaches the machine, and those it has are answered, before the block begins."""
    target = {"TargetGroupArn": hands.side.target_group_arn, "Targets": [{"Id": machine.id}]}
    try:
        hands.balancing.deregister_targets(**target)
        wait_until(
            lambda: _still_draining(hands, machine),
            what=f"{machine.id} to drain",
            deadline_s=DRAIN_DEADLINE_S,
        )
        yield
    finally:
        with shielded():
            hands.balancing.register_targets(**target)


def reboot(hands: _Hands, machine: InstanceState) -> None:
    """Reboot, and wait until the machine's own boot says that it is ready.

    EC2 tells neither when a reboot begins nor when it is over. So the machine is marked unhealthy first, and it is
    its boot script that marks it healthy when the app answers: only a machine that really went through a boot does.
    """
    _mark(hands, machine, "Unhealthy")
    hands.ec2.reboot_instances(InstanceIds=[machine.id])
    wait_until(lambda: _not_booted(hands, machine), what=f"{machine.id} to boot", deadline_s=BACK_DEADLINE_S)


def _mark(hands: _Hands, machine: InstanceState, health: str) -> None:
    hands.autoscaling.set_instance_health(InstanceId=machine.id, HealthStatus=health, ShouldRespectGracePeriod=False)


def _not_booted(hands: _Hands, machine: InstanceState) -> str | None:
    found = hands.autoscaling.describe_auto_scaling_instances(InstanceIds=[machine.id])["AutoScalingInstances"]
    if not found:
        return f"{machine.id} is no longer in {hands.group.name}"
    health = str(found[0]["HealthStatus"])
    return None if health.lower() == "healthy" else f"its boot hasn't reported yet, it is marked {health.lower()}"


def _still_draining(hands: _Hands, machine: InstanceState) -> str | None:
    state = _state(hands, machine)
    return None if state in ("unused", "unregistered") else f"it is {state}"


def _not_serving(hands: _Hands, machine: InstanceState) -> str | None:
    state = _state(hands, machine)
    return None if state == "healthy" else f"it is {state}"


def _state(hands: _Hands, machine: InstanceState) -> str:
    # All targets, not this one: asked for one that is gone, AWS answers with an error.
    told = hands.balancing.describe_target_health(TargetGroupArn=hands.side.target_group_arn)
    states = {one["Target"]["Id"]: one["TargetHealth"]["State"] for one in told["TargetHealthDescriptions"]}
    return str(states.get(machine.id, "unregistered"))


def _hands(facts: StackFacts, side: ColorState, group: Group) -> _Hands:
    return _Hands(
        facts=facts,
        side=side,
        group=group,
        autoscaling=client(facts.session, "autoscaling"),
        balancing=client(facts.session, "elbv2"),
        ec2=client(facts.session, "ec2"),
    )


cli = app()


@cli.command()
def main(
    stack: StackOption = "",
    color: Annotated[Color | None, typer.Option(help="The color to restart; default: the active one.")] = None,
    count: Annotated[int, typer.Option(min=0, help="Restart only this many instances; 0 is all of them.")] = 0,
    instance: Annotated[list[str] | None, typer.Option(help="Restart this instance; may be given again.")] = None,
    break_lock: BreakLockOption = False,
    as_json: JsonOption = False,
) -> None:
    """Restart instances of a color one at a time, so that they read changed parameters; no request fails.

    Each instance leaves the load balancer, drains, reboots, is healthy again, and comes back before the next.
    """
    terminate_like_ctrl_c()
    display = Display(as_json=as_json)
    args = RestartArgs(color=color, count=count, instances=tuple(instance or ()), break_lock=break_lock)
    with exit_codes(display):
        done = restart(open_stack(stack), args, display)
        told = [{"instance": one.instance, "seconds": one.seconds} for one in done]
        display.result({"ok": True, "restarted": told})
        display.say(f"restarted {len(done)}: " + ", ".join(f"{one.instance} ({one.seconds:.1f} s)" for one in done))


if __name__ == "__main__":
    cli()

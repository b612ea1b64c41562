"""Gates of a cutover as resource hooks: no `pulumi up` sends traffic to a color that isn't ready."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from config.colors import ColorSettings
from fleet.colors import ALL_TRAFFIC, Color
from fleet.command_lines import bluegreen, pulumi
from fleet.deployments import Deployment, RecordedTraffic, outgoing
from fleet.launches import CapacityWait, wait_for_capacity
from fleet.smoke_test import failures, smoke
from fleet.state import ColorState, Fleet, Group, NoSuchStack, describe

if TYPE_CHECKING:
    from pulumi import ResourceHook, ResourceHookBinding
    from pulumi.resource_hooks import ResourceHookArgs


class GateClosed(Exception):  # noqa: N818 - reads as the sentence that its message is
    """Traffic must not change as requested; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class GateArgs:
    """The part of a stack's config that the gates check."""

    stack: str
    region: str
    colors: Mapping[Color, ColorSettings]
    health_path: str = "/health"
    base_url: str = ""
    """The public address; without it the load balancer's DNS name is used."""
    recorded: RecordedTraffic | None = None
    """None checks no recorded weights: the caller has, or no release is live."""
    preview_deadline_s: float = 5.0
    # A weight change takes some seconds to reach all nodes of the load balancer.
    public_deadline_s: float = 30.0


def live_rule_hooks(gate: GateArgs, refused: Callable[[], None] = lambda: None) -> ResourceHookBinding:
    """Hooks of the live rule: before a change, verify the color that gains traffic; after it, the public endpoint.

    `refused` is called where the first one refuses, so that no traffic was moved.
    """

    session = cache(lambda: _session(gate.region))

    async def before_change(args: ResourceHookArgs) -> None:
        # In a thread: a blocking hook would block the program's other replies to the engine.
        try:
            await asyncio.to_thread(verify_change, gate, session(), _weights(args.new_inputs))
        except GateClosed:
            refused()
            raise

    async def after_change(args: ResourceHookArgs) -> None:
        await asyncio.to_thread(verify_public_endpoint, gate, session(), _weights(args.new_inputs))

    from pulumi import ResourceHook, ResourceHookBinding  # here and below: commands use the checks without the SDK

    before = ResourceHook("gate-before-users", before_change)
    after = ResourceHook("gate-after-users", after_change)
    return ResourceHookBinding(
        before_create=[before], before_update=[before], after_create=[after], after_update=[after]
    )


def release_guard(stack: str, sessions: Callable[[], Any], name: str = "gate-release-guard") -> ResourceHook:
    """A hook of launch templates: a live color keeps its release and AMI."""

    async def verify(args: ResourceHookArgs) -> None:
        tags = (args.new_inputs or {}).get("tags") or {}
        await asyncio.to_thread(verify_release, stack, sessions, tags)

    from pulumi import ResourceHook

    return ResourceHook(name, verify)


def capacity_wait(sessions: Callable[[], Any], deadline_s: float, name: str = "gate-capacity") -> ResourceHook:
    """A hook of new Auto Scaling groups: waits until minSize of their instances are healthy, up to the deadline.

    The provider's own wait (min_elb_capacity) can't be interrupted, not even when the group has stopped launching
    instances that can't boot. This one ends as soon as the group may launch no more.
    """

    async def wait(args: ResourceHookArgs) -> None:
        inputs = args.new_inputs or {}
        goal = CapacityWait(
            group=str(args.id),
            instances=int(inputs.get("minSize", 0)),
            target_groups=list(inputs.get("targetGroupArns") or ()),
        )
        await asyncio.to_thread(wait_for_capacity, sessions(), goal, deadline_s)

    from pulumi import ResourceHook

    return ResourceHook(name, wait)


def verify_change(gate: GateArgs, session: Any, weights: Mapping[str, int]) -> None:
    """Raise GateClosed unless every color that gains traffic by these weights (by target group) is ready for it."""
    fleet = describe(gate.stack, session)
    desired = {color: weights.get(state.target_group_arn, 0) for color, state in fleet.colors.items()}
    known = {state.target_group_arn for state in fleet.colors.values()}
    if unknown := sorted(arn for arn, weight in weights.items() if weight and arn not in known):
        raise GateClosed(replaced_target_groups(gate.stack, unknown))
    # Where the rule is gone no traffic is moved: it is created again by the recorded weights.
    moves = any(fleet.weights.values()) and desired != fleet.weights
    if moves and gate.recorded and not gate.recorded.may_change_from(fleet.weights):
        raise GateClosed(moved_elsewhere(fleet, gate.recorded.weights))
    for color in gaining_traffic(fleet.weights, desired):
        require_ready(gate, fleet, color, desired[color])


def verify_public_endpoint(gate: GateArgs, session: Any, weights: Mapping[str, int]) -> None:
    """Raise GateClosed unless the public endpoint serves the release that has all traffic; a canary is not checked."""
    fleet = describe(gate.stack, session)
    desired = {color: weights.get(state.target_group_arn, 0) for color, state in fleet.colors.items()}
    for color in (color for color, weight in desired.items() if weight == ALL_TRAFFIC):
        results = smoke(
            gate.base_url or fleet.url,
            expect_release=gate.colors[color].version,
            health_path=gate.health_path,
            deadline=gate.public_deadline_s,
            in_a_row=3,
        )
        if reason := failures(results):
            raise GateClosed(
                f"{color} is live now, but the smoke test fails: {reason}. "
                f"Roll back at once: `pulumi config set --stack {gate.stack} activeColor {color.other}`, "
                f"then `pulumi up --stack {gate.stack}`"
            )


def verify_release(stack: str, sessions: Callable[[], Any], tags: Mapping[str, str]) -> None:
    """Raise GateClosed when a launch template with these tags would change a live release."""
    color = Color(tags.get("Color", ""))
    if reason := refuse_in_place(color, tags, _live_groups(stack, sessions(), color)):
        raise GateClosed(reason)


def require_ready(gate: GateArgs, fleet: Fleet, color: Color, weight: int) -> None:
    """Raise GateClosed unless the color has capacity for this weight and passes the smoke test through the preview."""
    own, release = gate.colors[color], gate.colors[color].version
    if reason := not_ready(fleet, color, release=release, minimum=own.min_size, weight=weight):
        raise GateClosed(reason)
    results = smoke(
        gate.base_url or fleet.url,
        headers=fleet.preview(color),
        expect_release=release,
        health_path=gate.health_path,
        deadline=gate.preview_deadline_s,
    )
    if reason := failures(results):
        raise GateClosed(
            f"{color} is not ready for traffic, its release {release} fails the smoke test: {reason}. "
            f"The traffic stays as it is; deploy a good release to {color}"
        )


def gaining_traffic(now: Mapping[Color, int], desired: Mapping[Color, int]) -> list[Color]:
    """The colors that would get more traffic than they have."""
    return [color for color in desired if desired[color] > now.get(color, 0)]


def capacity_needed(fleet: Fleet, color: Color, *, minimum: int, weight: int) -> int:
    """Number of instances for this weight, in proportion to the live color's; `minimum` at least."""
    live = max((state.healthy for state in fleet.colors.values() if state.color != color and state.weight), default=0)
    return max(minimum, math.ceil(live * weight / ALL_TRAFFIC))


def not_ready(fleet: Fleet, color: Color, *, release: str, minimum: int, weight: int) -> str | None:
    """Why the color must not get this weight, or None."""
    state = fleet.colors.get(color)
    if state is None or not state.is_on:
        command = _deploy_command(fleet, color, release)
        return f"{color} is off, it has no instances; deploy a release to it first: {command}"
    group = state.group_of(release)
    if group is None:
        return (
            f"{color} has release {state.release}, but the stack's config says {release or 'none'}; "
            f"deploy that one first: {_deploy_command(fleet, color, release)}"
        )
    return _mixed(fleet.stack, state, group) or _too_few(fleet, state, group, minimum, weight)


def moved_elsewhere(fleet: Fleet, recorded: Mapping[Color, int]) -> str:
    """The refusal when AWS has other weights than the last update left, with the two commands that resolve it."""
    target = max(recorded, key=lambda color: recorded[color])
    return (
        f"AWS sends {_percent(fleet.weights)} of the traffic, but the stack's last update left {_percent(recorded)}, "
        f"and this config requests no change: {bluegreen('sync-config', stack=fleet.stack)} takes over what AWS "
        f"has, {bluegreen('cutover', target, stack=fleet.stack)} moves the traffic to {target}"
    )


def replaced_target_groups(stack: str, arns: Sequence[str]) -> str:
    return (
        f"the live rule would forward to new target groups ({', '.join(arns)}), in which no instance is healthy yet: "
        f"of stack {stack}, which is live, settings that replace target groups, as containerPort, can't be changed; "
        "set them back"
    )


def lost_traffic(stack: str, sessions: Callable[[], Any], last: Deployment, desired: Deployment) -> str | None:
    """Why `desired` must not replace or delete a fleet that has traffic in AWS but not in `last`, or None."""
    try:
        fleet = describe(stack, sessions())
    except NoSuchStack as error:
        return f"which color has the traffic is unknown, so that no fleet can be replaced or deleted: {error}"
    lost = [color for color in outgoing(last, desired) if fleet.colors[color].weight and not last.weights[color]]
    if not lost:
        return None
    return f"{lost[0]} has traffic: {moved_elsewhere(fleet, last.weights)}"


def _percent(weights: Mapping[Color, int]) -> str:
    return " and ".join(f"{color} {percent} %" for color, percent in sorted(weights.items()) if percent)


def refuse_in_place(color: Color, desired: Mapping[str, str], live: Sequence[Group]) -> str | None:
    """Why a live color's groups must not be replaced by one with the desired tags, or None."""
    for group in live:
        for noun, key, actual in (("release", "Release", group.release), ("AMI", "Ami", group.ami)):
            if actual != desired.get(key, ""):
                return (
                    f"{color} is live with {noun} {actual}, which is never changed in place to {desired.get(key)}; "
                    f"deploy to {color.other}, then cut over to it"
                )
    return None


def _mixed(stack: str, state: ColorState, group: Group) -> str | None:
    others = sorted({other.release for other in state.groups if other is not group and other.instances})
    if not others and not state.unknown_targets:
        return None
    extra = (
        f"instances of release {', '.join(others)}"
        if others
        else f"{len(state.unknown_targets)} instances of an unknown release"
    )
    return (
        f"{state.color} still has {extra} alongside release {group.release}, traffic would reach both; "
        f"run {pulumi('up', stack=stack)} again when those are gone"
    )


def _too_few(fleet: Fleet, state: ColorState, group: Group, minimum: int, weight: int) -> str | None:
    needed = capacity_needed(fleet, state.color, minimum=minimum, weight=weight)
    if group.healthy >= needed:
        return None
    unhealthy = [
        f"{instance.id} is {instance.health} {instance.reason}".strip()
        for instance in group.instances
        if not instance.is_healthy
    ]
    return (
        f"{state.color} has {group.healthy} of {needed} healthy instances of release {group.release}"
        + (f" ({'; '.join(unhealthy)})" if unhealthy else "")
        + f"; scale it to {needed} with {bluegreen('cutover', state.color, stack=fleet.stack)}, "
        + f"or by raising minSize of {state.color}"
    )


def _deploy_command(fleet: Fleet, color: Color, release: str) -> str:
    return bluegreen("deploy", release or "VERSION", "--color", color, stack=fleet.stack)


def _weights(inputs: Mapping[str, Any] | None) -> dict[str, int]:
    """The live rule's weights by target group, from its inputs as the engine passes them."""
    return {
        target["arn"]: int(target.get("weight", 0))
        for action in (inputs or {}).get("actions", [])
        for target in (action.get("forward") or {}).get("targetGroups", [])
    }


def _live_groups(stack: str, session: Any, color: Color) -> Sequence[Group]:
    """The color's groups while it is live; none while the stack is still being created."""
    try:
        state = describe(stack, session).colors.get(color)
    except NoSuchStack:
        return ()
    return state.groups if state and state.weight else ()


def _session(region: str) -> Any:
    import boto3  # takes 0.2 s, which an unchanged program does not need

    return boto3.Session(region_name=region)

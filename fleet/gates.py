"""The gates of a cutover as resource hooks: no `pulumi up` sends users to a color that isn't ready for them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from config.colors import ColorSettings
from fleet.colors import ALL_USERS, Color
from fleet.command_lines import bluegreen, pulumi
from fleet.deployments import Deployment, Recorded, outgoing
from fleet.launches import Arrival, wait_for_machines
from fleet.smoke_test import failures, smoke
from fleet.state import Fleet, Group, NoSuchStack, Side, describe

if TYPE_CHECKING:
    from pulumi import ResourceHook, ResourceHookBinding
    from pulumi.resource_hooks import ResourceHookArgs


class GateClosed(Exception):  # noqa: N818 - reads as the sentence that its message is
    """Users must not be sent where the change would send them; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class GateArgs:
    """What the gates must know of the stack's config."""

    stack: str
    region: str
    colors: Mapping[Color, ColorSettings]
    health_path: str = "/health"
    base_url: str = ""
    """The public address; without it the load balancer's own name is asked."""
    recorded: Recorded | None = None
    """None asks for no consent: whoever calls has looked, or no release is live."""
    preview_deadline_s: float = 5.0
    # A weight change reaches all of AWS's balancer nodes within seconds, not at once.
    public_deadline_s: float = 30.0


def live_rule_hooks(gate: GateArgs) -> ResourceHookBinding:
    """Hooks for the live rule: before it changes, judge who gains users; after it, judge what users get."""

    session = cache(lambda: _session(gate.region))

    async def judge_before(args: ResourceHookArgs) -> None:
        # In a thread: a hook that blocks would hold up every other answer of the program to the engine.
        await asyncio.to_thread(judge_change, gate, session(), _weights(args.new_inputs))

    async def judge_after(args: ResourceHookArgs) -> None:
        await asyncio.to_thread(judge_public, gate, session(), _weights(args.new_inputs))

    from pulumi import ResourceHook, ResourceHookBinding  # here and below: commands take the checks without the SDK

    before = ResourceHook("gate-before-users", judge_before)
    after = ResourceHook("gate-after-users", judge_after)
    return ResourceHookBinding(
        before_create=[before], before_update=[before], after_create=[after], after_update=[after]
    )


def release_guard(stack: str, sessions: Callable[[], Any], name: str = "gate-release-guard") -> ResourceHook:
    """A hook for launch templates: the color that serves users keeps its release and AMI."""

    async def judge(args: ResourceHookArgs) -> None:
        tags = (args.new_inputs or {}).get("tags") or {}
        await asyncio.to_thread(judge_release, stack, sessions, tags)

    from pulumi import ResourceHook

    return ResourceHook(name, judge)


def arrival(sessions: Callable[[], Any], deadline_s: float, name: str = "gate-arrival") -> ResourceHook:
    """A hook for new Auto Scaling groups: they are made when minSize of their machines serve, within that time.

    The provider's own wait (min_elb_capacity) can't be ended: who stops a group whose machines can't boot would sit it
    out. This one ends as soon as the group may launch no more.
    """

    async def judge(args: ResourceHookArgs) -> None:
        inputs = args.new_inputs or {}
        awaited = Arrival(
            group=str(args.id),
            machines=int(inputs.get("minSize", 0)),
            target_groups=list(inputs.get("targetGroupArns") or ()),
        )
        await asyncio.to_thread(wait_for_machines, sessions(), awaited, deadline_s)

    from pulumi import ResourceHook

    return ResourceHook(name, judge)


def judge_change(gate: GateArgs, session: Any, weights: Mapping[str, int]) -> None:
    """Raise GateClosed unless every color that gains users by these weights (by target group) is ready for them."""
    fleet = describe(gate.stack, session)
    wanted = {color: weights.get(side.target_group_arn, 0) for color, side in fleet.sides.items()}
    if gate.recorded and not gate.recorded.is_to_change and wanted != fleet.weights:
        raise GateClosed(moved_elsewhere(fleet, gate.recorded.weights))
    for color in rising(fleet.weights, wanted):
        require_ready(gate, fleet, color, wanted[color])


def judge_public(gate: GateArgs, session: Any, weights: Mapping[str, int]) -> None:
    """Raise GateClosed unless users get the release that has all of them; with users on both, nothing is certain."""
    fleet = describe(gate.stack, session)
    wanted = {color: weights.get(side.target_group_arn, 0) for color, side in fleet.sides.items()}
    for color in (color for color, weight in wanted.items() if weight == ALL_USERS):
        results = smoke(
            gate.base_url or fleet.url,
            expect_release=gate.colors[color].version,
            health_path=gate.health_path,
            deadline=gate.public_deadline_s,
            in_a_row=3,
        )
        if reason := failures(results):
            raise GateClosed(
                f"{color} has the users now, but the smoke test fails: {reason}. "
                f"Go back at once: `pulumi config set --stack {gate.stack} activeColor {color.other}`, "
                f"then `pulumi up --stack {gate.stack}`"
            )


def judge_release(stack: str, sessions: Callable[[], Any], tags: Mapping[str, str]) -> None:
    """Raise GateClosed when a launch template with these tags would change a release that has users."""
    color = Color(tags.get("Color", ""))
    if reason := refuse_in_place(color, tags, _serving_groups(stack, sessions(), color)):
        raise GateClosed(reason)


def require_ready(gate: GateArgs, fleet: Fleet, color: Color, weight: int) -> None:
    """Raise GateClosed unless the color has the machines for this weight, and answers well through the preview."""
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
            f"{color} is not fit for users, its release {release} fails the smoke test: {reason}. "
            f"Users stay where they are; deliver a good release to {color}"
        )


def rising(now: Mapping[Color, int], wanted: Mapping[Color, int]) -> list[Color]:
    """The colors that would get more users than they have."""
    return [color for color in wanted if wanted[color] > now.get(color, 0)]


def capacity_needed(fleet: Fleet, color: Color, *, minimum: int, weight: int) -> int:
    """As many machines as the share of users takes, measured by what serves all of them now."""
    serving = max((side.healthy for side in fleet.sides.values() if side.color != color and side.weight), default=0)
    return max(minimum, math.ceil(serving * weight / ALL_USERS))


def not_ready(fleet: Fleet, color: Color, *, release: str, minimum: int, weight: int) -> str | None:
    """Why the color must not get this share of the users, or None."""
    side = fleet.sides.get(color)
    if side is None or not side.is_on:
        return f"{color} is off, it has no machines; deliver a release to it first: {_deliver(fleet, color, release)}"
    group = side.group_of(release)
    if group is None:
        return (
            f"{color} holds release {side.release}, but the stack's config says {release or 'none'}; "
            f"deliver that one first: {_deliver(fleet, color, release)}"
        )
    return _mixed(fleet.stack, side, group) or _too_few(fleet, side, group, minimum, weight)


def moved_elsewhere(fleet: Fleet, recorded: Mapping[Color, int]) -> str:
    """Says that AWS has other weights than the stack's last update left, and both ways out."""
    target = max(recorded, key=lambda color: recorded[color])
    return (
        f"AWS sends {_percent(fleet.weights)} of the traffic, but the stack's last update left {_percent(recorded)}, "
        f"and this config asks for no change: {bluegreen('sync-config', stack=fleet.stack)} takes over what AWS "
        f"has, {bluegreen('cutover', target, stack=fleet.stack)} moves the traffic to {target}"
    )


def lost_traffic(stack: str, sessions: Callable[[], Any], last: Deployment, desired: Deployment) -> str | None:
    """Why no fleet may be replaced or deleted for `desired`, as AWS sends it traffic and `last` doesn't; or None."""
    try:
        fleet = describe(stack, sessions())
    except NoSuchStack:
        return None
    lost = [color for color in outgoing(last, desired) if fleet.sides[color].weight and not last.weights[color]]
    if not lost:
        return None
    return f"{lost[0]} has traffic: {moved_elsewhere(fleet, last.weights)}"


def _percent(weights: Mapping[Color, int]) -> str:
    return " and ".join(f"{color} {percent} %" for color, percent in sorted(weights.items()) if percent)


def refuse_in_place(color: Color, wanted: Mapping[str, str], serving: Sequence[Group]) -> str | None:
    """Why the color's groups, which have users, must not be replaced by one with the wanted tags, or None."""
    for group in serving:
        for what, key, has in (("release", "Release", group.release), ("AMI", "Ami", group.ami)):
            if has != wanted.get(key, ""):
                return (
                    f"{color} serves users with {what} {has}, which is never changed in place to {wanted.get(key)}; "
                    f"deliver to {color.other}, then cut over to it"
                )
    return None


def _mixed(stack: str, side: Side, group: Group) -> str | None:
    others = sorted({other.release for other in side.groups if other is not group and other.machines})
    if not others and not side.strays:
        return None
    told = f"machines of release {', '.join(others)}" if others else f"{len(side.strays)} machines of no known release"
    return (
        f"{side.color} still has {told} beside release {group.release}, users would see both; "
        f"run {pulumi('up', stack=stack)} again when those are gone"
    )


def _too_few(fleet: Fleet, side: Side, group: Group, minimum: int, weight: int) -> str | None:
    needed = capacity_needed(fleet, side.color, minimum=minimum, weight=weight)
    if group.healthy >= needed:
        return None
    ill = [f"{one.instance} is {one.health} {one.reason}".strip() for one in group.machines if not one.is_healthy]
    return (
        f"{side.color} has {group.healthy} of {needed} healthy machines of release {group.release}"
        + (f" ({'; '.join(ill)})" if ill else "")
        + f"; bring it to {needed} with {bluegreen('cutover', side.color, stack=fleet.stack)}, "
        + f"or by raising minSize of {side.color}"
    )


def _deliver(fleet: Fleet, color: Color, release: str) -> str:
    return bluegreen("deploy", release or "VERSION", "--color", color, stack=fleet.stack)


def _weights(inputs: Mapping[str, Any] | None) -> dict[str, int]:
    """The live rule's weights by target group, from its inputs as the engine hands them over."""
    return {
        target["arn"]: int(target.get("weight", 0))
        for action in (inputs or {}).get("actions", [])
        for target in (action.get("forward") or {}).get("targetGroups", [])
    }


def _serving_groups(stack: str, session: Any, color: Color) -> Sequence[Group]:
    """The color's groups while it has users; none while the stack is still being made."""
    try:
        side = describe(stack, session).sides.get(color)
    except NoSuchStack:
        return ()
    return side.groups if side and side.weight else ()


def _session(region: str) -> Any:
    import boto3  # 0.2 s that an unchanged program need not pay

    return boto3.Session(region_name=region)

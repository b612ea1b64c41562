from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi.resource_hooks import ResourceHookArgs

from config.colors import ColorSettings
from fleet import gates
from fleet.colors import Color
from fleet.deployments import Deployment, RecordedTraffic
from fleet.gates import GateClosed, capacity_needed, gaining_traffic, not_ready, refuse_in_place, verify_change
from fleet.state import ColorState, Fleet, Group, InstanceState
from fleet.waiting import TimedOut
from tests.scripts.world import STACK, World, two_colors

BLUE, GREEN = Color.BLUE, Color.GREEN


def group(release: str, healthy: int, ill: int = 0, ami: str = "ami-1") -> Group:
    fine = [InstanceState(id=f"i-{release}{n}", lifecycle="InService", health="healthy") for n in range(healthy)]
    bad = [
        InstanceState(id=f"i-ill{n}", lifecycle="InService", health="unhealthy", reason="503 answered")
        for n in range(ill)
    ]
    total = healthy + ill
    return Group(
        name=f"dev-{release}", release=release, ami=ami, desired=total, minimum=1, maximum=9, instances=(*fine, *bad)
    )


def fleet(*, blue: tuple[Group, ...] = (), green: tuple[Group, ...] = (), weights: tuple[int, int] = (100, 0)) -> Fleet:
    return Fleet(
        stack="dev",
        dns_name="dev.example.com",
        scheme="http",
        port=80,
        live_rule_arn="arn:rule",
        preview_header="X-Preview",
        colors={
            BLUE: ColorState(color=BLUE, target_group_arn="arn:blue", weight=weights[0], groups=blue),
            GREEN: ColorState(color=GREEN, target_group_arn="arn:green", weight=weights[1], groups=green),
        },
    )


def reason(of: Fleet, release: str = "v2", minimum: int = 1, weight: int = 100) -> str | None:
    return not_ready(of, GREEN, release=release, minimum=minimum, weight=weight)


def test_a_color_with_enough_machines_of_the_release_is_ready() -> None:
    assert reason(fleet(blue=(group("v1", 2),), green=(group("v2", 2),))) is None


def test_a_color_without_machines_is_off() -> None:
    assert reason(fleet(blue=(group("v1", 2),))) == (
        "green is off, it has no instances; deploy a release to it first: "
        "`./bluegreen deploy v2 --color green --stack dev`"
    )


def test_another_release_than_configured_is_named() -> None:
    assert reason(fleet(green=(group("v1", 2),))) == (
        "green has release v1, but the stack's config says v2; deploy that one first: "
        "`./bluegreen deploy v2 --color green --stack dev`"
    )


def test_too_few_machines_are_counted_and_the_ill_ones_named() -> None:
    assert reason(fleet(blue=(group("v1", 2),), green=(group("v2", 1, ill=1),))) == (
        "green has 1 of 2 healthy instances of release v2 (i-ill0 is unhealthy 503 answered); scale it to 2 with "
        "`./bluegreen cutover green --stack dev`, or by raising minSize of green"
    )


def test_machines_of_two_releases_would_both_be_seen() -> None:
    both = fleet(green=(group("v2", 2), group("v1", 1)))
    assert "green still has instances of release v1 alongside release v2, traffic would reach both" in (
        reason(both) or ""
    )


def test_targets_that_no_group_holds_would_be_seen_too() -> None:
    known = fleet(green=(group("v2", 2),))
    strange = replace(known, colors={**known.colors, GREEN: replace(known.colors[GREEN], unknown_targets=("i-lost",))})
    assert "green still has 1 instances of an unknown release alongside release v2" in (reason(strange) or "")


@given(serving=st.integers(0, 50), weight=st.integers(1, 100), minimum=st.integers(0, 10))
def test_capacity_follows_the_share_of_users_and_never_goes_below_the_minimum(
    serving: int, weight: int, minimum: int
) -> None:
    needed = capacity_needed(fleet(blue=(group("v1", serving),)), GREEN, minimum=minimum, weight=weight)
    assert needed >= minimum
    assert needed * 100 >= serving * weight
    assert needed == minimum or (needed - 1) * 100 < serving * weight


@pytest.mark.parametrize(
    ("now", "wanted", "gains"),
    [
        ({BLUE: 100, GREEN: 0}, {BLUE: 0, GREEN: 100}, [GREEN]),
        ({BLUE: 100, GREEN: 0}, {BLUE: 90, GREEN: 10}, [GREEN]),
        ({BLUE: 90, GREEN: 10}, {BLUE: 100, GREEN: 0}, [BLUE]),
        ({BLUE: 100, GREEN: 0}, {BLUE: 100, GREEN: 0}, []),
        ({}, {BLUE: 100, GREEN: 0}, [BLUE]),
    ],
)
def test_only_colors_that_gain_users_are_judged(
    now: dict[Color, int], wanted: dict[Color, int], gains: list[Color]
) -> None:
    assert gaining_traffic(now, wanted) == gains


def test_a_release_with_users_is_not_changed_in_place() -> None:
    serving = [group("v1", 2)]
    same = {"Release": "v1", "Ami": "ami-1"}
    assert refuse_in_place(BLUE, same, serving) is None
    assert refuse_in_place(BLUE, {**same, "Release": "v2"}, serving) == (
        "blue is live with release v1, which is never changed in place to v2; deploy to green, then cut over to it"
    )
    assert "with AMI ami-1, which is never changed in place to ami-2" in (
        refuse_in_place(BLUE, {**same, "Ami": "ami-2"}, serving) or ""
    )
    assert refuse_in_place(BLUE, {**same, "Release": "v2"}, []) is None


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs a hook as the engine does, without an engine to register it with."""

    monkeypatch.setattr("pulumi.resource_hooks.register_resource_hook", lambda _hook: None)

    def run(hook: Any, inputs: Mapping[str, Any], id: str = "") -> None:
        asyncio.run(hook(ResourceHookArgs(urn="", id=id, name="", type="", new_inputs=inputs)))

    return run


def _rule_inputs(world: World, blue: int, green: int) -> dict[str, Any]:
    targets = [{"arn": world.groups[BLUE], "weight": float(blue)}, {"arn": world.groups[GREEN], "weight": float(green)}]
    return {"actions": [{"type": "forward", "forward": {"targetGroups": targets}}]}


def test_the_hooks_let_a_good_flip_pass(world: World, hooks: Callable[..., Any]) -> None:
    binding = gates.live_rule_hooks(two_colors(world).gate())
    hooks((binding.before_update or [])[0], _rule_inputs(world, 0, 100))
    assert world.requests == ["preview green /health?deep=1"]
    world.set_weights({BLUE: 0, GREEN: 100})
    hooks((binding.after_update or [])[0], _rule_inputs(world, 0, 100))


def test_the_hooks_stop_a_bad_flip(world: World, hooks: Callable[..., Any]) -> None:
    binding = gates.live_rule_hooks(two_colors(world).gate())
    world.apps["v2"].database = "no route to host"
    with pytest.raises(GateClosed, match=r"green is not ready for traffic.*v2.*database: no route to host"):
        hooks((binding.before_update or [])[0], _rule_inputs(world, 0, 100))
    world.set_weights({BLUE: 0, GREEN: 100})
    told = "green is live now, but the smoke test fails: health.* config set --stack dev activeColor blue`"
    with pytest.raises(GateClosed, match=told):
        hooks((binding.after_update or [])[0], _rule_inputs(world, 0, 100))
    assert (binding.before_create, binding.after_create) == (binding.before_update, binding.after_update)


def test_a_change_that_moves_no_user_asks_nothing(world: World, hooks: Callable[..., Any]) -> None:
    binding = gates.live_rule_hooks(two_colors(world).gate())
    world.apps["v1"].answers = False
    hooks((binding.before_update or [])[0], _rule_inputs(world, 100, 0))
    assert world.requests == []


def test_a_color_of_too_few_machines_is_stopped_by_the_hook(world: World, hooks: Callable[..., Any]) -> None:
    binding = gates.live_rule_hooks(two_colors(world).gate())
    world.ill.add(world.machines_of(GREEN)[0]["instance"])
    with pytest.raises(GateClosed, match="green has 1 of 2 healthy instances of release v2"):
        hooks((binding.before_update or [])[0], _rule_inputs(world, 0, 100))
    # One of ten users needs only one machine, but never fewer than minSize.
    with pytest.raises(GateClosed, match="green has 1 of 2 healthy instances of release v2"):
        hooks((binding.before_update or [])[0], _rule_inputs(world, 90, 10))


def test_the_guard_refuses_another_release_for_the_color_with_users(world: World, hooks: Callable[..., Any]) -> None:
    two_colors(world)
    guard = gates.release_guard(STACK, lambda: world.session)
    hooks(guard, {"tags": {"Stack": STACK, "Color": "blue", "Release": "v1", "Ami": world.ami}})
    hooks(guard, {"tags": {"Stack": STACK, "Color": "green", "Release": "v3", "Ami": world.ami}})
    with pytest.raises(GateClosed, match="blue is live with release v1, which is never changed in place to v3"):
        hooks(guard, {"tags": {"Stack": STACK, "Color": "blue", "Release": "v3", "Ami": world.ami}})


def test_the_guard_lets_a_stack_begin(aws: None, session: Any, hooks: Callable[..., Any]) -> None:
    guard = gates.release_guard(STACK, lambda: session)
    hooks(guard, {"tags": {"Stack": STACK, "Color": "blue", "Release": "v1", "Ami": "ami-1"}})


def test_weights_that_others_set_are_changed_only_by_who_was_about_to_set_them(world: World) -> None:
    stack = two_colors(world)
    weights = {world.groups[BLUE]: 100, world.groups[GREEN]: 0}
    world.set_weights({BLUE: 0, GREEN: 100})
    unchanged = RecordedTraffic(weights={BLUE: 100, GREEN: 0}, may_change=False)
    with pytest.raises(GateClosed, match=r"AWS sends green 100 % .* this config requests no change"):
        verify_change(stack.gate(unchanged), world.session, weights)
    with pytest.raises(GateClosed, match="AWS sends green 100 %"):
        verify_change(stack.gate(replace(unchanged, interrupted={BLUE: 90, GREEN: 10})), world.session, weights)
    verify_change(stack.gate(replace(unchanged, interrupted={BLUE: 0, GREEN: 100})), world.session, weights)


def test_new_target_groups_of_a_live_stack_are_refused(world: World) -> None:
    stack = two_colors(world)
    with pytest.raises(GateClosed, match=r"new target groups \(arn:new\).*as containerPort, can't be changed"):
        verify_change(stack.gate(), world.session, {"arn:new": 100, world.groups[GREEN]: 0})


def test_a_stack_that_lost_its_tags_is_not_taken_for_one_without_traffic(aws: None, session: Any) -> None:
    held = ColorSettings(
        version="v1", url="s3://artifacts/releases/v1/bundle.tar.gz", sha256="a" * 64, ami="ami-01234567"
    )
    last = Deployment(colors={BLUE: held, GREEN: ColorSettings()})
    desired = replace(last, colors={BLUE: replace_release(held, "v2"), GREEN: ColorSettings()})
    reason = gates.lost_traffic(STACK, lambda: session, last, desired)
    assert reason is not None
    assert reason.startswith("which color has the traffic is unknown, so that no fleet can be replaced or deleted: ")


def replace_release(color: ColorSettings, version: str) -> ColorSettings:
    return color.model_copy(update={"version": version})


def test_a_group_is_made_when_as_many_machines_as_it_must_have_serve(world: World, hooks: Callable[..., Any]) -> None:
    two_colors(world)
    group = next(name for name, (color, _) in world.running.items() if color is GREEN)
    inputs = {"minSize": 2, "targetGroupArns": [world.groups[GREEN]]}
    hooks(gates.capacity_wait(lambda: world.session, 0), inputs, id=group)
    world.ill.add(world.machines_of(GREEN)[0]["instance"])
    with pytest.raises(
        TimedOut, match=f"waited 0 s for instances of Auto Scaling group {group}: 1 of 2 instances are healthy"
    ):
        hooks(gates.capacity_wait(lambda: world.session, 0, "late"), inputs, id=group)

from __future__ import annotations

from typing import Any

import pytest

from fleet import state as reading
from fleet.colors import Color
from fleet.state import Arns, NoSuchStack, describe, live_weights
from tests.scripts.world import BUCKET, HEADER, STACK, TOKEN, TOPIC, World, two_colors


def test_a_stack_is_read_by_its_tags_alone(world: World) -> None:
    two_colors(world)
    world.elbv2.create_load_balancer(Name="other", Subnets=world.subnets, Tags=[{"Key": "Stack", "Value": "prod"}])
    fleet = describe(STACK, world.session)
    assert (fleet.scheme, fleet.port, fleet.live_rule_arn) == ("http", 80, world.live)
    assert fleet.url == f"http://{fleet.dns_name}"
    assert fleet.weights == {Color.BLUE: 100, Color.GREEN: 0}
    assert fleet.serving is Color.BLUE
    assert fleet.preview(Color.GREEN) == {HEADER: f"{TOKEN}-green"}
    green = fleet.colors[Color.GREEN]
    assert (green.release, green.healthy, green.target_group_arn) == ("v2", 2, world.groups[Color.GREEN])
    assert green.group is not None
    assert (green.group.ami, green.group.desired) == (world.ami, 2)


def arns(world: World, **changes: str) -> Arns:
    """As the stack's outputs have them."""
    colors = {color: {"targetGroupArn": arn} for color, arn in world.groups.items()}
    found = Arns.from_outputs({"loadBalancerArn": world.balancer, "colors": colors} | changes)
    assert found
    return found


def test_a_stack_is_read_by_the_arns_of_its_outputs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    two_colors(world)
    by_tags = describe(STACK, world.session)
    monkeypatch.setattr(reading, "_load_balancer_by_tags", None)
    monkeypatch.setattr(reading, "_target_groups_by_tags", None)
    assert describe(STACK, world.session, arns(world)) == by_tags
    assert Arns.from_outputs({}) is None


def test_outputs_that_are_out_of_date_do_not_matter(world: World) -> None:
    two_colors(world)
    old = arns(world, loadBalancerArn=world.balancer.replace("/dev/", "/gone/"))
    assert describe(STACK, world.session, old) == describe(STACK, world.session)


def test_what_else_belongs_to_a_stack_is_told_by_the_balancer_and_the_target_groups(world: World) -> None:
    fleet = describe(STACK, world.session)
    assert fleet.tags == {"Stack": STACK, "ArtifactsBucket": BUCKET, "AlertsTopic": TOPIC, "Address": world.url}
    assert {side.health_path for side in fleet.colors.values()} == {"/health"}


def test_the_weights_of_this_moment_take_one_call(world: World) -> None:
    two_colors(world)
    fleet = describe(STACK, world.session)
    world.set_weights({Color.BLUE: 90, Color.GREEN: 10})
    assert fleet.weights == {Color.BLUE: 100, Color.GREEN: 0}
    assert live_weights(fleet, world.session) == {Color.BLUE: 90, Color.GREEN: 10}


def test_ill_machines_come_with_the_balancer_s_reason(world: World) -> None:
    two_colors(world)
    ill = world.machines_of(Color.GREEN)[0]["instance"]
    world.ill.add(ill)
    green = describe(STACK, world.session).colors[Color.GREEN]
    assert green.healthy == 1
    [machine] = [one for group in green.groups for one in group.instances if not one.is_healthy]
    assert (machine.id, machine.health) == (ill, "unhealthy")
    assert "Health checks failed with these codes: [503]" in machine.reason


def test_targets_that_no_group_holds_are_strays(world: World) -> None:
    two_colors(world)
    lost = world.ec2.run_instances(ImageId=world.ami, MinCount=1, MaxCount=1, SubnetId=world.subnets[0])
    id_ = lost["Instances"][0]["InstanceId"]
    world.elbv2.register_targets(TargetGroupArn=world.groups[Color.GREEN], Targets=[{"Id": id_}])
    assert describe(STACK, world.session).colors[Color.GREEN].unknown_targets == (id_,)


def test_before_the_first_release_nobody_serves(world: World) -> None:
    fleet = describe(STACK, world.session)
    assert (fleet.serving, fleet.live_rule_arn) == (None, "")
    assert not fleet.colors[Color.BLUE].is_on


def test_a_stack_that_is_not_there_is_named(aws: None, session: Any) -> None:
    with pytest.raises(NoSuchStack, match="no load balancer has the tag Stack=nope in eu-central-1"):
        describe("nope", session)

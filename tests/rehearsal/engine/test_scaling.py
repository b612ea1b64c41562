"""An Auto Scaling group is created when enough machines serve, and not a moment before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moto.elbv2.models import ELBv2Backend
from pulumi.automation.errors import CommandError

from rehearsal.engine.handlers.scaling import seconds

from .conftest import Traffic, Workshop

pytestmark = pytest.mark.usefixtures("warm")
Client = Callable[[str], Any]

FLEET = """
vpc = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16")
subnet = aws.ec2.Subnet("sub", vpc_id=vpc.id, cidr_block="10.0.1.0/24")
target = aws.lb.TargetGroup("tg", port=80, protocol="HTTP", vpc_id=vpc.id)
template = aws.ec2.LaunchTemplate("lt", image_id="ami-12c6146b", instance_type="t3.micro")
fleet = aws.autoscaling.Group("fleet", min_size=2, max_size=2, min_elb_capacity=2, wait_for_capacity_timeout="1s",
    force_delete=True, vpc_zone_identifiers=[subnet.id], target_group_arns=[target.arn],
    launch_template={"id": template.id, "version": template.latest_version.apply(str)},
    tags=[{"key": "Stack", "value": "test", "propagate_at_launch": True}])
"""


@pytest.fixture
def sick() -> Iterator[pytest.MonkeyPatch]:
    """Every target fails its health checks until this is undone."""
    patch = pytest.MonkeyPatch()
    describe = ELBv2Backend.describe_target_health

    def unhealthy(*args: Any, **kwargs: Any) -> Any:
        found = describe(*args, **kwargs)
        for each in found:
            each.status, each.description = "unhealthy", "Health checks failed with these codes: [503]"
        return found

    patch.setattr(ELBv2Backend, "describe_target_health", unhealthy)
    yield patch
    patch.undo()


def groups(aws: Client) -> list[str]:
    found = aws("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return [str(each["AutoScalingGroupName"]) for each in found]


def test_creation_waits_for_health_and_tells_the_last_reason(
    shop: Workshop, aws: Client, sick: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CommandError) as caught:
        shop.up(FLEET)
    assert "waited 1 s for capacity of Auto Scaling group fleet-" in str(caught.value)
    assert "0 of 2 machines healthy in the target group" in str(caught.value)
    assert "[503]" in str(caught.value)
    failed = groups(aws)
    assert len(failed) == 1

    sick.undo()
    assert shop.up() == {"replace": 1}
    assert len(groups(aws)) == 1
    assert groups(aws) != failed, "machines of a failed creation are not used again"
    shop.stack.destroy()
    assert groups(aws) == []


def test_a_group_is_emptied_before_it_is_deleted(shop: Workshop, traffic: Traffic) -> None:
    shop.up(FLEET)
    traffic.actions.clear()
    shop.stack.destroy()
    writes = traffic.writes()
    assert writes.index("UpdateAutoScalingGroup") < writes.index("DeleteAutoScalingGroup")
    assert writes.index("DeleteAutoScalingGroup") < writes.index("DeleteTargetGroup")


@pytest.mark.parametrize(
    ("text", "wanted"), [("10m", 600.0), ("1m30s", 90.0), ("0", 0.0), ("500ms", 0.5), ("1.5h", 5400.0)]
)
def test_durations_are_those_of_go(text: str, wanted: float) -> None:
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["", "10", "m", "10 m", "1x"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration like 10m"):
        seconds(text)

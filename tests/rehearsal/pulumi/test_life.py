"""Both committed stacks on the Pulumi CLI, from nothing to nothing: what each update may change."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import pulumi.automation as auto
import pytest

from checks.deployments import ALLOW_SHIFT
from rehearsal.cloud.client import CloudClient
from scripts.drift import look
from scripts.traffic import allowed
from tests.rehearsal.cloud.fleet import Running
from tests.rehearsal.pulumi.front import Front

from .conftest import OpenStack

LOG = logging.getLogger(__name__)
LIFE_LIMIT_S = 1500  # with AWS's own plugin
pytestmark = [pytest.mark.engine, pytest.mark.timeout(LIFE_LIMIT_S)]


class Life:
    """One stack, and how long each of its runs took."""

    def __init__(self, stack: auto.Stack, cloud: Running) -> None:
        self.stack, self.cloud = stack, cloud
        self.seconds: list[tuple[str, float]] = []

    def set(self, key: str, value: str) -> None:
        self.set_all({key: value})

    def set_all(self, values: Mapping[str, str]) -> None:
        """By one run of the CLI."""
        self.stack.set_all_config({key: auto.ConfigValue(value) for key, value in values.items()}, path=True)

    def deliver(self, color: str, release: str) -> None:
        bucket = self.stack.outputs()["artifactsBucket"].value
        image = self.cloud.client("ec2").describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
        self.set_all(color_config(color, release, image, f"s3://{bucket}/releases/{release}/bundle.tar.gz"))

    def up(self, what: str) -> dict[str, int]:
        """What changed, by kind of change."""
        started = time.monotonic()
        changes = self.stack.up().summary.resource_changes
        self.seconds.append((what, round(time.monotonic() - started, 1)))
        return touched(changes)

    def preview(self, what: str) -> dict[str, int]:
        started = time.monotonic()
        changes = self.stack.preview().change_summary
        self.seconds.append((f"preview: {what}", round(time.monotonic() - started, 1)))
        return touched(changes)

    def refused(self) -> str:
        with pytest.raises(auto.CommandError) as caught:
            self.stack.up()
        return str(caught.value)

    def weights(self) -> dict[str, int]:
        elb = self.cloud.client("elbv2")
        arn = self.stack.outputs()["liveRuleArn"].value
        groups = elb.describe_rules(RuleArns=[arn])["Rules"][0]["Actions"][0]["ForwardConfig"]["TargetGroups"]
        names = {found["targetGroupArn"]: color for color, found in self.stack.outputs()["colors"].value.items()}
        return {names[group["TargetGroupArn"]]: group["Weight"] for group in groups}

    def groups(self) -> list[str]:
        found = self.cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
        return sorted(group["AutoScalingGroupName"].rpartition("-")[0] for group in found)


def color_config(color: str, release: str, image: str, url: str) -> dict[str, str]:
    values = {"release": release, "releaseUrl": url, "sha256": "0" * 64, "amiId": image}
    return {f"{color}.{key}": value for key, value in values.items()}


def both_colors(life: Life) -> None:
    image = life.cloud.client("ec2").describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
    for color, release in (("blue", "v1"), ("green", "v2")):
        life.set_all(color_config(color, release, image, f"https://releases.example/{release}.tar.gz"))


def touched(changes: Mapping[Any, int] | None) -> dict[str, int]:
    return {
        str(getattr(op, "value", op)): count for op, count in (changes or {}).items() if str(op) not in ("same", "read")
    }


def drifted(stack: auto.Stack) -> dict[str, bool]:
    """What hands changed, by name, and whether it is gone."""
    found, _ = look(stack)
    return {each.name: each.gone for each in found}


def changed_by_hand(life: Life) -> None:
    """A weight, a rule of a security group, a tag, an alarm."""
    outputs = life.stack.outputs()
    elb, ec2 = life.cloud.client("elbv2"), life.cloud.client("ec2")
    (rule,) = elb.describe_rules(RuleArns=[outputs["liveRuleArn"].value])["Rules"]
    forward = rule["Actions"][0]["ForwardConfig"]
    half = [group | {"Weight": 50} for group in forward["TargetGroups"]]
    action = {"Type": "forward", "ForwardConfig": forward | {"TargetGroups": half}}
    elb.modify_rule(RuleArn=rule["RuleArn"], Actions=[action])
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    (group,) = balancer["SecurityGroups"]
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
    way_in = [each["SecurityGroupRuleId"] for each in rules if not each["IsEgress"]]
    ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=way_in)
    ec2.delete_tags(Resources=[outputs["vpcId"].value], Tags=[{"Key": "Stack"}])
    life.cloud.client("cloudwatch").delete_alarms(AlarmNames=[outputs["loadBalancerAlarm"].value])


def from_nothing(life: Life) -> None:
    planned = life.preview("from nothing")
    assert life.up("from nothing") == planned
    assert set(planned) == {"create"}


def two_deliveries(life: Life) -> None:
    for color, release in (("blue", "v1"), ("green", "v2")):
        life.deliver(color, release)
        changes = life.up(f"deployment of {release}")
        assert set(changes) == {"create", "update"}
        assert changes["update"] == 1  # the dashboard names the releases


def to_nothing(life: Life) -> None:
    life.set_all({"protect": "false", "forceDestroy": "true"})
    life.up("without protection")
    life.stack.destroy()
    LOG.info("%s, seconds: %s", life.stack.name, life.seconds)  # --log-cli-level=info shows them
    deployment = life.stack.export_stack().deployment
    assert deployment is not None
    assert deployment.get("resources", []) == []


def test_dev_from_nothing_to_a_cutover_and_to_nothing_again(
    stack: OpenStack, cloud: Running, front: Front, calls: CloudClient
) -> None:
    life = Life(stack("dev"), cloud)
    from_nothing(life)
    two_deliveries(life)
    before = calls.write_calls()
    assert life.up("unchanged") == {}
    assert calls.write_calls() == before

    life.set("activeColor", "green")
    assert life.up("cutover") == {"update": 1}
    assert calls.write_calls() == before + 1
    assert life.weights() == {"blue": 0, "green": 100}
    life.set("canaryPercent", "5")
    assert life.up("canary") == {"update": 1}
    assert life.weights() == {"blue": 5, "green": 95}
    life.set_all({"canaryPercent": "0", "activeColor": "blue"})
    assert life.up("rollback") == {"update": 1}
    assert life.weights() == {"blue": 100, "green": 0}

    front.broken.add("green")
    life.set("activeColor", "green")
    assert 'before hook "gate-before-users" failed: green is not fit for users' in life.refused()
    assert life.weights() == {"blue": 100, "green": 0}
    life.set("activeColor", "blue")
    front.broken.clear()
    life.deliver("blue", "v9")
    assert "blue serves users with release v1" in life.refused()
    life.deliver("blue", "v1")

    serving = life.groups()[0]
    life.deliver("green", "v3")
    assert set(life.up("another release on the idle color")) <= {"replace", "update", "create-replacement"}
    assert life.groups() == [serving, "dev-green-v3"]

    assert drifted(life.stack) == {}
    changed_by_hand(life)
    assert drifted(life.stack) == {
        "live": False,
        f"web-in-{front.port}-0.0.0.0/0": True,
        "network": False,
        "web-alarms-errors": True,
    }
    with pytest.raises(auto.CommandError, match=r"no changes were expected .*but changes were proposed"):
        life.stack.preview(refresh=True, expect_no_changes=True)
    # Nobody asked for other traffic weights: those that hands set are for a person to decide on.
    with pytest.raises(auto.CommandError, match="AWS sends blue 50 % and green 50 % of the traffic"):
        life.stack.up(refresh=True)
    assert life.weights() == {"blue": 50, "green": 50}
    with allowed(ALLOW_SHIFT):
        life.stack.up(refresh=True)
    assert drifted(life.stack) == {}
    assert life.weights() == {"blue": 100, "green": 0}
    to_nothing(life)


def test_prod_from_nothing_to_a_cutover_and_to_nothing_again(stack: OpenStack, cloud: Running) -> None:
    """With both releases from its first update on: that each is delivered by an update of its own, dev shows."""
    life = Life(stack("prod"), cloud)
    both_colors(life)
    from_nothing(life)
    life.set("activeColor", "green")
    assert life.up("cutover") == {"update": 1}
    assert life.weights() == {"blue": 0, "green": 100}
    life.stack.preview(refresh=True, expect_no_changes=True)
    to_nothing(life)

"""Lifecycle of both committed stacks on the Pulumi CLI: what each update may change, from creation to destruction."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import pulumi.automation as auto
import pytest

from fleet.deployments import ALLOW_SHIFT
from rehearsal.cloud.client import CloudClient
from scripts.rollout.traffic import allowed
from scripts.stack.drift import detect_drift
from tests.rehearsal.cloud.fleet import Running
from tests.rehearsal.pulumi.load_balancer_stub import LoadBalancerStub

from .conftest import OpenStack

LOG = logging.getLogger(__name__)
TIMEOUT_S = 1500  # with AWS's own plugin
pytestmark = [pytest.mark.engine, pytest.mark.timeout(TIMEOUT_S)]


class StackLifecycle:
    """One stack, and the duration of each of its runs."""

    def __init__(self, stack: auto.Stack, cloud: Running) -> None:
        self.stack, self.cloud = stack, cloud
        self.seconds: list[tuple[str, float]] = []

    def set(self, key: str, value: str) -> None:
        self.set_all({key: value})

    def set_all(self, values: Mapping[str, str]) -> None:
        """By one run of the CLI."""
        self.stack.set_all_config({key: auto.ConfigValue(value) for key, value in values.items()}, path=True)

    def deploy(self, color: str, release: str) -> None:
        bucket = self.stack.outputs()["artifactsBucket"].value
        image = self.cloud.client("ec2").describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
        self.set_all(color_config(color, release, image, f"s3://{bucket}/releases/{release}/bundle.tar.gz"))

    def up(self, what: str) -> dict[str, int]:
        """Number of changes by kind."""
        started = time.monotonic()
        changes = self.stack.up().summary.resource_changes
        self.seconds.append((what, round(time.monotonic() - started, 1)))
        return changed_counts(changes)

    def preview(self, what: str) -> dict[str, int]:
        started = time.monotonic()
        changes = self.stack.preview().change_summary
        self.seconds.append((f"preview: {what}", round(time.monotonic() - started, 1)))
        return changed_counts(changes)

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


def both_colors(lifecycle: StackLifecycle) -> None:
    image = lifecycle.cloud.client("ec2").describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
    for color, release in (("blue", "v1"), ("green", "v2")):
        lifecycle.set_all(color_config(color, release, image, f"https://releases.example/{release}.tar.gz"))


def changed_counts(changes: Mapping[Any, int] | None) -> dict[str, int]:
    return {
        str(getattr(op, "value", op)): count for op, count in (changes or {}).items() if str(op) not in ("same", "read")
    }


def drift_of(stack: auto.Stack) -> dict[str, bool]:
    """Manually changed resources by name, and whether they were deleted."""
    found, _ = detect_drift(stack)
    return {each.name: each.gone for each in found}


def change_manually(lifecycle: StackLifecycle) -> None:
    """Change a weight, a security group rule, a tag and an alarm."""
    outputs = lifecycle.stack.outputs()
    elb, ec2 = lifecycle.cloud.client("elbv2"), lifecycle.cloud.client("ec2")
    (rule,) = elb.describe_rules(RuleArns=[outputs["liveRuleArn"].value])["Rules"]
    forward = rule["Actions"][0]["ForwardConfig"]
    half = [group | {"Weight": 50} for group in forward["TargetGroups"]]
    action = {"Type": "forward", "ForwardConfig": forward | {"TargetGroups": half}}
    elb.modify_rule(RuleArn=rule["RuleArn"], Actions=[action])
    (load_balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    (group,) = load_balancer["SecurityGroups"]
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
    ingress = [each["SecurityGroupRuleId"] for each in rules if not each["IsEgress"]]
    ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=ingress)
    ec2.delete_tags(Resources=[outputs["vpcId"].value], Tags=[{"Key": "Stack"}])
    lifecycle.cloud.client("cloudwatch").delete_alarms(AlarmNames=[outputs["loadBalancerAlarm"].value])


def from_nothing(lifecycle: StackLifecycle) -> None:
    planned = lifecycle.preview("from nothing")
    assert lifecycle.up("from nothing") == planned
    assert set(planned) == {"create"}


def two_deployments(lifecycle: StackLifecycle) -> None:
    for color, release in (("blue", "v1"), ("green", "v2")):
        lifecycle.deploy(color, release)
        changes = lifecycle.up(f"deployment of {release}")
        assert set(changes) == {"create", "update"}
        assert changes["update"] == 1  # the dashboard names the releases


def to_nothing(lifecycle: StackLifecycle) -> None:
    lifecycle.set_all({"protect": "false", "forceDestroy": "true"})
    lifecycle.up("without protection")
    lifecycle.stack.destroy()
    LOG.info("%s, seconds: %s", lifecycle.stack.name, lifecycle.seconds)  # --log-cli-level=info shows them
    deployment = lifecycle.stack.export_stack().deployment
    assert deployment is not None
    assert deployment.get("resources", []) == []


def test_dev_from_creation_to_a_cutover_and_destruction(
    stack: OpenStack, cloud: Running, load_balancer: LoadBalancerStub, calls: CloudClient
) -> None:
    lifecycle = StackLifecycle(stack("dev"), cloud)
    from_nothing(lifecycle)
    two_deployments(lifecycle)
    before = calls.write_calls()
    assert lifecycle.up("unchanged") == {}
    assert calls.write_calls() == before

    lifecycle.set("activeColor", "green")
    assert lifecycle.up("cutover") == {"update": 1}
    assert calls.write_calls() == before + 1
    assert lifecycle.weights() == {"blue": 0, "green": 100}
    lifecycle.set("canaryPercent", "5")
    assert lifecycle.up("canary") == {"update": 1}
    assert lifecycle.weights() == {"blue": 5, "green": 95}
    lifecycle.set_all({"canaryPercent": "0", "activeColor": "blue"})
    assert lifecycle.up("rollback") == {"update": 1}
    assert lifecycle.weights() == {"blue": 100, "green": 0}

    load_balancer.broken.add("green")
    revision = lifecycle.stack.get_config("bluegreen:revision").value
    lifecycle.set("activeColor", "green")
    assert 'before hook "gate-before-users" failed: green is not ready for traffic' in lifecycle.refused()
    assert lifecycle.weights() == {"blue": 100, "green": 0}
    assert lifecycle.stack.get_config("bluegreen:revision").value == revision  # it moved nothing
    lifecycle.set("activeColor", "blue")
    load_balancer.broken.clear()
    cloud.client("elbv2").delete_rule(RuleArn=lifecycle.stack.outputs()["liveRuleArn"].value)
    lifecycle.stack.up(refresh=True)
    assert lifecycle.weights() == {"blue": 100, "green": 0}
    lifecycle.deploy("blue", "v9")
    assert "blue is live with release v1" in lifecycle.refused()
    lifecycle.deploy("blue", "v1")

    serving = lifecycle.groups()[0]
    lifecycle.deploy("green", "v3")
    assert set(lifecycle.up("another release on the idle color")) <= {"replace", "update", "create-replacement"}
    assert lifecycle.groups() == [serving, "dev-green-v3"]

    assert drift_of(lifecycle.stack) == {}
    change_manually(lifecycle)
    assert drift_of(lifecycle.stack) == {
        "live": False,
        f"web-in-{load_balancer.port}-0.0.0.0/0": True,
        "network": False,
        "web-alarms-errors": True,
    }
    with pytest.raises(auto.CommandError, match=r"no changes were expected .*but changes were proposed"):
        lifecycle.stack.preview(refresh=True, expect_no_changes=True)
    # The config has the same weights as before: an operator has to decide on the manually set ones.
    with pytest.raises(auto.CommandError, match="AWS sends blue 50 % and green 50 % of the traffic"):
        lifecycle.stack.up(refresh=True)
    assert lifecycle.weights() == {"blue": 50, "green": 50}
    with allowed(ALLOW_SHIFT):
        lifecycle.stack.up(refresh=True)
    assert drift_of(lifecycle.stack) == {}
    assert lifecycle.weights() == {"blue": 100, "green": 0}
    to_nothing(lifecycle)


def test_prod_from_creation_to_a_cutover_and_destruction(stack: OpenStack, cloud: Running) -> None:
    """With both releases in the first update; the test of dev deploys each with an update of its own."""
    lifecycle = StackLifecycle(stack("prod"), cloud)
    both_colors(lifecycle)
    from_nothing(lifecycle)
    lifecycle.set("activeColor", "green")
    assert lifecycle.up("cutover") == {"update": 1}
    assert lifecycle.weights() == {"blue": 0, "green": 100}
    lifecycle.stack.preview(refresh=True, expect_no_changes=True)
    to_nothing(lifecycle)

"""Each kind of resource goes through its whole life against the emulator."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import ConfigValue

from rehearsal.engine import Stack
from rehearsal.engine.cloud import Cloud
from rehearsal.engine.handlers import handler_for
from rehearsal.engine.handlers.base import Handler
from rehearsal.engine.handlers.security_groups import DefaultSecurityGroup
from rehearsal.engine.state import State

from .conftest import Traffic, counts

pytestmark = pytest.mark.usefixtures("warm")
GALLERY = Path(__file__).parent / "gallery"
Client = Callable[[str], Any]


@pytest.fixture
def gallery(tmp_path: Path, aws: Client) -> Stack:
    zone = aws("route53").create_hosted_zone(Name="example.org", CallerReference="gallery")["HostedZone"]
    stack = Stack("test", project=GALLERY, state_dir=tmp_path)
    stack.set_config("zone", ConfigValue(zone["Id"].rpartition("/")[2]))
    return stack


def up(stack: Stack, variant: str) -> dict[str, int]:
    stack.set_config("variant", ConfigValue(variant))
    return counts(stack.up().summary.resource_changes)


def forget(stack: Stack, *names_or_urns: str) -> None:
    """Leave the state as a run leaves it that was killed while it made these resources."""
    path = stack.folder / "state.json"
    data = json.loads(path.read_text())
    known = [each for each in data["resources"] if each["custom"]]
    for lost in [each for each in known if each["name"] in names_or_urns or each["urn"] in names_or_urns]:
        data["resources"].remove(lost)
        data["begun"][lost["urn"]] = {"provider": lost["provider"], "inputs": lost["inputs"]}
    path.write_text(json.dumps(data))


def outputs(stack: Stack) -> dict[str, Any]:
    return {key: each.value for key, each in stack.outputs().items()}


def left(aws: Client) -> list[str]:
    """What a destroyed gallery could leave, beside what each account has by itself."""
    ec2 = aws("ec2")
    found = [each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"] if not each["IsDefault"]]
    found += [each["GroupName"] for each in ec2.describe_security_groups()["SecurityGroups"]]
    found += [each["LaunchTemplateName"] for each in ec2.describe_launch_templates()["LaunchTemplates"]]
    found += [each["PublicIp"] for each in ec2.describe_addresses()["Addresses"]]
    running = [{"Name": "instance-state-name", "Values": ["running", "pending"]}]
    found += [str(each) for each in ec2.describe_instances(Filters=running)["Reservations"]]
    found += [each["FlowLogId"] for each in ec2.describe_flow_logs()["FlowLogs"]]
    found += [each["Name"] for each in aws("s3").list_buckets()["Buckets"]]
    found += [each["RoleName"] for each in aws("iam").list_roles()["Roles"]]
    found += [each["InstanceProfileName"] for each in aws("iam").list_instance_profiles()["InstanceProfiles"]]
    found += [each["LoadBalancerName"] for each in aws("elbv2").describe_load_balancers()["LoadBalancers"]]
    found += [each["TargetGroupName"] for each in aws("elbv2").describe_target_groups()["TargetGroups"]]
    groups = aws("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    found += [each["AutoScalingGroupName"] for each in groups]
    found += [each["TopicArn"] for each in aws("sns").list_topics()["Topics"]]
    found += [each["repositoryName"] for each in aws("ecr").describe_repositories()["repositories"]]
    found += [each["logGroupName"] for each in aws("logs").describe_log_groups()["logGroups"]]
    found += [each["AlarmName"] for each in aws("cloudwatch").describe_alarms()["MetricAlarms"]]
    found += [each["Name"] for each in aws("events").list_rules()["Rules"]]
    found += [each["Name"] for each in aws("ssm").describe_parameters()["Parameters"]]
    return [each for each in found if each != "default"]


def test_what_a_killed_creation_left_is_found_for_every_kind(gallery: Stack) -> None:
    up(gallery, "first")
    cloud = Cloud({"region": "us-east-1"})
    lost = [
        each.urn
        for each in State(gallery.folder / "state.json").all()
        if each.custom and not each.type.startswith("pulumi:")
        if finds(handler := handler_for(each.type)) and each.id not in handler.find(cloud, each.plain_inputs)
    ]
    assert lost == []


def test_what_nothing_needs_is_made_again_after_a_kill(gallery: Stack, aws: Client) -> None:
    """All at once, which takes one run; what others need can't be half-made while they stand."""
    up(gallery, "first")
    every = [
        each for each in State(gallery.folder / "state.json").all() if each.custom and ":providers:" not in each.type
    ]
    needed = {urn for each in every for urn in each.needs()}
    # moto refuses a record that it once had while any other with a later name stands.
    leaves = [each.urn for each in every if each.urn not in needed and each.name != "www"]
    forget(gallery, *leaves)
    assert up(gallery, "first")["create"] == len(leaves) > 20
    gallery.destroy()
    assert left(aws) == []


def finds(handler: Handler) -> bool:
    """Of other kinds nothing can be left: to make them again is to take them over."""
    return type(handler).find is not Handler.find and not isinstance(handler, DefaultSecurityGroup)


def test_the_whole_life_of_every_kind(gallery: Stack, aws: Client, traffic: Traffic) -> None:
    first = up(gallery, "first")
    assert set(first) == {"create"}
    check_first(outputs(gallery), aws)

    traffic.actions.clear()
    assert set(up(gallery, "first")) == {"same"}
    assert traffic.writes() == []

    names = {key: outputs(gallery)[key] for key in ("vpc", "bucket", "targets", "fleet", "balancer")}
    changed = up(gallery, "changed")
    assert (set(changed), changed["update"]) == ({"same", "update"}, 47)
    check_changed(outputs(gallery), aws)
    assert {key: outputs(gallery)[key]["arn"] for key in ("bucket", "fleet", "balancer")} == {
        key: names[key]["arn"] for key in ("bucket", "fleet", "balancer")
    }

    forget(gallery, "fleet", "alerts", "note", "setting")
    again = up(gallery, "changed")
    assert again["create"] == 4
    assert len(aws("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]) == 1

    replaced = up(gallery, "replaced")
    assert replaced["replace"] > 35
    check_replaced(outputs(gallery), names, aws)
    assert set(up(gallery, "replaced")) == {"same"}

    gallery.destroy()
    assert left(aws) == []


def check_first(found: dict[str, Any], aws: Client) -> None:
    """Outputs are what the real provider answers: scripts and other resources use them."""
    account = "123456789012"
    assert found["vpc"]["arn"] == f"arn:aws:ec2:us-east-1:{account}:vpc/{found['vpc']['id']}"
    assert found["vpc"]["tags"] == {"Project": "gallery", "Variant": "first"}
    assert found["bucket"]["domain"] == f"{found['bucket']['name']}.s3.us-east-1.amazonaws.com"
    assert found["role"]["arn"] == f"arn:aws:iam::{account}:role/a/{found['role']['name']}"
    assert found["targets"]["blue"].endswith(found["suffix"])
    assert found["template"]["version"] == 1
    assert found["template"]["name"].startswith("gallery-a-")
    assert found["parameter"] == {"arn": f"arn:aws:ssm:us-east-1:{account}:parameter/gallery/a", "version": 1}
    assert found["fqdn"] == "a.example.org"
    assert found["endpoint"]["list"].startswith("pl-")
    groups = aws("ec2").describe_security_groups(
        Filters=[{"Name": "vpc-id", "Values": [found["vpc"]["id"]]}, {"Name": "group-name", "Values": ["default"]}]
    )
    assert groups["SecurityGroups"][0]["IpPermissions"] == groups["SecurityGroups"][0]["IpPermissionsEgress"] == []
    assert weights(aws, found) == {found["targets"]["blue"]: 100, found["targets"]["green"]: 0}
    versions = aws("ec2").describe_launch_template_versions(LaunchTemplateId=found["template"]["id"])
    data = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True


def check_changed(found: dict[str, Any], aws: Client) -> None:
    assert weights(aws, found) == {found["targets"]["blue"]: 0, found["targets"]["green"]: 100}
    assert found["template"]["version"] == 2
    assert found["rule"]["priority"] == 101
    fleet = aws("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[found["fleet"]["name"]])
    assert fleet["AutoScalingGroups"][0]["MaxSize"] == 3
    assert {"Variant": "changed"}.items() <= {
        tag["Key"]: tag["Value"] for tag in fleet["AutoScalingGroups"][0]["Tags"]
    }.items()
    delay = aws("elbv2").describe_target_group_attributes(TargetGroupArn=found["targets"]["blue"])
    assert {"Key": "deregistration_delay.timeout_seconds", "Value": "10"} in delay["Attributes"]
    assert aws("s3").get_bucket_tagging(Bucket=found["bucket"]["name"])["TagSet"] == [
        {"Key": "Project", "Value": "gallery"},
        {"Key": "Variant", "Value": "changed"},
    ]
    assert aws("ssm").get_parameter(Name="/gallery/a")["Parameter"]["Value"] == "changed"


def check_replaced(found: dict[str, Any], before: dict[str, Any], aws: Client) -> None:
    for key in ("vpc", "bucket", "fleet", "balancer"):
        assert found[key]["arn"] != before[key]["arn"]
    old = aws("elbv2").describe_target_groups()["TargetGroups"]
    assert {each["TargetGroupArn"] for each in old} == set(found["targets"].values())
    assert [each["Name"] for each in aws("s3").list_buckets()["Buckets"] if "files" in each["Name"]] == [
        found["bucket"]["name"]
    ]


def weights(aws: Client, found: dict[str, Any]) -> dict[str, int]:
    rule = aws("elbv2").describe_rules(RuleArns=[found["rule"]["arn"]])["Rules"][0]
    groups = rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
    return {each["TargetGroupArn"]: int(each["Weight"]) for each in groups}

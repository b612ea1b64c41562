"""Launch templates, Auto Scaling groups and scaling policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .client import CallError, CheckError, Client, Resource
from .conftest import IMAGE, Traffic

Aws = Callable[[str], Any]
CPU = {"predefinedMetricSpecification": {"predefinedMetricType": "ASGAverageCPUUtilization"}, "targetValue": 60.0}


@pytest.fixture
def template(provider: Client, vpc: Resource) -> Resource:
    return provider.create(
        "aws:ec2:LaunchTemplate",
        "template",
        imageId=IMAGE,
        instanceType="t3.micro",
        metadataOptions={"httpTokens": "required", "httpEndpoint": "enabled", "httpPutResponseHopLimit": 2},
        blockDeviceMappings=[{"deviceName": "/dev/xvda", "ebs": {"volumeSize": 8, "encrypted": "true"}}],
        tagSpecifications=[{"resourceType": "instance", "tags": {"Stack": "test"}}],
        updateDefaultVersion=True,
    )


@pytest.fixture
def targets(provider: Client, vpc: Resource) -> Resource:
    return provider.create("aws:lb:TargetGroup", "targets", port=80, protocol="HTTP", vpcId=vpc.id)


@pytest.fixture
def fleet(provider: Client, subnet: Resource, template: Resource, targets: Resource) -> Resource:
    return provider.create(
        "aws:autoscaling:Group",
        "fleet",
        minSize=2,
        maxSize=2,
        waitForCapacityTimeout="0",
        enabledMetrics=["GroupInServiceInstances"],
        vpcZoneIdentifiers=[subnet.id],
        targetGroupArns=[targets.id],
        launchTemplate={"id": template.id, "version": str(template["latestVersion"])},
        tags=[{"key": "Stack", "value": "test", "propagateAtLaunch": True}],
    )


def group(aws: Aws) -> dict[str, Any]:
    (found,) = aws("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return dict(found)


def newest(aws: Aws, template: Resource) -> dict[str, Any]:
    query = {"LaunchTemplateId": template.id, "Versions": ["$Latest"]}
    (found,) = aws("ec2").describe_launch_template_versions(**query)["LaunchTemplateVersions"]
    return dict(found["LaunchTemplateData"])


def test_a_launch_template_is_created_as_declared(provider: Client, aws: Aws, template: Resource) -> None:
    assert (template["latestVersion"], template["name"][:9]) == (1, "template-")
    data = newest(aws, template)
    assert (data["ImageId"], data["InstanceType"]) == (IMAGE, "t3.micro")
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    assert (provider.update(template), provider.refresh(template)) == ({}, {})


def test_a_change_is_a_new_version_whose_number_is_unknown_in_a_preview(
    provider: Client, aws: Aws, template: Resource
) -> None:
    previewed = provider.preview_update(template, instanceType="t3.small")
    assert repr(previewed["latestVersion"]) == "output<unknown>"
    assert provider.update(template, instanceType="t3.small") == {"instanceType": "update"}
    assert template["latestVersion"] == 2
    (found,) = aws("ec2").describe_launch_templates(LaunchTemplateIds=[template.id])["LaunchTemplates"]
    assert found["DefaultVersionNumber"] == 2
    assert newest(aws, template)["InstanceType"] == "t3.small"


def test_a_manually_created_version_is_followed_by_the_declared_one(
    provider: Client, aws: Aws, template: Resource
) -> None:
    data = newest(aws, template) | {"InstanceType": "m5.24xlarge"}
    aws("ec2").create_launch_template_version(LaunchTemplateId=template.id, LaunchTemplateData=data)
    assert provider.refresh(template) == {"instanceType": "update"}
    provider.update(template)
    assert (newest(aws, template)["InstanceType"], provider.refresh(template)) == ("t3.micro", {})


def test_a_group_is_created_as_declared(provider: Client, aws: Aws, fleet: Resource, targets: Resource) -> None:
    found = group(aws)
    assert (fleet.id, fleet["arn"]) == (found["AutoScalingGroupName"], found["AutoScalingGroupARN"])
    assert (found["MinSize"], found["MaxSize"], found["TargetGroupARNs"]) == (2, 2, [targets.id])
    assert [each["Metric"] for each in found["EnabledMetrics"]] == ["GroupInServiceInstances"]
    assert (provider.update(fleet), provider.refresh(fleet)) == ({}, {})


def test_a_group_changes_in_place_and_keeps_its_desired_capacity(provider: Client, aws: Aws, fleet: Resource) -> None:
    provider.update(fleet, maxSize=4, tags=[{"key": "Stack", "value": "new", "propagateAtLaunch": False}])
    aws("autoscaling").set_desired_capacity(AutoScalingGroupName=fleet.id, DesiredCapacity=3)
    assert provider.refresh(fleet) == {}
    assert provider.update(fleet, maxSize=5) == {"maxSize": "update"}
    found = group(aws)
    assert (found["DesiredCapacity"], found["MaxSize"]) == (3, 5)
    assert [(tag["Key"], tag["Value"]) for tag in found["Tags"]] == [("Stack", "new")]


def test_manual_changes_to_a_group_are_reverted(provider: Client, aws: Aws, fleet: Resource) -> None:
    aws("autoscaling").update_auto_scaling_group(AutoScalingGroupName=fleet.id, MaxSize=9)
    tag = {"ResourceId": fleet.id, "ResourceType": "auto-scaling-group", "Key": "Stack"}
    aws("autoscaling").delete_tags(Tags=[tag])
    assert provider.refresh(fleet) == {"maxSize": "update", "tags": "update"}
    provider.update(fleet)
    assert (group(aws)["MaxSize"], provider.refresh(fleet)) == (2, {})


def test_a_group_is_emptied_before_it_is_deleted(
    provider: Client, aws: Aws, fleet: Resource, targets: Resource, traffic: Traffic
) -> None:
    traffic.forget()
    provider.delete(fleet)
    assert traffic.writes == ["UpdateAutoScalingGroup", "DeleteAutoScalingGroup"]
    assert aws("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []
    assert provider.refresh(fleet) is None


def test_a_scaling_policy_is_created_updated_and_deleted(provider: Client, aws: Aws, fleet: Resource) -> None:
    policy = provider.create(
        "aws:autoscaling:Policy",
        "busy",
        autoscalingGroupName=fleet.id,
        policyType="TargetTrackingScaling",
        targetTrackingConfiguration=CPU,
    )
    assert provider.refresh(policy) == {}
    other = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"}, "TargetValue": 10.0}
    aws("autoscaling").put_scaling_policy(
        AutoScalingGroupName=fleet.id,
        PolicyName=policy.id,
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration=other,
    )
    assert provider.refresh(policy) == {"targetTrackingConfiguration.targetValue": "update"}
    provider.update(policy, targetTrackingConfiguration=CPU | {"targetValue": 50})
    (found,) = aws("autoscaling").describe_policies()["ScalingPolicies"]
    assert found["TargetTrackingConfiguration"]["TargetValue"] == 50.0
    provider.delete(policy)
    assert provider.refresh(policy) is None


def test_a_group_with_a_missing_image_is_refused(provider: Client, aws: Aws, subnet: Resource) -> None:
    missing = "ami-0123456789abcdef0"
    template = provider.create("aws:ec2:LaunchTemplate", "template", imageId=missing, instanceType="t3.micro")
    message = rf"You must use a valid fully-formed launch template\. The image id '\[{missing}\]' does not exist$"
    with pytest.raises(CallError, match=message):
        provider.create(
            "aws:autoscaling:Group",
            "fleet",
            minSize=1,
            maxSize=1,
            waitForCapacityTimeout="0",
            vpcZoneIdentifiers=[subnet.id],
            launchTemplate={"id": template.id, "version": str(template["latestVersion"])},
        )
    assert aws("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []


def test_waiting_for_capacity_is_refused(provider: Client, fleet: Resource) -> None:
    with pytest.raises(CheckError, match=r"^waitForCapacityTimeout: 10m: allowed is 0"):
        provider.diff(fleet, waitForCapacityTimeout="10m")

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pulumi
from pulumi_aws import lb

from ami.boot.user_data import App, Release, UserData
from components.color import ColorFleet, FleetArgs, FleetHooks, Targets
from config.colors import ColorSettings
from config.settings import AppSettings, InstanceSettings
from fleet.colors import Color
from tests.declared import CONTEXT, Declaration, declare

DATA = UserData(
    stack="dev",
    color="blue",
    release=Release(version="v1", url="https://host/v1.tgz"),
    app=App(port=8080, health_path="/health", boot_timeout=300, drain_timeout=30),
    parameter_path="/bluegreen/dev/app/",
)
TAGS = {
    "Name": "dev-blue-v1",
    "Stack": "dev",
    "Color": "blue",
    "Release": "v1",
    "ReleaseUrl": "https://host/v1.tgz",
    "Ami": "ami-12345678",
}
INSTANCE_TAGS = {"Project": "bluegreen", **TAGS}


def targets(color: Color = Color.BLUE) -> Declaration:
    return declare(lambda: Targets(color, CONTEXT, AppSettings(), color, "vpc-1"))


def fleet(version: str = "v1", **instances: Any) -> Declaration:
    own = ColorSettings(version=version, url="https://host/v1.tgz", ami="ami-12345678", min_size=2, max_size=4)

    def program() -> None:
        args = FleetArgs(
            user_data=DATA,
            target_group_arn="arn:blue",
            subnet_ids=["subnet-1", "subnet-2"],
            security_group_id="sg-1",
            profile_arn="arn:profile",
            hooks=FleetHooks(
                guard=pulumi.ResourceHook("guard", lambda args: None),
                capacity=pulumi.ResourceHook("capacity", lambda args: None),
            ),
            preview_rules=[preview_rule()],
        )
        context = replace(CONTEXT, tags={"Project": "bluegreen"})
        ColorFleet("blue-fleet", context, Color.BLUE, own, AppSettings(), InstanceSettings(**instances), args)

    return declare(program)


def preview_rule() -> lb.ListenerRule:
    action = lb.ListenerRuleActionArgs(type="forward", target_group_arn="arn:blue")
    condition = lb.ListenerRuleConditionArgs(path_pattern=lb.ListenerRuleConditionPathPatternArgs(values=["/"]))
    return lb.ListenerRule("preview", listener_arn="arn:listener", actions=[action], conditions=[condition])


def test_a_color_that_is_off_is_a_target_group() -> None:
    declared = targets()
    assert declared.table() == {("lb.TargetGroup", "blue")}
    assert declared.components() == {"blue": "bluegreen:color:Targets"}
    assert declared.one("lb.TargetGroup").inputs == {
        "deregistrationDelay": 30,
        "healthCheck": {
            "path": "/health",
            "matcher": "200",
            "interval": 5,
            "timeout": 4,
            "healthyThreshold": 2,
            "unhealthyThreshold": 2,
        },
        "port": 8080,
        "protocol": "HTTP",
        "tags": {"Stack": "dev", "Color": "blue"},
        "targetType": "instance",
        "vpcId": "vpc-1",
    }


def test_a_release_is_a_template_a_group_and_a_policy() -> None:
    declared = fleet()
    assert declared.table() - {("lb.ListenerRule", "preview")} == {
        ("ec2.LaunchTemplate", "blue-fleet"),
        ("autoscaling.Group", "blue-fleet"),
        ("autoscaling.Policy", "blue-fleet-cpu"),
    }


def test_the_template_makes_machines_with_imdsv2_only_and_an_encrypted_volume() -> None:
    assert fleet().one("ec2.LaunchTemplate").inputs == {
        "blockDeviceMappings": [
            {
                "deviceName": "/dev/xvda",
                "ebs": {"volumeSize": 16, "volumeType": "gp3", "encrypted": "true", "deleteOnTermination": "true"},
            }
        ],
        "iamInstanceProfile": {"arn": "arn:profile"},
        "imageId": "ami-12345678",
        "instanceType": "t3.small",
        "metadataOptions": {
            "httpEndpoint": "enabled",
            "httpTokens": "required",
            "httpPutResponseHopLimit": 1,
            "instanceMetadataTags": "enabled",
        },
        "namePrefix": "dev-blue-v1-",
        "tagSpecifications": [
            {"resourceType": kind, "tags": INSTANCE_TAGS} for kind in ("instance", "volume", "network-interface")
        ],
        "tags": TAGS,
        "updateDefaultVersion": True,
        "userData": base64.b64encode(DATA.render().encode()).decode(),
        "vpcSecurityGroupIds": ["sg-1"],
    }


def test_another_image_or_other_boot_data_make_a_new_template_which_the_guard_judges() -> None:
    template = fleet().one("ec2.LaunchTemplate")
    assert template.replace_on_changes == ("imageId", "userData")
    assert template.hooks == {"before_create": 1}


def test_the_group_is_healthy_before_anybody_goes_on() -> None:
    assert fleet().one("autoscaling.Group").inputs == {
        "defaultInstanceWarmup": 0,
        "enabledMetrics": ["GroupDesiredCapacity", "GroupInServiceInstances", "GroupTotalInstances"],
        "healthCheckGracePeriod": 60,
        "healthCheckType": "ELB",
        "initialLifecycleHooks": [
            {
                "name": "boot",
                "lifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
                "defaultResult": "ABANDON",
                "heartbeatTimeout": 300,
            },
            {
                "name": "drain",
                "lifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
                "defaultResult": "CONTINUE",
                "heartbeatTimeout": 60,
            },
        ],
        "instanceMaintenancePolicy": {"minHealthyPercentage": 100, "maxHealthyPercentage": 200},
        "launchTemplate": {"id": "ec2.LaunchTemplate:blue-fleet", "version": "1"},
        "maxSize": 4,
        "minSize": 2,
        "namePrefix": "dev-blue-v1-",
        "tags": [{"key": key, "value": value, "propagateAtLaunch": True} for key, value in INSTANCE_TAGS.items()],
        "targetGroupArns": ["arn:blue"],
        "vpcZoneIdentifiers": ["subnet-1", "subnet-2"],
        "waitForCapacityTimeout": "0",
    }


def test_another_template_makes_another_group_and_its_size_is_autoscalings() -> None:
    group = fleet().one("autoscaling.Group")
    assert group.replace_on_changes == ("launchTemplate.id", "initialLifecycleHooks")
    assert group.ignore_changes == ("desiredCapacity",)
    assert "desiredCapacity" not in group.inputs


def test_the_group_waits_for_the_preview_rule() -> None:
    declared = fleet()
    assert declared.one("lb.ListenerRule").urn in declared.one("autoscaling.Group").dependencies


def test_the_group_is_made_when_its_machines_have_arrived() -> None:
    assert fleet().one("autoscaling.Group").hooks == {"after_create": 1}


def test_another_release_has_other_names() -> None:
    declared = fleet("v2.0-rc1")
    prefixes = [declared.one(kind).inputs["namePrefix"] for kind in ("ec2.LaunchTemplate", "autoscaling.Group")]
    assert prefixes == ["dev-blue-v2.0-rc1-"] * 2


def test_autoscaling_aims_at_a_load() -> None:
    assert fleet(target_cpu_percent=45).one("autoscaling.Policy").inputs == {
        "autoscalingGroupName": "dev-blue-v1-1a2b",
        "policyType": "TargetTrackingScaling",
        "targetTrackingConfiguration": {
            "predefinedMetricSpecification": {"predefinedMetricType": "ASGAverageCPUUtilization"},
            "targetValue": 45,
        },
    }

"""An AWS emulator in a process of its own, and a fleet in its account, for tests."""

from __future__ import annotations

import base64
import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config

from fleet.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
REGION = "eu-central-1"
DNS_NAME = "127.0.0.1"
REGISTRY = "127.0.0.1:5443"
REGISTRY_PASSWORD = "right"
USER_DATA = "STACK=dev\nCOLOR=blue\nRELEASE=v1\n"


class FastClock:
    """A clock that polls often: what is waited for here takes a moment."""

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float, /) -> None:
        time.sleep(min(seconds, 0.05))


def wait(reason: Callable[[], str | None], what: str, deadline_s: float = 20) -> None:
    wait_until(reason, what=what, deadline_s=deadline_s, clock=FastClock())


@dataclass(frozen=True, kw_only=True)
class Running:
    aws: str
    metadata: str
    control: str

    @functools.cache  # noqa: B019 - a few of them, for the time of the tests
    def client(self, service: str) -> Any:
        create_client: Any = boto3.client  # typed by service name, which is a variable here
        return create_client(
            service,
            region_name=REGION,
            endpoint_url=self.aws,
            aws_access_key_id="rehearsal",
            aws_secret_access_key="rehearsal",
            # Health checks every two seconds, which AWS would refuse, keep the tests short.
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )

    def state(self) -> Any:
        return requests.get(f"{self.control}/state", timeout=5).json()

    def row(self, instance: str) -> Any:
        state = self.state()
        return next(row for row in state["instances"] + state["terminated"] if row["instance"] == instance)


def start(folder: Path, *arguments: str, environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], Running]:
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "rehearsal.cloud", "--state-dir", str(folder), "--ready-file", str(ready)]
    with (folder / "cloud.log").open("wb") as log:
        process = subprocess.Popen([*command, *arguments], cwd=ROOT, env=environment, stdout=log, stderr=log)
    wait(lambda: _not_ready(process, ready, folder / "cloud.log"), "the emulator", 30)
    endpoints = json.loads(ready.read_text())
    return process, Running(aws=endpoints["aws"], metadata=endpoints["metadata"], control=endpoints["control"])


def stop(process: subprocess.Popen[bytes], folder: Path) -> None:
    process.terminate()
    assert process.wait(timeout=30) == 0
    log = (folder / "cloud.log").read_text()
    assert "tick failed" not in log, log
    assert "drain failed" not in log, log


def _not_ready(process: subprocess.Popen[bytes], ready: Path, log: Path) -> str | None:
    if process.poll() is not None:
        pytest.fail(f"the emulator exited at once: {log.read_text()}")
    return None if ready.exists() else "not ready yet"


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """An Auto Scaling group behind a load balancer, in a network of this host's loopback addresses."""

    cloud: Running
    group: str
    target_group: str
    listener: str

    def members(self) -> list[Any]:
        groups = self.cloud.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[self.group])
        found: list[Any] = groups["AutoScalingGroups"][0]["Instances"]
        return found

    def states(self) -> list[str]:
        return sorted(member["LifecycleState"] for member in self.members())

    def member(self) -> str:
        (member,) = self.members()
        return str(member["InstanceId"])

    def targets(self) -> dict[str, str]:
        answer = self.cloud.client("elbv2").describe_target_health(TargetGroupArn=self.target_group)
        return {d["Target"]["Id"]: d["TargetHealth"]["State"] for d in answer["TargetHealthDescriptions"]}

    def complete(self, instance: str, hook: str, result: str) -> None:
        self.cloud.client("autoscaling").complete_lifecycle_action(
            AutoScalingGroupName=self.group,
            LifecycleHookName=hook,
            InstanceId=instance,
            LifecycleActionResult=result,
        )

    def wait_for(self, states: list[str]) -> None:
        expected = sorted(states)

        def reason() -> str | None:
            found = self.states()
            return None if found == expected else f"found {found}"

        wait(reason, f"members {expected}")


Maker = Callable[..., Fleet]

BOOT = {
    "LifecycleHookName": "boot",
    "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
    "DefaultResult": "ABANDON",
    "HeartbeatTimeout": 300,
}
DRAIN = {
    "LifecycleHookName": "drain",
    "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
    "DefaultResult": "CONTINUE",
    "HeartbeatTimeout": 60,
}


def network(
    cloud: Running, cidr: str = "127.77.0.0/16", prefix: str = "127.77", *, internet_gateway: bool = True
) -> list[str]:
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
    if internet_gateway:
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    return [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"{prefix}.{number}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"][
            "SubnetId"
        ]
        for number, zone in ((1, "a"), (2, "b"))
    ]


def profile(cloud: Running) -> str:
    iam = cloud.client("iam")
    iam.create_role(RoleName="app-role", AssumeRolePolicyDocument='{"Version": "2012-10-17", "Statement": []}')
    arn = iam.create_instance_profile(InstanceProfileName="app")["InstanceProfile"]["Arn"]
    iam.add_role_to_instance_profile(InstanceProfileName="app", RoleName="app-role")
    return str(arn)


def template(cloud: Running, image: str = "ami-0deb1a12000000001") -> str:
    data = {
        "ImageId": image,
        "InstanceType": "t3.small",
        "UserData": base64.b64encode(USER_DATA.encode()).decode(),
        "IamInstanceProfile": {"Arn": profile(cloud)},
        "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
    }
    answer = cloud.client("ec2").create_launch_template(LaunchTemplateName="app", LaunchTemplateData=data)
    return str(answer["LaunchTemplate"]["LaunchTemplateId"])


def create_target_group(cloud: Running, subnets: list[str], name: str, **health: Any) -> str:
    vpc = cloud.client("ec2").describe_subnets(SubnetIds=subnets)["Subnets"][0]["VpcId"]
    created = cloud.client("elbv2").create_target_group(Name=name, Protocol="HTTP", Port=8080, VpcId=vpc, **health)
    return str(created["TargetGroups"][0]["TargetGroupArn"])


def load_balancer(cloud: Running, subnets: list[str], port: int, **health: Any) -> tuple[str, str]:
    """A listener with a 503 default action and one rule to a target group: (target group, listener)."""
    elbv2 = cloud.client("elbv2")
    arn = create_target_group(cloud, subnets, "blue", **health)
    created = elbv2.create_load_balancer(Name="app", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    fixed = {
        "Type": "fixed-response",
        "FixedResponseConfig": {"StatusCode": "503", "ContentType": "text/plain", "MessageBody": "nothing here"},
    }
    listener = elbv2.create_listener(LoadBalancerArn=created, Port=port, Protocol="HTTP", DefaultActions=[fixed])
    listener_arn = listener["Listeners"][0]["ListenerArn"]
    elbv2.create_rule(
        ListenerArn=listener_arn,
        Priority=100,
        Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/*"]}}],
        Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": arn, "Weight": 100}]}}],
    )
    return arn, str(listener_arn)


def create_group(cloud: Running, subnets: list[str], target_group: str, **changes: Any) -> str:
    request = {
        "AutoScalingGroupName": "dev-blue-v1",
        "LaunchTemplate": {"LaunchTemplateId": template(cloud), "Version": "1"},
        "MinSize": 1,
        "MaxSize": 4,
        "VPCZoneIdentifier": ",".join(subnets),
        "TargetGroupARNs": [target_group],
        "HealthCheckType": "ELB",
        "LifecycleHookSpecificationList": [BOOT, DRAIN],
        "Tags": [
            {"Key": key, "Value": value, "PropagateAtLaunch": True}
            for key, value in (("Stack", "dev"), ("Color", "blue"), ("Release", "v1"))
        ],
    }
    cloud.client("autoscaling").create_auto_scaling_group(**request | changes)
    return str(request["AutoScalingGroupName"])

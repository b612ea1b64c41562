"""Inventory of an emulated account by resource type, for comparison with a stack's state."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import pulumi.automation as auto

from .load_balancer_stub import Client


def _all(client: Any, call: str, result: str, key: str, **query: Any) -> list[str]:
    return [str(each[key]) for each in getattr(client, call)(**query)[result]]


class AccountInventory:
    """Ids by resource type, without those that an empty account has (its default VPC)."""

    def __init__(self, aws: Client) -> None:
        self._aws = aws
        self._first: dict[str, list[str]] = {}
        self._first = self.by_type()

    def by_type(self) -> dict[str, list[str]]:
        counted = {type_: sorted(ids()) for type_, ids in self._listings().items()}
        return {
            type_: own
            for type_, ids in counted.items()
            if (own := [id for id in ids if id not in self._first.get(type_, [])])
        }

    def assert_matches_state(self, stack: auto.Stack, when: str) -> None:
        """Check that the account holds exactly the resources of the stack's state."""
        exported = stack.export_stack().deployment
        assert exported is not None
        recorded: dict[str, list[str]] = {}
        for each in exported["resources"]:
            if each["type"] in self._listings():
                recorded.setdefault(each["type"], []).append(each["id"])
        found, expected = self.by_type(), {type_: sorted(ids) for type_, ids in recorded.items()}
        differences = {
            type_: {"in the account": found.get(type_), "in the state": expected.get(type_)}
            for type_ in {*found, *expected}
            if found.get(type_) != expected.get(type_)
        }
        assert not differences, f"{when}: {differences}"

    def _listings(self) -> dict[str, Callable[[], Iterable[str]]]:
        return {**self._network(), **self._load_balancing(), **self._rest()}

    def _network(self) -> dict[str, Callable[[], Iterable[str]]]:
        ec2 = self._aws("ec2")
        existing = [{"Name": "state", "Values": ["pending", "available"]}]
        calls = {
            "vpc:Vpc": ("describe_vpcs", "Vpcs", "VpcId"),
            "subnet:Subnet": ("describe_subnets", "Subnets", "SubnetId"),
            "internetGateway:InternetGateway": (
                "describe_internet_gateways",
                "InternetGateways",
                "InternetGatewayId",
            ),
            "eip:Eip": ("describe_addresses", "Addresses", "AllocationId"),
            "flowLog:FlowLog": ("describe_flow_logs", "FlowLogs", "FlowLogId"),
            "launchTemplate:LaunchTemplate": ("describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
        }
        found: dict[str, Callable[[], Iterable[str]]] = {
            f"aws:ec2/{type_}": functools.partial(_all, ec2, *call) for type_, call in calls.items()
        }
        found["aws:ec2/natGateway:NatGateway"] = lambda: _all(
            ec2, "describe_nat_gateways", "NatGateways", "NatGatewayId", Filter=existing
        )
        found["aws:ec2/securityGroup:SecurityGroup"] = lambda: [
            each["GroupId"]
            for each in ec2.describe_security_groups()["SecurityGroups"]
            if each["GroupName"] != "default"
        ]
        found["aws:ec2/routeTable:RouteTable"] = lambda: [
            each["RouteTableId"]
            for each in ec2.describe_route_tables()["RouteTables"]
            if not any(joined.get("Main") for joined in each["Associations"])
        ]
        return found

    def _load_balancing(self) -> dict[str, Callable[[], Iterable[str]]]:
        elb, scaling = self._aws("elbv2"), self._aws("autoscaling")

        def load_balancers() -> list[str]:
            return _all(elb, "describe_load_balancers", "LoadBalancers", "LoadBalancerArn")

        def listeners() -> list[str]:
            return [
                arn
                for each in load_balancers()
                for arn in _all(elb, "describe_listeners", "Listeners", "ListenerArn", LoadBalancerArn=each)
            ]

        def rules() -> list[str]:
            found = [rule for each in listeners() for rule in elb.describe_rules(ListenerArn=each)["Rules"]]
            return [rule["RuleArn"] for rule in found if not rule["IsDefault"]]

        return {
            "aws:lb/loadBalancer:LoadBalancer": load_balancers,
            "aws:lb/listener:Listener": listeners,
            "aws:lb/listenerRule:ListenerRule": rules,
            "aws:lb/targetGroup:TargetGroup": lambda: _all(
                elb, "describe_target_groups", "TargetGroups", "TargetGroupArn"
            ),
            "aws:autoscaling/group:Group": lambda: _all(
                scaling, "describe_auto_scaling_groups", "AutoScalingGroups", "AutoScalingGroupName"
            ),
            "aws:autoscaling/policy:Policy": lambda: _all(
                scaling, "describe_policies", "ScalingPolicies", "PolicyName"
            ),
        }

    def _rest(self) -> dict[str, Callable[[], Iterable[str]]]:
        aws = self._aws
        return {
            "aws:iam/role:Role": lambda: _all(aws("iam"), "list_roles", "Roles", "RoleName"),
            "aws:iam/instanceProfile:InstanceProfile": lambda: _all(
                aws("iam"), "list_instance_profiles", "InstanceProfiles", "InstanceProfileName"
            ),
            "aws:s3/bucket:Bucket": lambda: _all(aws("s3"), "list_buckets", "Buckets", "Name"),
            "aws:sns/topic:Topic": lambda: _all(aws("sns"), "list_topics", "Topics", "TopicArn"),
            "aws:cloudwatch/logGroup:LogGroup": lambda: _all(
                aws("logs"), "describe_log_groups", "logGroups", "logGroupName"
            ),
            "aws:cloudwatch/metricAlarm:MetricAlarm": lambda: _all(
                aws("cloudwatch"), "describe_alarms", "MetricAlarms", "AlarmName"
            ),
            "aws:cloudwatch/eventRule:EventRule": lambda: _all(aws("events"), "list_rules", "Rules", "Name"),
            "aws:ssm/parameter:Parameter": lambda: [
                each["Name"]
                for each in aws("ssm").get_parameters_by_path(Path="/bluegreen", Recursive=True)["Parameters"]
            ],
        }

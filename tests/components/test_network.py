from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from components.cidr_plan import plan
from components.network import Network
from config.context import StackContext
from config.settings import LogSettings, NetworkSettings
from tests.declared import ACCOUNT, CONTEXT, REGION, Declaration, declare

A, B = "eu-central-1a", "eu-central-1b"
ALWAYS = {
    ("ec2.Vpc", "network"),
    ("ec2.InternetGateway", "network-internet"),
    ("ec2.VpcEndpoint", "network-s3"),
    ("ec2.DefaultSecurityGroup", "network-default"),
    ("ec2.RouteTable", "network-public"),
    ("ec2.Route", "network-public-out"),
}
FLOW = {
    ("cloudwatch.LogGroup", "network-flow"),
    ("iam.Role", "network-flow"),
    ("iam.RolePolicy", "network-flow"),
    ("ec2.FlowLog", "network-flow"),
}


def zone(name: str) -> set[tuple[str, str]]:
    """What stands in each zone, with any gateways."""
    return {
        ("ec2.Subnet", f"network-public-{name}"),
        ("ec2.Subnet", f"network-private-{name}"),
        ("ec2.RouteTableAssociation", f"network-public-{name}"),
        ("ec2.RouteTableAssociation", f"network-private-{name}"),
        ("ec2.RouteTable", f"network-private-{name}"),
    }


def gateway(name: str) -> set[tuple[str, str]]:
    return {("ec2.Eip", f"network-nat-{name}"), ("ec2.NatGateway", f"network-nat-{name}")}


def way_out(name: str) -> set[tuple[str, str]]:
    return {("ec2.Route", f"network-private-{name}-out")}


def network(
    zones: tuple[str, ...] = (A, B), log_days: int = 30, context: StackContext = CONTEXT, **changes: Any
) -> tuple[Declaration, dict[str, Any]]:
    """What is declared, and the component's outputs."""
    outputs: dict[str, Any] = {}

    def program() -> None:
        logs = LogSettings(retention_days=log_days)
        ranges = plan("10.20.0.0/16", zones)
        made = Network("network", context, NetworkSettings(**changes), logs, ranges)
        made.instance_subnet_ids.apply(lambda ids: outputs.update(machines=ids))
        made.public_subnet_ids.apply(lambda ids: outputs.update(public=ids))

    return declare(program), outputs


@pytest.mark.parametrize(
    ("mode", "gateways"),
    [
        ("none", set()),
        ("single", gateway(A) | way_out(A) | way_out(B)),
        ("per-zone", gateway(A) | gateway(B) | way_out(A) | way_out(B)),
    ],
)
def test_what_stands_with_each_kind_of_nat(mode: str, gateways: set[tuple[str, str]]) -> None:
    declared, _ = network(nat_gateways=mode)
    assert declared.table() == ALWAYS | FLOW | zone(A) | zone(B) | gateways


def test_without_flow_logs_nothing_of_them_stands() -> None:
    declared, _ = network(flow_logs=False)
    assert declared.table() & FLOW == set()


@pytest.mark.parametrize(("mode", "gateway_of_b"), [("single", A), ("per-zone", B)])
def test_a_zone_goes_out_by_its_gateway(mode: str, gateway_of_b: str) -> None:
    declared, _ = network(nat_gateways=mode)
    assert declared.one("ec2.Route", f"network-private-{B}-out").inputs == {
        "destinationCidrBlock": "0.0.0.0/0",
        "natGatewayId": f"ec2.NatGateway:network-nat-{gateway_of_b}",
        "routeTableId": f"ec2.RouteTable:network-private-{B}",
    }


def test_a_gateway_stands_in_its_zones_public_subnet() -> None:
    declared, _ = network(nat_gateways="per-zone")
    assert declared.one("ec2.NatGateway", f"network-nat-{B}").inputs == {
        "allocationId": f"ec2.Eip:network-nat-{B}",
        "subnetId": f"ec2.Subnet:network-public-{B}",
        "tags": {"Name": f"dev-nat-{B}", "Stack": "dev"},
    }
    assert declared.one("ec2.Eip", f"network-nat-{B}").inputs["domain"] == "vpc"


def test_the_vpc_resolves_names() -> None:
    declared, _ = network()
    vpc = declared.one("ec2.Vpc")
    assert vpc.inputs == {
        "cidrBlock": "10.20.0.0/16",
        "enableDnsHostnames": True,
        "enableDnsSupport": True,
        "tags": {"Name": "dev-vpc", "Stack": "dev"},
    }
    assert not vpc.protect


def test_the_vpc_can_be_protected() -> None:
    declared, _ = network(context=replace(CONTEXT, protect=True))
    assert [name for name, each in {r.name: r for r in declared.resources}.items() if each.protect] == ["network"]


@pytest.mark.parametrize(("mode", "kind", "public_addresses"), [("none", "public", True), ("single", "private", False)])
def test_where_machines_stand(mode: str, kind: str, public_addresses: bool) -> None:
    declared, outputs = network(nat_gateways=mode)
    assert outputs["machines"] == [f"ec2.Subnet:network-{kind}-{A}", f"ec2.Subnet:network-{kind}-{B}"]
    assert outputs["public"] == [f"ec2.Subnet:network-public-{A}", f"ec2.Subnet:network-public-{B}"]
    assert declared.one("ec2.Subnet", f"network-public-{A}").inputs == {
        "availabilityZone": A,
        "cidrBlock": "10.20.128.0/20",
        "mapPublicIpOnLaunch": public_addresses,
        "tags": {"Name": f"dev-public-{A}", "Stack": "dev"},
        "vpcId": "ec2.Vpc:network",
    }
    private = declared.one("ec2.Subnet", f"network-private-{B}").inputs
    assert (private["cidrBlock"], private["mapPublicIpOnLaunch"]) == ("10.20.16.0/20", False)


def test_another_zone_changes_no_other() -> None:
    two, _ = network(nat_gateways="per-zone")
    three, _ = network((A, B, "eu-central-1c"), nat_gateways="per-zone")
    before = {(each.type, each.name): each.inputs for each in two.resources}
    after = {(each.type, each.name): each.inputs for each in three.resources}
    changed = {key for key in before if before[key] != after[key]}
    assert {name for _, name in changed} == {"network-s3"}  # it names all route tables
    assert {name.rpartition("-")[2] for _, name in set(after) - set(before)} <= {"1c", "out"}


def test_buckets_are_reached_past_nat() -> None:
    declared, _ = network()
    assert declared.one("ec2.VpcEndpoint").inputs == {
        "routeTableIds": [
            "ec2.RouteTable:network-public",
            f"ec2.RouteTable:network-private-{A}",
            f"ec2.RouteTable:network-private-{B}",
        ],
        "serviceName": f"com.amazonaws.{REGION}.s3",
        "tags": {"Name": "dev-s3", "Stack": "dev"},
        "vpcEndpointType": "Gateway",
        "vpcId": "ec2.Vpc:network",
    }


def test_the_default_group_lets_nobody_do_anything() -> None:
    declared, _ = network()
    group = declared.one("ec2.DefaultSecurityGroup").inputs
    assert (group["ingress"], group["egress"], group["vpcId"]) == ([], [], "ec2.Vpc:network")


@pytest.mark.parametrize("boundary", ["", f"arn:aws:iam::{ACCOUNT}:policy/limit"])
def test_the_role_is_bounded_by_the_given_policy(boundary: str) -> None:
    given = network(context=replace(CONTEXT, boundary=boundary))[0].one("iam.Role").inputs
    assert (given["path"], given.get("permissionsBoundary", "")) == ("/bluegreen/dev/", boundary)


def test_traffic_is_recorded_by_a_role_of_its_own() -> None:
    declared, _ = network(log_days=7)
    group = declared.one("cloudwatch.LogGroup")
    assert (group.inputs["namePrefix"], group.inputs["retentionInDays"]) == ("/bluegreen/dev/flow-", 7)
    flow = declared.one("ec2.FlowLog").inputs
    assert (flow["trafficType"], flow["logDestination"]) == ("ALL", group.arn)
    assert flow["iamRoleArn"] == declared.one("iam.Role").arn
    (written,) = json.loads(declared.one("iam.RolePolicy").inputs["policy"])["Statement"]
    assert written["Resource"] == f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:LogGroup/network-flow:*"

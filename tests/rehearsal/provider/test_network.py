"""VPCs, subnets, gateways, routes, endpoints, security groups: creation, changes, drift and deletion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .client import CallError, Client, Resource
from .conftest import Traffic

Aws = Callable[[str], Any]
ARN = "arn:aws:ec2:us-east-1:123456789012"
OPEN = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
ANYWHERE = "0.0.0.0/0"


@pytest.fixture
def table(provider: Client, vpc: Resource) -> Resource:
    return provider.create("aws:ec2:RouteTable", "table", vpcId=vpc.id)


@pytest.fixture
def nat(provider: Client, subnet: Resource, gateway: Resource) -> Resource:
    address = provider.create("aws:ec2:Eip", "address", domain="vpc")
    return provider.create("aws:ec2:NatGateway", "nat", subnetId=subnet.id, allocationId=address.id)


@pytest.fixture
def group(provider: Client, vpc: Resource) -> Resource:
    return provider.create("aws:ec2:SecurityGroup", "web", vpcId=vpc.id, description="Web")


@pytest.fixture
def ingress(provider: Client, group: Resource) -> Resource:
    return provider.create(
        "aws:vpc:SecurityGroupIngressRule",
        "http",
        securityGroupId=group.id,
        ipProtocol="tcp",
        fromPort=80,
        toPort=80,
        cidrIpv4=ANYWHERE,
    )


def routes(aws: Aws, table: Resource) -> dict[str, str]:
    (found,) = aws("ec2").describe_route_tables(RouteTableIds=[table.id])["RouteTables"]
    return {
        each["DestinationCidrBlock"]: each.get("NatGatewayId") or each["GatewayId"]
        for each in found["Routes"]
        if each["Origin"] == "CreateRoute"
    }


def rules(aws: Aws, group: Resource) -> list[tuple[str, int, int, str]]:
    query = [{"Name": "group-id", "Values": [group.id]}]
    found = aws("ec2").describe_security_group_rules(Filters=query)["SecurityGroupRules"]
    return [(each["IpProtocol"], each["FromPort"], each["ToPort"], each.get("CidrIpv4", "")) for each in found]


def test_a_vpc_is_created_as_declared(provider: Client, aws: Aws, vpc: Resource) -> None:
    (found,) = aws("ec2").describe_vpcs(VpcIds=[vpc.id])["Vpcs"]
    assert (found["CidrBlock"], found["Tags"]) == ("10.0.0.0/16", [{"Key": "Name", "Value": "net"}])
    assert vpc["arn"] == f"{ARN}:vpc/{vpc.id}"
    assert (provider.update(vpc), provider.refresh(vpc)) == ({}, {})


def test_manual_changes_to_a_vpc_are_reverted(provider: Client, aws: Aws, vpc: Resource) -> None:
    ec2 = aws("ec2")
    provider.update(vpc, enableDnsHostnames=True)
    ec2.create_tags(Resources=[vpc.id], Tags=[{"Key": "Name", "Value": "mine"}, {"Key": "By.Hand", "Value": "yes"}])
    ec2.modify_vpc_attribute(VpcId=vpc.id, EnableDnsHostnames={"Value": False})
    assert provider.refresh(vpc) == {"enableDnsHostnames": "update", "tags.Name": "update", 'tags["By.Hand"]': "delete"}
    provider.update(vpc)
    assert ec2.describe_vpcs(VpcIds=[vpc.id])["Vpcs"][0]["Tags"] == [{"Key": "Name", "Value": "net"}]
    assert provider.refresh(vpc) == {}


def test_tags_by_aws_are_no_drift(provider: Client, aws: Aws, vpc: Resource) -> None:
    aws("ec2").create_tags(Resources=[vpc.id], Tags=[{"Key": "aws:cloudformation:stack", "Value": "x"}])
    assert provider.refresh(vpc) == {}


def test_another_cidr_replaces_the_vpc(provider: Client, aws: Aws, vpc: Resource) -> None:
    old = vpc.id
    assert provider.update(vpc, cidrBlock="10.1.0.0/16") == {"cidrBlock": "update-replace"}
    found = {each["VpcId"]: each["CidrBlock"] for each in aws("ec2").describe_vpcs()["Vpcs"] if not each["IsDefault"]}
    assert (found, old in found) == ({vpc.id: "10.1.0.0/16"}, False)


def test_an_error_of_aws_is_reported_with_its_message(provider: Client) -> None:
    with pytest.raises(CallError) as caught:
        provider.create("aws:ec2:Vpc", "net", cidrBlock="not-a-cidr")
    assert str(caught.value).startswith(
        "An error occurred (InvalidParameterValue) when calling the CreateVpc operation"
    )
    assert caught.value.incomplete is None


def test_manual_changes_to_a_subnet_are_reverted(provider: Client, aws: Aws, subnet: Resource) -> None:
    assert (subnet["availabilityZone"], provider.refresh(subnet)) == ("us-east-1a", {})
    aws("ec2").delete_tags(Resources=[subnet.id], Tags=[{"Key": "Stack"}])
    aws("ec2").modify_subnet_attribute(SubnetId=subnet.id, MapPublicIpOnLaunch={"Value": True})
    assert provider.refresh(subnet) == {"mapPublicIpOnLaunch": "update", "tags.Stack": "add"}
    provider.update(subnet)
    assert provider.refresh(subnet) == {}
    aws("ec2").delete_subnet(SubnetId=subnet.id)
    assert provider.refresh(subnet) is None


def test_a_subnet_is_deleted_before_its_replacement(provider: Client, subnet: Resource, traffic: Traffic) -> None:
    traffic.forget()
    assert provider.update(subnet, availabilityZone="us-east-1b") == {"availabilityZone": "update-replace"}
    assert traffic.writes == ["DeleteSubnet", "CreateSubnet"]


def test_an_internet_gateway_is_created_updated_and_deleted(
    provider: Client, aws: Aws, vpc: Resource, gateway: Resource
) -> None:
    assert provider.refresh(gateway) == {}
    aws("ec2").detach_internet_gateway(InternetGatewayId=gateway.id, VpcId=vpc.id)
    assert provider.refresh(gateway) == {"vpcId": "add"}
    provider.update(gateway)
    (found,) = aws("ec2").describe_internet_gateways()["InternetGateways"]
    assert [each["VpcId"] for each in found["Attachments"]] == [vpc.id]
    provider.delete(gateway)
    assert aws("ec2").describe_internet_gateways()["InternetGateways"] == []


def test_manual_changes_to_a_route_are_reverted(
    provider: Client, aws: Aws, table: Resource, nat: Resource, gateway: Resource
) -> None:
    route = provider.create(
        "aws:ec2:Route", "out", routeTableId=table.id, destinationCidrBlock=ANYWHERE, natGatewayId=nat.id
    )
    assert (routes(aws, table), provider.refresh(route)) == ({ANYWHERE: nat.id}, {})
    aws("ec2").replace_route(RouteTableId=table.id, DestinationCidrBlock=ANYWHERE, GatewayId=gateway.id)
    assert provider.refresh(route) == {"natGatewayId": "add"}
    provider.update(route)
    assert routes(aws, table) == {ANYWHERE: nat.id}
    provider.delete(route)
    assert (routes(aws, table), provider.refresh(route)) == ({}, None)


def test_a_route_table_is_associated_with_a_subnet(
    provider: Client, aws: Aws, table: Resource, subnet: Resource
) -> None:
    joined = provider.create("aws:ec2:RouteTableAssociation", "joined", routeTableId=table.id, subnetId=subnet.id)
    assert provider.refresh(joined) == {}
    aws("ec2").disassociate_route_table(AssociationId=joined.id)
    assert provider.refresh(joined) is None


def test_a_nat_gateway_is_created_updated_and_deleted(
    provider: Client, aws: Aws, subnet: Resource, nat: Resource
) -> None:
    (found,) = aws("ec2").describe_nat_gateways()["NatGateways"]
    assert (found["SubnetId"], provider.refresh(nat)) == (subnet.id, {})
    assert provider.update(nat, tags={"Name": "out"}) == {"tags.Name": "add"}
    provider.delete(nat)
    assert provider.refresh(nat) is None


def test_a_nat_gateway_without_an_internet_gateway_fails_at_once_and_takes_no_address(
    provider: Client, aws: Aws, vpc: Resource, subnet: Resource
) -> None:
    address = provider.create("aws:ec2:Eip", "address", domain="vpc")
    nat = provider.declare("aws:ec2:NatGateway", "nat", subnetId=subnet.id, allocationId=address.id)
    with pytest.raises(CallError) as caught:
        provider.apply(nat)
    message = f"NAT gateway {nat.id} failed: Gateway.NotAttached: Network {vpc.id} has no Internet gateway attached"
    assert str(caught.value) == message
    assert "AssociationId" not in aws("ec2").describe_addresses(AllocationIds=[address.id])["Addresses"][0]
    provider.delete(nat)
    assert provider.refresh(nat) is None


@pytest.fixture
def endpoint(provider: Client, vpc: Resource, table: Resource) -> Resource:
    return provider.create(
        "aws:ec2:VpcEndpoint",
        "s3",
        vpcId=vpc.id,
        serviceName="com.amazonaws.us-east-1.s3",
        vpcEndpointType="Gateway",
        routeTableIds=[table.id],
    )


def test_an_endpoint_is_created_updated_and_deleted(provider: Client, endpoint: Resource) -> None:
    assert endpoint["arn"] == f"{ARN}:vpc-endpoint/{endpoint.id}"
    assert provider.update(endpoint, tags={"Stack": "new"}) == {"tags.Stack": "add"}
    provider.delete(endpoint)
    assert provider.refresh(endpoint) is None


def test_manual_changes_to_an_endpoint_are_reverted(
    provider: Client, aws: Aws, table: Resource, endpoint: Resource
) -> None:
    assert provider.refresh(endpoint) == {}
    aws("ec2").modify_vpc_endpoint(VpcEndpointId=endpoint.id, RemoveRouteTableIds=[table.id])
    assert provider.refresh(endpoint) == {"routeTableIds": "update"}
    provider.update(endpoint)
    (found,) = aws("ec2").describe_vpc_endpoints()["VpcEndpoints"]
    assert found["RouteTableIds"] == [table.id]


def test_a_flow_log_is_created_updated_and_deleted(provider: Client, aws: Aws, vpc: Resource) -> None:
    logs = provider.create("aws:cloudwatch:LogGroup", "flow")
    role = "arn:aws:iam::123456789012:role/flow"
    flow = provider.create(
        "aws:ec2:FlowLog", "flow", vpcId=vpc.id, trafficType="ALL", logDestination=logs["arn"], iamRoleArn=role
    )
    assert provider.refresh(flow) == {}
    assert provider.update(flow, trafficType="REJECT") == {"trafficType": "update-replace"}
    assert [each["TrafficType"] for each in aws("ec2").describe_flow_logs()["FlowLogs"]] == ["REJECT"]
    provider.delete(flow)
    assert provider.refresh(flow) is None


def test_a_new_security_group_has_no_rules(provider: Client, aws: Aws, group: Resource) -> None:
    assert (rules(aws, group), provider.refresh(group)) == ([], {})
    assert (group["name"][:4], group["arn"]) == ("web-", f"{ARN}:security-group/{group.id}")


def test_the_rules_of_a_default_security_group_are_removed(provider: Client, aws: Aws, vpc: Resource) -> None:
    default = provider.create("aws:ec2:DefaultSecurityGroup", "locked", vpcId=vpc.id, ingress=[], egress=[])
    query = [{"Name": "vpc-id", "Values": [vpc.id]}, {"Name": "group-name", "Values": ["default"]}]
    (found,) = aws("ec2").describe_security_groups(Filters=query)["SecurityGroups"]
    assert (default.id, rules(aws, default)) == (found["GroupId"], [])
    aws("ec2").authorize_security_group_ingress(GroupId=default.id, IpPermissions=[OPEN])
    assert provider.refresh(default) == {"ingress": "update"}
    provider.update(default)
    assert rules(aws, default) == []


def test_a_rule_changes_in_place(provider: Client, aws: Aws, group: Resource, ingress: Resource) -> None:
    assert rules(aws, group) == [("tcp", 80, 80, ANYWHERE)]
    changes = provider.update(ingress, toPort=8080, cidrIpv4="10.0.0.0/8")
    assert changes == {"cidrIpv4": "update", "toPort": "update"}
    assert rules(aws, group) == [("tcp", 80, 8080, "10.0.0.0/8")]
    assert provider.refresh(ingress) == {}


def test_manual_changes_to_a_rule_are_reverted(provider: Client, aws: Aws, group: Resource, ingress: Resource) -> None:
    narrow = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "CidrIpv4": "10.0.0.0/8"}
    rule = {"SecurityGroupRuleId": ingress.id, "SecurityGroupRule": narrow}
    aws("ec2").modify_security_group_rules(GroupId=group.id, SecurityGroupRules=[rule])
    assert provider.refresh(ingress) == {"cidrIpv4": "update"}
    provider.update(ingress)
    assert rules(aws, group) == [("tcp", 80, 80, ANYWHERE)]
    aws("ec2").revoke_security_group_ingress(GroupId=group.id, SecurityGroupRuleIds=[ingress.id])
    assert provider.refresh(ingress) is None


def test_a_rule_may_reference_a_group(provider: Client, aws: Aws, group: Resource) -> None:
    egress = provider.create(
        "aws:vpc:SecurityGroupEgressRule",
        "out",
        securityGroupId=group.id,
        ipProtocol="-1",
        referencedSecurityGroupId=group.id,
    )
    assert (rules(aws, group), provider.refresh(egress)) == ([("-1", -1, -1, "")], {})
    provider.delete(egress)
    assert rules(aws, group) == []

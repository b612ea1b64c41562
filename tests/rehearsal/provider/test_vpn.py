"""Site-to-site VPN with either gateway: creation, changes, drift and deletion."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from rehearsal.provider.values import Secret

from .client import Client, Resource

Aws = Callable[[str], Any]
REMOTE = "192.168.0.0/24"


def tunnel(number: int, **more: Any) -> dict[str, Any]:
    options = {
        "InsideCidr": f"169.254.4{number}.0/30",
        "StartupAction": "start",
        "DpdTimeoutAction": "restart",
        "DpdTimeoutSeconds": 30,
        "IkeVersions": ["ikev2"],
        "Phase1EncryptionAlgorithms": ["AES256-GCM-16"],
        "Phase1DhGroupNumbers": [20],
        **more,
    }
    return {f"tunnel{number}{key}": value for key, value in options.items()}


@pytest.fixture
def customer(provider: Client) -> Resource:
    return provider.create(
        "aws:ec2:CustomerGateway", "remote", type="ipsec.1", ipAddress="198.51.100.7", bgpAsn="65000"
    )


@pytest.fixture
def gateway(provider: Client, vpc: Resource) -> Resource:
    return provider.create("aws:ec2:VpnGateway", "vpn", vpcId=vpc.id, amazonSideAsn="64512")


@pytest.fixture
def transit(provider: Client) -> Resource:
    return provider.create(
        "aws:ec2transitgateway:TransitGateway",
        "vpn",
        amazonSideAsn=64512,
        autoAcceptSharedAttachments="disable",
        description="dev",
    )


@pytest.fixture
def connection(provider: Client, customer: Resource, gateway: Resource) -> Resource:
    return provider.create(
        "aws:ec2:VpnConnection",
        "vpn",
        type="ipsec.1",
        customerGatewayId=customer.id,
        vpnGatewayId=gateway.id,
        staticRoutesOnly=True,
        presharedKeyStorage="SecretsManager",
        **tunnel(1),
        **tunnel(2),
    )


def found_connection(aws: Aws) -> dict[str, Any]:
    (found,) = [each for each in aws("ec2").describe_vpn_connections()["VpnConnections"] if each["State"] != "deleted"]
    return dict(found)


def tunnels(aws: Aws) -> list[dict[str, Any]]:
    return sorted(found_connection(aws)["Options"]["TunnelOptions"], key=lambda each: str(each["TunnelInsideCidr"]))


def test_a_customer_gateway_is_created_updated_and_deleted(provider: Client, aws: Aws, customer: Resource) -> None:
    assert provider.refresh(customer) == {}
    aws("ec2").create_tags(Resources=[customer.id], Tags=[{"Key": "Name", "Value": "mine"}])
    assert provider.refresh(customer) == {"tags.Name": "delete"}
    provider.update(customer)
    assert provider.update(customer, bgpAsn="65001") == {"bgpAsn": "update-replace"}
    provider.delete(customer)
    assert provider.refresh(customer) is None


def test_a_vpn_gateway_is_created_updated_and_deleted(
    provider: Client, aws: Aws, vpc: Resource, gateway: Resource
) -> None:
    assert provider.refresh(gateway) == {}
    aws("ec2").detach_vpn_gateway(VpnGatewayId=gateway.id, VpcId=vpc.id)
    assert provider.refresh(gateway) == {"vpcId": "add"}
    provider.update(gateway)
    assert provider.refresh(gateway) == {}
    provider.delete(gateway)
    assert provider.refresh(gateway) is None


def test_a_connections_keys_are_in_secrets_manager_only(aws: Aws, connection: Resource) -> None:
    secret = aws("secretsmanager").get_secret_value(SecretId=found_connection(aws)["PreSharedKeyArn"])["SecretString"]
    keys = json.loads(secret)
    assert keys.keys() == {connection["tunnel1Address"], connection["tunnel2Address"]}
    message = json.dumps(connection.outputs, default=lambda each: each.value)
    assert [key for key in keys.values() if key in message] == []


def test_declared_keys_are_sent_to_aws_and_are_secrets(
    provider: Client, aws: Aws, customer: Resource, gateway: Resource
) -> None:
    created = provider.create(
        "aws:ec2:VpnConnection",
        "vpn",
        type="ipsec.1",
        customerGatewayId=customer.id,
        vpnGatewayId=gateway.id,
        presharedKeyStorage="Standard",
        **tunnel(1, PresharedKey="first.key_1"),
        **tunnel(2, PresharedKey="second.key_2"),
    )
    assert [each["PreSharedKey"] for each in tunnels(aws)] == ["first.key_1", "second.key_2"]
    assert (created["tunnel1PresharedKey"], created["tunnel2PresharedKey"]) == (
        Secret("first.key_1"),
        Secret("second.key_2"),
    )
    assert provider.refresh(created) == {}


def test_a_tunnel_option_changes_in_place_and_an_inside_cidr_does_not(
    provider: Client, aws: Aws, connection: Resource
) -> None:
    id = connection.id
    assert provider.update(connection, tunnel1StartupAction="add") == {"tunnel1StartupAction": "update"}
    assert (connection.id, [each["StartupAction"] for each in tunnels(aws)]) == (id, ["add", "start"])
    changes = provider.update(connection, tunnel1InsideCidr="169.254.44.0/30")
    assert changes == {"tunnel1InsideCidr": "update-replace"}
    assert (connection.id != id, tunnels(aws)[1]["TunnelInsideCidr"]) == (True, "169.254.44.0/30")


def test_manual_changes_to_a_tunnel_are_reverted(provider: Client, aws: Aws, connection: Resource) -> None:
    assert provider.refresh(connection) == {}
    aws("ec2").modify_vpn_tunnel_options(
        VpnConnectionId=connection.id,
        VpnTunnelOutsideIpAddress=connection["tunnel2Address"],
        TunnelOptions={"DPDTimeoutAction": "clear", "IKEVersions": [{"Value": "ikev1"}, {"Value": "ikev2"}]},
    )
    assert provider.refresh(connection) == {"tunnel2DpdTimeoutAction": "update", "tunnel2IkeVersions": "update"}
    provider.update(connection)
    assert provider.refresh(connection) == {}
    provider.delete(connection)
    assert provider.refresh(connection) is None


def test_a_static_route_is_created_updated_and_deleted(provider: Client, aws: Aws, connection: Resource) -> None:
    route = provider.create(
        "aws:ec2:VpnConnectionRoute", "remote", vpnConnectionId=connection.id, destinationCidrBlock=REMOTE
    )
    assert ([each["DestinationCidrBlock"] for each in found_connection(aws)["Routes"]], provider.refresh(route)) == (
        [REMOTE],
        {},
    )
    provider.delete(route)
    assert provider.refresh(route) is None


def test_route_propagation_to_a_table_is_created_and_deleted(
    provider: Client, vpc: Resource, gateway: Resource
) -> None:
    table = provider.create("aws:ec2:RouteTable", "table", vpcId=vpc.id)
    propagation = provider.create(
        "aws:ec2:VpnGatewayRoutePropagation", "vpn", vpnGatewayId=gateway.id, routeTableId=table.id
    )
    assert provider.refresh(propagation) == {}
    provider.delete(propagation)
    assert provider.refresh(propagation) is None


def test_a_transit_gateway_is_created_updated_and_deleted(provider: Client, transit: Resource) -> None:
    assert transit["associationDefaultRouteTableId"].startswith("tgw-rtb-")
    assert provider.refresh(transit) == {}
    assert provider.update(transit, description="prod") == {"description": "update"}
    assert provider.refresh(transit) == {}
    provider.delete(transit)
    assert provider.refresh(transit) is None


def test_a_vpc_attachment_is_created_and_deleted(
    provider: Client, vpc: Resource, subnet: Resource, transit: Resource
) -> None:
    attachment = provider.create(
        "aws:ec2transitgateway:VpcAttachment",
        "vpn",
        transitGatewayId=transit.id,
        vpcId=vpc.id,
        subnetIds=[subnet.id],
    )
    assert provider.refresh(attachment) == {}
    provider.delete(attachment)
    assert provider.refresh(attachment) is None


def test_a_transit_gateway_route_to_a_connection_is_created_and_deleted(
    provider: Client, customer: Resource, transit: Resource
) -> None:
    connection = provider.create(
        "aws:ec2:VpnConnection",
        "vpn",
        type="ipsec.1",
        customerGatewayId=customer.id,
        transitGatewayId=transit.id,
        staticRoutesOnly=True,
        **tunnel(1),
        **tunnel(2),
    )
    route = provider.create(
        "aws:ec2transitgateway:Route",
        "remote",
        destinationCidrBlock=REMOTE,
        transitGatewayAttachmentId=connection["transitGatewayAttachmentId"],
        transitGatewayRouteTableId=transit["associationDefaultRouteTableId"],
    )
    assert (provider.refresh(connection), provider.refresh(route)) == ({}, {})
    provider.delete(route)
    assert provider.refresh(route) is None

"""The stack's VPN on the embedded engine: made, found unchanged, spoilt by hand and mended, removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pulumi.automation import ConfigValue

from rehearsal.cloud.additions import vpn as additions
from rehearsal.engine import Stack

from .conftest import Traffic, counts
from .front import Client
from .test_drift import GONE, Hands, drift

pytestmark = pytest.mark.usefixtures("warm")
VPN: dict[str, Any] = {
    "customerGatewayIp": "198.51.100.7",
    "officeCidrs": ["192.168.0.0/24"],
    "allow": [{"port": 22}],
}


@pytest.fixture(autouse=True, scope="module")
def _emulated() -> None:
    additions.extend()  # adds to moto what no other test calls


def configure(stack: Stack, vpn: dict[str, Any]) -> None:
    """As people do it: value by value, the keys as secrets."""
    stack.remove_config("vpn")
    for path, value in leaves("vpn", vpn):
        secret = path.startswith("vpn.presharedKeys")
        stack.set_config(path, ConfigValue(str(value), secret=secret), path=True)


def leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(f"{path}.{key}", item)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from leaves(f"{path}[{place}]", item)
    else:
        yield path, value


def resources(stack: Stack) -> set[str]:
    deployment = stack.export_stack().deployment
    assert deployment is not None
    return {str(each["urn"]) for each in deployment["resources"]}


@pytest.mark.parametrize("routing", ["static", "bgp"])
@pytest.mark.parametrize("gateway", ["vgw", "tgw"])
def test_a_vpn_comes_stays_and_goes(stack: Stack, aws: Client, traffic: Traffic, gateway: str, routing: str) -> None:
    stack.up()
    without = resources(stack)
    configure(stack, VPN | {"gateway": gateway, "routing": routing})
    stack.up()
    assert drift(stack) == {}
    traffic.actions.clear()
    again = counts(stack.up(refresh=True).summary.resource_changes)
    assert set(again) == {"same"}
    assert [each for each in traffic.writes() if not each.startswith("Search")] == []

    stack.remove_config("vpn")
    stack.up()
    assert resources(stack) == without
    found = aws("ec2").describe_vpn_connections()["VpnConnections"]
    assert [each["State"] for each in found] == ["deleted"]
    stack.destroy()


def test_what_hands_did_to_a_vpn_is_named_and_mended(stack: Stack, aws: Client, traffic: Traffic) -> None:
    configure(stack, VPN)
    stack.up()
    hands, ec2 = Hands(stack, aws), aws("ec2")
    connection = hands.id("VpnConnection vpn")
    (found,) = ec2.describe_vpn_connections(VpnConnectionIds=[connection])["VpnConnections"]
    second = found["Options"]["TunnelOptions"][1]["OutsideIpAddress"]
    ec2.modify_vpn_tunnel_options(
        VpnConnectionId=connection,
        VpnTunnelOutsideIpAddress=second,
        TunnelOptions={"DPDTimeoutAction": "clear", "IKEVersions": [{"Value": "ikev1"}, {"Value": "ikev2"}]},
    )
    ec2.delete_vpn_connection_route(VpnConnectionId=connection, DestinationCidrBlock="192.168.0.0/24")
    propagation = "VpnGatewayRoutePropagation vpn-eu-central-1a"
    ec2.disable_vgw_route_propagation(
        GatewayId=hands.id("VpnGateway vpn"), RouteTableId=hands.inputs(propagation)["routeTableId"]
    )
    ec2.detach_vpn_gateway(VpnGatewayId=hands.id("VpnGateway vpn"), VpcId=hands.id("Vpc network"))
    ec2.create_tags(Resources=[hands.id("CustomerGateway vpn-office")], Tags=[{"Key": "Name", "Value": "mine"}])
    assert drift(stack) == {
        "VpnConnection vpn": ["tunnel2DpdTimeoutAction", "tunnel2IkeVersions"],
        "VpnConnectionRoute vpn-192.168.0.0/24": GONE,
        propagation: GONE,
        "VpnGateway vpn": ["vpcId"],
        "CustomerGateway vpn-office": ["tags.Name"],
    }
    stack.up(refresh=True)
    assert drift(stack) == {}
    assert hands.id("VpnConnection vpn") == Hands(stack, aws).id("VpnConnection vpn")


def test_a_tunnels_option_changes_in_place_and_an_inside_range_does_not(stack: Stack, aws: Client) -> None:
    configure(stack, VPN)
    stack.up()
    before = Hands(stack, aws).id("VpnConnection vpn")
    configure(stack, VPN | {"startupAction": "add"})
    assert counts(stack.up().summary.resource_changes)["update"] == 1
    (found,) = aws("ec2").describe_vpn_connections(VpnConnectionIds=[before])["VpnConnections"]
    assert [each["StartupAction"] for each in found["Options"]["TunnelOptions"]] == ["add", "add"]
    configure(stack, VPN | {"insideCidrs": ["169.254.44.0/30", "169.254.45.0/30"]})
    stack.up()
    assert Hands(stack, aws).id("VpnConnection vpn") != before


def test_given_keys_reach_aws_and_stay_secret(stack: Stack, aws: Client) -> None:
    keys = ["first.key_1", "second.key_2"]
    configure(stack, VPN | {"presharedKeys": keys})
    told: list[str] = []
    stack.up(on_output=told.append)
    (found,) = aws("ec2").describe_vpn_connections()["VpnConnections"]
    assert [each["PreSharedKey"] for each in found["Options"]["TunnelOptions"]] == keys
    shown = "".join(told) + repr({name: each.value for name, each in stack.outputs().items()})
    assert [key for key in keys if key in shown] == []


def test_keys_that_aws_makes_lie_in_secrets_manager_only(stack: Stack, aws: Client) -> None:
    configure(stack, VPN)
    stack.up()
    (found,) = aws("ec2").describe_vpn_connections()["VpnConnections"]
    kept = json.loads(aws("secretsmanager").get_secret_value(SecretId=found["PreSharedKeyArn"])["SecretString"])
    assert kept.keys() == {each["OutsideIpAddress"] for each in found["Options"]["TunnelOptions"]}
    state = json.dumps(stack.export_stack().deployment)
    assert [key for key in kept.values() if key in state or key in found["CustomerGatewayConfiguration"]] == []

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.vpn import Vpn, VpnArgs
from config.settings import LogSettings
from config.vpn import Gateway, Routing, VpnSettings
from tests.declared import CONTEXT, Declaration, declare

TAGS = {"Name": "dev-vpn", "Stack": "dev"}
OFFICE = {"Name": "dev-customer-gateway", "Stack": "dev"}
ALARMS = {
    ("cloudwatch.MetricAlarm", "vpn-tunnel1-down"),
    ("cloudwatch.MetricAlarm", "vpn-tunnel2-down"),
    ("cloudwatch.MetricAlarm", "vpn-down"),
}
ALWAYS = {("cloudwatch.LogGroup", "vpn"), ("ec2.CustomerGateway", "vpn-office"), ("ec2.VpnConnection", "vpn"), *ALARMS}
TABLES = {"eu-central-1a": "rtb-a", "eu-central-1b": "rtb-b"}


def vpn(keys: tuple[str, ...] = (), protect: bool = False, **changes: Any) -> Declaration:
    options: dict[str, Any] = {"customer_gateway_ip": "198.51.100.7", "remote_cidrs": ("192.168.0.0/24",)}

    def program() -> None:
        args = VpnArgs(
            vpc_id="vpc-1",
            subnet_ids=["subnet-a", "subnet-b"],
            route_tables=TABLES,
            topic_arn="arn:topic",
        )
        settings = VpnSettings(preshared_keys=keys, **(options | changes))
        Vpn("vpn", replace(CONTEXT, protect=protect), settings, LogSettings(retention_days=90), args)

    return declare(program)


def tunnel(number: int, inside: str) -> dict[str, Any]:
    settings = {
        "DpdTimeoutAction": "restart",
        "DpdTimeoutSeconds": 30,
        "EnableTunnelLifecycleControl": True,
        "IkeVersions": ["ikev2"],
        "InsideCidr": inside,
        "LogOptions": {
            "cloudwatchLogOptions": {
                "logEnabled": True,
                "logGroupArn": "arn:aws:cloudwatch:eu-central-1:123456789012:LogGroup/vpn",
                "logOutputFormat": "json",
            }
        },
        "Phase1DhGroupNumbers": [19, 20, 21],
        "Phase1EncryptionAlgorithms": ["AES256-GCM-16"],
        "Phase1IntegrityAlgorithms": ["SHA2-384", "SHA2-512"],
        "Phase1LifetimeSeconds": 28800,
        "Phase2DhGroupNumbers": [19, 20, 21],
        "Phase2EncryptionAlgorithms": ["AES256-GCM-16"],
        "Phase2IntegrityAlgorithms": ["SHA2-384", "SHA2-512"],
        "Phase2LifetimeSeconds": 3600,
        "RekeyMarginTimeSeconds": 270,
        "StartupAction": "start",
    }
    return {f"tunnel{number}{key}": value for key, value in settings.items()}


CONNECTION = {
    "customerGatewayId": "ec2.CustomerGateway:vpn-office",
    "presharedKeyStorage": "SecretsManager",
    "staticRoutesOnly": True,
    "tags": TAGS,
    "type": "ipsec.1",
    **tunnel(1, "169.254.100.0/30"),
    **tunnel(2, "169.254.101.0/30"),
}


def test_static_routes_lead_to_a_private_gateway() -> None:
    declared = vpn()
    assert declared.table() == ALWAYS | {
        ("ec2.VpnGateway", "vpn"),
        ("ec2.VpnConnectionRoute", "vpn-192.168.0.0/24"),
        ("ec2.VpnGatewayRoutePropagation", "vpn-eu-central-1a"),
        ("ec2.VpnGatewayRoutePropagation", "vpn-eu-central-1b"),
    }
    assert declared.one("ec2.CustomerGateway").inputs == {
        "bgpAsn": "65000",
        "ipAddress": "198.51.100.7",
        "tags": OFFICE,
        "type": "ipsec.1",
    }
    assert declared.one("ec2.VpnGateway").inputs == {"amazonSideAsn": "64512", "tags": TAGS, "vpcId": "vpc-1"}
    assert declared.one("ec2.VpnConnection").inputs == CONNECTION | {"vpnGatewayId": "ec2.VpnGateway:vpn"}
    assert declared.one("ec2.VpnConnectionRoute").inputs == {
        "destinationCidrBlock": "192.168.0.0/24",
        "vpnConnectionId": "ec2.VpnConnection:vpn",
    }
    assert declared.one("ec2.VpnGatewayRoutePropagation", "vpn-eu-central-1b").inputs == {
        "routeTableId": "rtb-b",
        "vpnGatewayId": "ec2.VpnGateway:vpn",
    }


def test_with_bgp_nobody_tells_routes() -> None:
    declared = vpn(routing=Routing.BGP, bgp_asn=65010, amazon_asn=64600, startup_action="add")
    assert declared.all("ec2.VpnConnectionRoute") == {}
    assert len(declared.all("ec2.VpnGatewayRoutePropagation")) == 2
    assert declared.one("ec2.CustomerGateway").inputs["bgpAsn"] == "65010"
    assert declared.one("ec2.VpnGateway").inputs["amazonSideAsn"] == "64600"
    assert declared.one("ec2.VpnConnection").inputs == CONNECTION | {
        "vpnGatewayId": "ec2.VpnGateway:vpn",
        "staticRoutesOnly": False,
        "tunnel1StartupAction": "add",
        "tunnel2StartupAction": "add",
    }


def test_a_long_as_number_has_its_own_input() -> None:
    inputs = vpn(routing=Routing.BGP, bgp_asn=4_200_000_001).one("ec2.CustomerGateway").inputs
    assert inputs == {"bgpAsnExtended": "4200000001", "ipAddress": "198.51.100.7", "tags": OFFICE, "type": "ipsec.1"}


def test_a_transit_gateway_gets_routes_at_both_sides() -> None:
    declared = vpn(gateway=Gateway.TGW)
    assert declared.table() == ALWAYS | {
        ("ec2transitgateway.TransitGateway", "vpn"),
        ("ec2transitgateway.VpcAttachment", "vpn"),
        ("ec2transitgateway.Route", "vpn-192.168.0.0/24"),
        ("ec2.Route", "vpn-eu-central-1a-192.168.0.0/24"),
        ("ec2.Route", "vpn-eu-central-1b-192.168.0.0/24"),
    }
    gateway = "ec2transitgateway.TransitGateway:vpn"
    assert declared.one("ec2transitgateway.TransitGateway").inputs == {
        "amazonSideAsn": 64512,
        "autoAcceptSharedAttachments": "disable",
        "description": "dev: the remote network and the VPC",
        "tags": TAGS,
    }
    attachment = declared.one("ec2transitgateway.VpcAttachment")
    assert attachment.inputs == {
        "subnetIds": ["subnet-a", "subnet-b"],
        "tags": TAGS,
        "transitGatewayId": gateway,
        "vpcId": "vpc-1",
    }
    assert declared.one("ec2.VpnConnection").inputs == CONNECTION | {"transitGatewayId": gateway}
    assert declared.one("ec2transitgateway.Route").inputs == {
        "destinationCidrBlock": "192.168.0.0/24",
        "transitGatewayAttachmentId": "tgw-attach-vpn",
        "transitGatewayRouteTableId": "tgw-rtb-default",
    }
    route = declared.one("ec2.Route", "vpn-eu-central-1a-192.168.0.0/24")
    assert route.inputs == {
        "destinationCidrBlock": "192.168.0.0/24",
        "routeTableId": "rtb-a",
        "transitGatewayId": gateway,
    }
    assert attachment.urn in route.dependencies


def test_a_transit_gateway_with_bgp_learns_the_offices_ranges() -> None:
    declared = vpn(gateway=Gateway.TGW, routing=Routing.BGP)
    assert declared.all("ec2transitgateway.Route") == {}
    assert len(declared.all("ec2.Route")) == 2


def test_given_keys_are_secret() -> None:
    connection = vpn(keys=("first.key_1", "second.key_2")).one("ec2.VpnConnection")
    assert connection.inputs == CONNECTION | {
        "vpnGatewayId": "ec2.VpnGateway:vpn",
        "presharedKeyStorage": "Standard",
        "tunnel1PresharedKey": "first.key_1",
        "tunnel2PresharedKey": "second.key_2",
    }
    assert connection.secrets == {"tunnel1PresharedKey", "tunnel2PresharedKey"}


def test_settings_never_show_their_keys() -> None:
    settings = VpnSettings(customer_gateway_ip="198.51.100.7", preshared_keys=("first.key_1", "k" * 8))
    assert "first.key_1" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "dimensions", "periods"),
    [
        ("vpn-tunnel1-down", {"VpnId": "ec2.VpnConnection:vpn", "TunnelIpAddress": "203.0.113.1"}, 3),
        ("vpn-tunnel2-down", {"VpnId": "ec2.VpnConnection:vpn", "TunnelIpAddress": "203.0.113.2"}, 3),
        ("vpn-down", {"VpnId": "ec2.VpnConnection:vpn"}, 1),
    ],
)
def test_alarms_tell_of_one_tunnel_and_of_both(name: str, dimensions: dict[str, str], periods: int) -> None:
    inputs = dict(vpn().one("cloudwatch.MetricAlarm", name).inputs)
    assert inputs.pop("alarmDescription").startswith("dev: ")
    assert inputs == {
        "alarmActions": ["arn:topic"],
        "comparisonOperator": "LessThanThreshold",
        "dimensions": dimensions,
        "evaluationPeriods": periods,
        "metricName": "TunnelState",
        "name": f"dev-{name}",
        "namespace": "AWS/VPN",
        "okActions": ["arn:topic"],
        "period": 300,
        "statistic": "Maximum",
        "tags": {"Name": f"dev-{name}", "Stack": "dev"},
        "threshold": 1,
        "treatMissingData": "breaching",
    }


def test_tunnels_log_for_as_long_as_all_else() -> None:
    assert vpn().one("cloudwatch.LogGroup").inputs == {
        "namePrefix": "/bluegreen/dev/vpn-",
        "retentionInDays": 90,
        "tags": TAGS,
    }


@pytest.mark.parametrize(
    ("gateway", "kept"), [(Gateway.VGW, "ec2.VpnGateway"), (Gateway.TGW, "ec2transitgateway.TransitGateway")]
)
def test_what_the_office_is_configured_for_can_be_protected(gateway: Gateway, kept: str) -> None:
    declared = vpn(gateway=gateway, protect=True)
    protected = {each.type.rpartition(":")[2] for each in declared.resources if each.protect}
    assert protected == {kept.rpartition(".")[2], "VpnConnection"}

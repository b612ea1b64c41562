from __future__ import annotations

import pulumi

from components.instance_access import InstanceAccess
from config.settings import AppSettings
from config.vpn import AllowedPort, VpnSettings
from tests.declared import CONTEXT, Declaration, declare

INSTANCES = "ec2.SecurityGroup:machines"
ON_THE_PORT = {"ipProtocol": "tcp", "fromPort": 8080, "toPort": 8080}


def access(vpn: VpnSettings | None = None) -> Declaration:
    def program() -> None:
        made = InstanceAccess(
            "machines", CONTEXT, AppSettings(port=8080), vpn, vpc_id="vpc-1", load_balancer_group="sg-balancer"
        )
        pulumi.CustomResource("test:index:Reader", "reader", {"group": made.security_group_id})

    return declare(program)


def test_the_balancer_and_nobody_else_comes_in() -> None:
    declared = access()
    assert declared.all("vpc.SecurityGroupIngressRule").keys() == {"machines-from-balancer"}
    assert declared.one("vpc.SecurityGroupIngressRule").inputs == {
        "description": "The load balancer",
        "referencedSecurityGroupId": "sg-balancer",
        "securityGroupId": INSTANCES,
        **ON_THE_PORT,
    }
    assert declared.one("ec2.SecurityGroup").inputs == {
        "description": "Instances: the load balancer in, everything out",
        "tags": {"Name": "dev-instances", "Stack": "dev"},
        "vpcId": "vpc-1",
    }


def test_the_office_comes_in_where_it_may() -> None:
    allows = (AllowedPort(port=22), AllowedPort(port=53, protocol="udp"))
    vpn = VpnSettings(customer_gateway_ip="198.51.100.7", remote_cidrs=("192.168.0.0/24",), allow=allows)
    rules = access(vpn).all("vpc.SecurityGroupIngressRule")
    assert rules.keys() == {
        "machines-from-balancer",
        "machines-from-office-tcp-22-192.168.0.0/24",
        "machines-from-office-udp-53-192.168.0.0/24",
    }
    assert rules["machines-from-office-udp-53-192.168.0.0/24"].inputs == {
        "cidrIpv4": "192.168.0.0/24",
        "description": "The remote network, through the VPN",
        "fromPort": 53,
        "ipProtocol": "udp",
        "securityGroupId": INSTANCES,
        "toPort": 53,
    }


def test_the_balancer_goes_to_the_machines_port_only() -> None:
    assert access().one("vpc.SecurityGroupEgressRule", "machines-balancer-out").inputs == {
        "description": "The instances",
        "referencedSecurityGroupId": INSTANCES,
        "securityGroupId": "sg-balancer",
        **ON_THE_PORT,
    }


def test_machines_call_whom_they_need() -> None:
    declared = access()
    assert declared.all("vpc.SecurityGroupEgressRule").keys() == {"machines-out", "machines-balancer-out"}
    assert declared.one("vpc.SecurityGroupEgressRule", "machines-out").inputs == {
        "cidrIpv4": "0.0.0.0/0",
        "ipProtocol": "-1",
        "securityGroupId": INSTANCES,
    }


def test_who_gets_the_group_waits_for_its_rules() -> None:
    declared = access()
    rules = [
        each.urn for each in declared.resources if "SecurityGroup" in each.type and each.type.startswith("aws:vpc")
    ]
    reader = declared.one("test.Reader")
    assert len(rules) == 3
    assert set(rules) <= reader.dependencies
    assert reader.inputs == {"group": INSTANCES}

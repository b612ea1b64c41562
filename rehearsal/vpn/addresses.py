"""Who has which address between office and cloud, and the connection that is played when no stack brings one."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from scripts.vpn_render import Connection, Tunnel

KEY_LENGTH = 32
# TEST-NETs (RFC 5737), as AWS and the office's provider would give them.
OFFICE_IP, OUTSIDE_IPS = "203.0.113.10", ("198.51.100.10", "198.51.100.20")
OFFICE_CIDR, VPC_CIDR = "192.168.10.0/24", "10.20.0.0/16"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Addresses of the inner hosts and gateways, as text; the outer ones are the connection's."""

    office_network: IPv4Network
    office_gateway: str
    office_host: str
    cloud_network: IPv4Network
    cloud_gateway: str
    cloud_host: str


def plan_of(connection: Connection, *, cloud_network: IPv4Network | None = None) -> Plan:
    """The office's first range and the VPC's hold one network each: first address the gateway, tenth a host.

    `cloud_network`, where machines exist already, keeps its first address for what is there: the gateway takes the
    last but one.
    """
    office = IPv4Network(connection.office_cidrs[0])
    cloud = cloud_network or IPv4Network(connection.vpc_cidrs[0])
    return Plan(
        office_network=office,
        office_gateway=str(office[1]),
        office_host=str(_host(office)),
        cloud_network=cloud,
        cloud_gateway=str(cloud[-2] if cloud_network else cloud[1]),
        cloud_host=str(_host(cloud)),
    )


def _host(network: IPv4Network) -> IPv4Address:
    """The tenth address; of a small network the last usable one."""
    return network[min(10, network.num_addresses - 2)]


def new_key() -> str:
    """A pre-shared key of the kind that AWS makes."""
    rest = string.ascii_letters + string.digits
    return secrets.choice(string.ascii_letters) + "".join(secrets.choice(rest) for _ in range(KEY_LENGTH - 1))


def own_connection() -> Connection:
    """A connection with fresh keys that no cloud made."""
    first, second = (_tunnel(ip, place) for place, ip in enumerate(OUTSIDE_IPS))
    return Connection(
        id="vpn-rehearsal",
        office_ip=OFFICE_IP,
        office_cidrs=(OFFICE_CIDR,),
        vpc_cidrs=(VPC_CIDR,),
        routing="static",
        office_asn=65000,
        amazon_asn=64512,
        tunnels=(first, second),
    )


def _tunnel(outside: str, place: int) -> Tunnel:
    inside = IPv4Network(f"169.254.{10 + place}.0/30")
    return Tunnel(
        outside_ip=outside,
        inside_cidr=str(inside),
        aws_inside_ip=str(inside[1]),
        office_inside_ip=str(inside[2]),
        preshared_key=new_key(),
    )


def with_new_key(connection: Connection, place: int) -> Connection:
    """The same connection, but for the key of tunnel 1 or 2."""
    tunnels = list(connection.tunnels)
    tunnels[place - 1] = replace(tunnels[place - 1], preshared_key=new_key())
    first, second = tunnels
    return replace(connection, tunnels=(first, second))

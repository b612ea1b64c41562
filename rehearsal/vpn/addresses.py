"""Address plan of remote network and cloud, and a generated connection for runs without a stack."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from scripts.vpn.render import Connection, Tunnel

KEY_LENGTH = 32
# TEST-NETs (RFC 5737), in place of public addresses.
REMOTE_IP, OUTSIDE_IPS = "203.0.113.10", ("198.51.100.10", "198.51.100.20")
REMOTE_CIDR, VPC_CIDR = "192.168.10.0/24", "10.20.0.0/16"


@dataclass(frozen=True, kw_only=True)
class AddressPlan:
    """Private addresses of hosts and gateways; the public ones are in the connection."""

    remote_network: IPv4Network
    remote_gateway: str
    remote_host: str
    cloud_network: IPv4Network
    cloud_gateway: str
    cloud_host: str


def plan_addresses(connection: Connection, *, cloud_network: IPv4Network | None = None) -> AddressPlan:
    """Addresses in the first CIDR of each side: the first for the gateway, the tenth for a host.

    In a `cloud_network` with existing instances the first address is in use: the gateway gets the last but one.
    """
    remote = IPv4Network(connection.remote_cidrs[0])
    cloud = cloud_network or IPv4Network(connection.vpc_cidrs[0])
    return AddressPlan(
        remote_network=remote,
        remote_gateway=str(remote[1]),
        remote_host=str(_host(remote)),
        cloud_network=cloud,
        cloud_gateway=str(cloud[-2] if cloud_network else cloud[1]),
        cloud_host=str(_host(cloud)),
    )


def _host(network: IPv4Network) -> IPv4Address:
    """The tenth address, or the last usable one of a small network."""
    return network[min(10, network.num_addresses - 2)]


def new_key() -> str:
    """A pre-shared key in AWS's format."""
    rest = string.ascii_letters + string.digits
    return secrets.choice(string.ascii_letters) + "".join(secrets.choice(rest) for _ in range(KEY_LENGTH - 1))


def generated_connection() -> Connection:
    """A connection with new keys, without a stack."""
    first, second = (_tunnel(ip, number) for number, ip in enumerate(OUTSIDE_IPS))
    return Connection(
        id="vpn-rehearsal",
        customer_gateway_ip=REMOTE_IP,
        remote_cidrs=(REMOTE_CIDR,),
        vpc_cidrs=(VPC_CIDR,),
        routing="static",
        customer_gateway_asn=65000,
        amazon_asn=64512,
        tunnels=(first, second),
    )


def _tunnel(outside: str, number: int) -> Tunnel:
    inside = IPv4Network(f"169.254.{10 + number}.0/30")
    return Tunnel(
        outside_ip=outside,
        inside_cidr=str(inside),
        aws_inside_ip=str(inside[1]),
        customer_gateway_inside_ip=str(inside[2]),
        preshared_key=new_key(),
    )


def with_new_key(connection: Connection, number: int) -> Connection:
    """The same connection with a new key for tunnel 1 or 2."""
    tunnels = list(connection.tunnels)
    tunnels[number - 1] = replace(tunnels[number - 1], preshared_key=new_key())
    first, second = tunnels
    return replace(connection, tunnels=(first, second))

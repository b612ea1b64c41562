"""Site-to-site VPN connection for the customer gateway, and the parser of AWS's XML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from xml.etree import ElementTree

# AES-GCM needs no integrity algorithm of its own; with it AWS takes the "integrity" option for IKE's PRF.
IKE_PROPOSAL = "aes256gcm16-prfsha384-prfsha512-ecp384-ecp521-ecp256"
ESP_PROPOSAL = "aes256gcm16-ecp384-ecp521-ecp256"
# What stands in a key's number where AWS keeps the keys in Secrets Manager
# (https://github.com/hashicorp/terraform-provider-aws/pull/42819).
REDACTED = "REDACTED"
# What AWS allows as a key. One of it can stand in quotes in any file that is rendered.
KEY = re.compile(r"[1-9A-Za-z._][0-9A-Za-z._]{7,63}")
ROUTINGS = ("static", "bgp")


class UnreadableError(ValueError):
    """What was given is no customer gateway XML of AWS; the message says what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Tunnel:
    """One of the two tunnels. Addresses are IPv4; times in seconds, `mss` in bytes; the key is never in a repr."""

    outside_ip: str
    inside_cidr: str
    customer_gateway_inside_ip: str
    aws_inside_ip: str
    preshared_key: str = field(repr=False)
    ike_proposal: str = IKE_PROPOSAL
    esp_proposal: str = ESP_PROPOSAL
    ike_lifetime: int = 28800
    esp_lifetime: int = 3600
    dpd_interval: int = 10
    mss: int = 1379


@dataclass(frozen=True, kw_only=True)
class Connection:
    """`routing` is static or bgp; `customer_gateway_ip` is the gateway's public address, also behind NAT."""

    id: str
    customer_gateway_ip: str
    remote_cidrs: tuple[str, ...]
    vpc_cidrs: tuple[str, ...]
    routing: str
    customer_gateway_asn: int
    amazon_asn: int
    tunnels: tuple[Tunnel, Tunnel]


def parse_xml(text: str, *, remote_cidrs: Sequence[str] = (), vpc_cidrs: Sequence[str] = ()) -> Connection:
    """AWS's CustomerGatewayConfiguration. It names no ranges: those of both ends are given beside it.

    A tunnel whose key AWS keeps in Secrets Manager comes with an empty one. Raises UnreadableError.
    """
    root = _root(text)
    tunnels = tuple(_tunnel(each, number) for number, each in enumerate(root.findall("ipsec_tunnel"), start=1))
    if len(tunnels) != 2:
        raise UnreadableError(f"the XML has {len(tunnels)} ipsec_tunnel elements; a connection of AWS has 2")
    first = root.findall("ipsec_tunnel")[0]
    attributes = root.findtext("vpn_connection_attributes") or ""
    return Connection(
        id=root.get("id") or _missing("vpn_connection's id"),
        customer_gateway_ip=_address(first, "customer_gateway/tunnel_outside_address/ip_address"),
        remote_cidrs=tuple(remote_cidrs),
        vpc_cidrs=tuple(vpc_cidrs),
        routing="static" if "NoBGP" in attributes else "bgp",
        customer_gateway_asn=_number(first, "customer_gateway/bgp/asn", 65000),
        amazon_asn=_number(first, "vpn_gateway/bgp/asn", 64512),
        tunnels=(tunnels[0], tunnels[1]),
    )


def _root(text: str) -> ElementTree.Element:
    # AWS sends no DOCTYPE; entities of one could grow without end.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UnreadableError("the XML has a DOCTYPE; AWS's has none")
    try:
        root = ElementTree.fromstring(text.strip())  # noqa: S314 - no entities, see above
    except ElementTree.ParseError as error:
        raise UnreadableError(f"this is no XML: {error}") from None
    if root.tag != "vpn_connection":
        raise UnreadableError(f"the XML's root is {root.tag}; that of AWS's customer gateway XML is vpn_connection")
    return root


def _tunnel(found: ElementTree.Element, number: int) -> Tunnel:
    inside = _address(found, "customer_gateway/tunnel_inside_address/ip_address")
    prefix = _number(found, "customer_gateway/tunnel_inside_address/network_cidr", 30)
    text = (found.findtext("ike/pre_shared_key") or "").strip()
    key = "" if text == REDACTED else text
    if key and not KEY.fullmatch(key):
        raise UnreadableError(f"tunnel {number}'s key is not AWS's: 8 to 64 letters, digits, . and _, no leading 0")
    return Tunnel(
        outside_ip=_address(found, "vpn_gateway/tunnel_outside_address/ip_address"),
        inside_cidr=str(IPv4Interface(f"{inside}/{prefix}").network),
        customer_gateway_inside_ip=inside,
        aws_inside_ip=_address(found, "vpn_gateway/tunnel_inside_address/ip_address"),
        preshared_key=key,
        ike_lifetime=_number(found, "ike/lifetime", Tunnel.ike_lifetime),
        esp_lifetime=_number(found, "ipsec/lifetime", Tunnel.esp_lifetime),
        dpd_interval=_number(found, "ipsec/dead_peer_detection/interval", Tunnel.dpd_interval),
        mss=_number(found, "ipsec/tcp_mss_adjustment", Tunnel.mss),
    )


def _address(found: ElementTree.Element, path: str) -> str:
    text = (found.findtext(path) or "").strip() or _missing(path)
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise UnreadableError(f"{path}: {text} is no IPv4 address") from None


def _number(found: ElementTree.Element, path: str, default: int) -> int:
    text = (found.findtext(path) or "").strip()
    if text and not re.fullmatch(r"\d{1,10}", text):
        raise UnreadableError(f"{path}: {text} is no number")
    return int(text) if text else default


def _missing(what: str) -> str:
    raise UnreadableError(f"the XML lacks {what}")


def problems(connection: Connection) -> list[str]:
    """Why a configuration can't be rendered of it, one sentence each."""
    found = []
    for what, ranges in (("the remote network", connection.remote_cidrs), ("the VPC", connection.vpc_cidrs)):
        if not ranges:
            found.append(f"no range of {what} is known")
        found += [f"{each}: no IPv4 range (of {what})" for each in ranges if not _is_range(each)]
    found += _overlaps(connection)
    found += [
        f"tunnel {number} ({each.outside_ip}) has no pre-shared key"
        for number, each in enumerate(connection.tunnels, start=1)
        if not each.preshared_key
    ]
    if connection.routing not in ROUTINGS:
        found.append(f"routing {connection.routing}: allowed is static or bgp")
    return found


def _overlaps(connection: Connection) -> list[str]:
    """Each end would route the other's packets to itself."""
    return [
        f"{remote} (of the remote network) overlaps {vpc} (of the VPC): allowed are ranges apart from each other"
        for remote in filter(_is_range, connection.remote_cidrs)
        for vpc in filter(_is_range, connection.vpc_cidrs)
        if IPv4Network(remote).overlaps(IPv4Network(vpc))
    ]


def _is_range(text: str) -> bool:
    try:
        IPv4Network(text)
    except ValueError:
        return False
    return True

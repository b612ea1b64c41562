"""What a site-to-site VPN is told, checked and put into AWS's terms: addresses, routing, ciphers, timings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Any

# What AWS allows as a pre-shared key.
KEY = re.compile(r"[1-9A-Za-z._][0-9A-Za-z._]{7,63}")
INSIDE = IPv4Network("169.254.0.0/16")
# AWS uses these itself, or keeps them for the metadata service.
RESERVED = tuple(IPv4Network(f"169.254.{each}/30") for each in (*(f"{third}.0" for third in range(6)), "169.252"))
INSIDE_CIDRS = ("169.254.100.0/30", "169.254.101.0/30")
# Ranges that nothing comes from on the Internet, so that AWS could not answer there.
_NOT_PUBLIC = tuple(
    IPv4Network(each)
    for each in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.168.0.0/16", "224.0.0.0/3"),
    )
)
OFFICE_ASN, AMAZON_ASN = 65000, 64512
HIGHEST_ASN = 4_294_967_294
HIGHEST_SHORT_ASN = 2_147_483_647  # above, the provider has another input
AMAZON_ASNS = (range(64512, 65535), range(4_200_000_000, HIGHEST_ASN + 1))
PROTOCOLS = ("tcp", "udp")
MOST_STATIC_ROUTES = 100  # of one connection (AWS quota)

ENCRYPTION = ["AES256-GCM-16"]
# GCM needs none for the packets; IKE makes its keys with it.
INTEGRITY = ["SHA2-384", "SHA2-512"]
# ECP 256, 384 and 521.
DH_GROUPS = [19, 20, 21]
DPD_TIMEOUT = 30  # seconds, the least that AWS takes
PHASE_1_LIFETIME, PHASE_2_LIFETIME = 28800, 3600  # seconds, the most that AWS takes


class Routing(StrEnum):
    """How each end learns the other's ranges: told once, or from the neighbor."""

    STATIC = "static"
    BGP = "bgp"


class Gateway(StrEnum):
    """AWS's end: a virtual private gateway of the VPC, or a transit gateway that other VPCs could join."""

    VGW = "vgw"
    TGW = "tgw"


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """A port of the machines that the office may reach."""

    port: int
    protocol: str = "tcp"


@dataclass(frozen=True, kw_only=True)
class VpnOptions:
    """`startup_action` is add (the office starts the tunnels) or start (AWS does as well).

    Without `preshared_keys` AWS makes them, and keeps them in Secrets Manager.
    """

    customer_gateway_ip: str
    office_cidrs: tuple[str, ...]
    routing: Routing = Routing.STATIC
    bgp_asn: int = OFFICE_ASN
    amazon_asn: int = AMAZON_ASN
    inside_cidrs: tuple[str, ...] = INSIDE_CIDRS
    gateway: Gateway = Gateway.VGW
    startup_action: str = "start"
    allow: tuple[Allowed, ...] = ()
    preshared_keys: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_static(self) -> bool:
        return self.routing is Routing.STATIC


def is_public(text: str) -> bool:
    try:
        address = IPv4Address(text)
    except AddressValueError:
        return False
    return not any(address in each for each in _NOT_PUBLIC)


def is_office_range(text: str) -> bool:
    try:
        given = IPv4Network(text)
    except ValueError:
        return False
    return given.prefixlen > 0 and not given.overlaps(INSIDE)


def is_inside_range(text: str) -> bool:
    try:
        given = IPv4Network(text)
    except ValueError:
        return False
    return given.prefixlen == 30 and given.subnet_of(INSIDE) and given not in RESERVED


def is_amazon_asn(number: int) -> bool:
    return any(number in each for each in AMAZON_ASNS)


def problems(options: VpnOptions, vpc_cidr: str) -> list[str]:
    """What is wrong between values that are each allowed: sentences that begin with the key below `vpn`."""
    found = [
        f"officeCidrs: {each}: overlaps the VPC's {vpc_cidr}; allowed are ranges outside of it"
        for each in options.office_cidrs
        if IPv4Network(each).overlaps(IPv4Network(vpc_cidr))
    ]
    found += _overlaps(options.office_cidrs)
    if not options.office_cidrs:
        found.append("officeCidrs: []: allowed is at least one range, else no traffic takes the tunnels")
    if len(options.office_cidrs) > MOST_STATIC_ROUTES:
        found.append(f"officeCidrs: {len(options.office_cidrs)} ranges: allowed are at most {MOST_STATIC_ROUTES}")
    for key, values in (("insideCidrs", options.inside_cidrs), ("presharedKeys", options.preshared_keys)):
        if len(values) != 2 and (values or key == "insideCidrs"):
            found.append(f"{key}: {len(values)} entries: allowed are 2, one for each tunnel")
    if options.bgp_asn == options.amazon_asn:
        found.append(f"bgpAsn: {options.bgp_asn}: allowed is another number than amazonAsn")
    return found


def _overlaps(ranges: Sequence[str]) -> list[str]:
    return [
        f"officeCidrs: {each}: overlaps {other}; allowed are ranges apart from each other"
        for place, each in enumerate(ranges)
        for other in ranges[:place]
        if IPv4Network(each).overlaps(IPv4Network(other))
    ]


def tunnel(options: VpnOptions, place: int) -> dict[str, Any]:
    """What AWS's end of one of the tunnels, 0 or 1, agrees to; by the provider's names without their `tunnel1_`."""
    return {
        # At creation: to change it later ends the connection.
        "inside_cidr": options.inside_cidrs[place],
        "ike_versions": ["ikev2"],
        "phase1_encryption_algorithms": ENCRYPTION,
        "phase1_integrity_algorithms": INTEGRITY,
        "phase1_dh_group_numbers": DH_GROUPS,
        "phase1_lifetime_seconds": PHASE_1_LIFETIME,
        "phase2_encryption_algorithms": ENCRYPTION,
        "phase2_integrity_algorithms": INTEGRITY,
        "phase2_dh_group_numbers": DH_GROUPS,
        "phase2_lifetime_seconds": PHASE_2_LIFETIME,
        # AWS's own default, told: its provider takes another number for the default, and each refresh would differ.
        "rekey_margin_time_seconds": 270,
        "dpd_timeout_action": "restart",
        "dpd_timeout_seconds": DPD_TIMEOUT,
        "startup_action": options.startup_action,
        # AWS announces the replacement of an endpoint and waits for a time that suits the office.
        "enable_tunnel_lifecycle_control": True,
    }

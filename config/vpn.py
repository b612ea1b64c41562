"""Settings of the site-to-site VPN: addresses, routing, and the ports that the remote network reaches."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Annotated, Any, ClassVar

from pydantic import Field

from config.values import Choice, Entries, Model, NotAllowed, SecretText, Text, ValueRule, WholeNumber

# Pre-shared keys that AWS allows.
KEY = re.compile(r"[1-9A-Za-z._][0-9A-Za-z._]{7,63}")
INSIDE = IPv4Network("169.254.0.0/16")
# AWS uses these itself, or for the metadata service.
RESERVED = tuple(IPv4Network(f"169.254.{each}/30") for each in (*(f"{third}.0" for third in range(6)), "169.252"))
INSIDE_CIDRS = ("169.254.100.0/30", "169.254.101.0/30")
# Ranges that are not routed on the Internet.
_NOT_PUBLIC = tuple(
    IPv4Network(each)
    for each in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.168.0.0/16", "224.0.0.0/3"),
    )
)
REMOTE_ASN, AMAZON_ASN = 65000, 64512
MAX_ASN = 4_294_967_294
MAX_SHORT_ASN = 2_147_483_647  # above, the provider has another input
AMAZON_ASNS = (range(64512, 65535), range(4_200_000_000, MAX_ASN + 1))
PROTOCOLS = ("tcp", "udp")
MAX_STATIC_ROUTES = 100  # of one connection (AWS quota)


class Routing(StrEnum):
    """How each side learns the other's ranges: static routes, or BGP."""

    STATIC = "static"
    BGP = "bgp"


class Gateway(StrEnum):
    """The gateway on AWS's side: a virtual private gateway of the VPC, or a transit gateway for several VPCs."""

    VGW = "vgw"
    TGW = "tgw"


@dataclass(frozen=True, kw_only=True)
class AllowedPort:
    """A port of the instances that the remote network may reach."""

    port: int
    protocol: str = "tcp"


class _Port(ValueRule):
    description = f"an object with port, 1 to 65535, and protocol, {' or '.join(PROTOCOLS)}"

    def read(self, value: Any) -> AllowedPort:
        if isinstance(value, AllowedPort):
            return value
        if not isinstance(value, dict) or not value.keys() <= {"port", "protocol"}:
            raise self.refusal(value)
        try:
            port = WholeNumber(1, 65535).read(value.get("port"))
            return AllowedPort(port=port, protocol=Choice(PROTOCOLS).read(value.get("protocol", "tcp")))
        except NotAllowed:
            raise self.refusal(value) from None


@dataclass(frozen=True)
class _Asn(WholeNumber):
    """The number of an autonomous system, validated by a function."""

    fits: Callable[[int], bool]
    description: str

    def read(self, value: Any) -> int:
        if not self.fits(number := super().read(value)):
            raise NotAllowed((number, f"allowed is {self.description}"))
        return number


def is_public(text: str) -> bool:
    try:
        address = IPv4Address(text)
    except AddressValueError:
        return False
    return not any(address in each for each in _NOT_PUBLIC)


def is_remote_range(text: str) -> bool:
    try:
        network = IPv4Network(text)
    except ValueError:
        return False
    return network.prefixlen > 0 and not network.overlaps(INSIDE)


def is_inside_range(text: str) -> bool:
    try:
        network = IPv4Network(text)
    except ValueError:
        return False
    return network.prefixlen == 30 and network.subnet_of(INSIDE) and network not in RESERVED


def is_amazon_asn(number: int) -> bool:
    return any(number in each for each in AMAZON_ASNS)


class VpnSettings(Model):
    """`startup_action` is add (only the remote side initiates the tunnels) or start (AWS does too).

    Without `preshared_keys` AWS generates them, and stores them in Secrets Manager.
    """

    renamed: ClassVar = {"officeCidrs": "remoteCidrs"}
    is_secret = True

    customer_gateway_ip: Annotated[str, Text(is_public, "a public IPv4 address")] = ""
    remote_cidrs: Annotated[
        tuple[str, ...], Entries(Text(is_remote_range, "an IPv4 range, none of 169.254.0.0/16"))
    ] = ()
    routing: Annotated[Routing, Choice(Routing)] = Routing.STATIC
    bgp_asn: Annotated[int, _Asn(1, MAX_ASN, lambda asn: asn != 23456, "another number, 23456 is reserved")] = (
        REMOTE_ASN
    )
    amazon_asn: Annotated[
        int,
        _Asn(1, MAX_ASN, is_amazon_asn, f"a private number, 64512 to 65534 or 4200000000 to {MAX_ASN}"),
    ] = AMAZON_ASN
    inside_cidrs: Annotated[
        tuple[str, ...],
        Entries(Text(is_inside_range, "a /30 of 169.254.0.0/16 that AWS does not reserve")),
    ] = INSIDE_CIDRS
    gateway: Annotated[Gateway, Choice(Gateway)] = Gateway.VGW
    startup_action: Annotated[str, Choice(("add", "start"))] = "start"
    allow: Annotated[tuple[AllowedPort, ...], Entries(_Port())] = ()
    preshared_keys: Annotated[
        tuple[str, ...], Entries(SecretText(KEY, "8 to 64 letters, digits, . and _, the first not 0"))
    ] = Field(default=(), repr=False)

    @property
    def is_static(self) -> bool:
        return self.routing is Routing.STATIC


def vpn_problems(settings: VpnSettings, vpc_cidr: str) -> list[str]:
    """Problems of combinations of valid values: sentences that begin with the key.

    Without a `vpc_cidr` overlaps with it are not checked.
    """
    problems = (
        [] if settings.customer_gateway_ip else ["customerGatewayIp: (not set): allowed is a public IPv4 address"]
    )
    problems += [
        f"remoteCidrs: {each}: overlaps the VPC's {vpc_cidr}; allowed are ranges outside of it"
        for each in settings.remote_cidrs
        if vpc_cidr and IPv4Network(each).overlaps(IPv4Network(vpc_cidr))
    ]
    problems += _overlaps(settings.remote_cidrs)
    if not settings.remote_cidrs:
        problems.append("remoteCidrs: []: allowed is at least one range, else no traffic uses the tunnels")
    if len(settings.remote_cidrs) > MAX_STATIC_ROUTES:
        problems.append(f"remoteCidrs: {len(settings.remote_cidrs)} ranges: allowed are at most {MAX_STATIC_ROUTES}")
    for key, values in (("insideCidrs", settings.inside_cidrs), ("presharedKeys", settings.preshared_keys)):
        if len(values) != 2 and (values or key == "insideCidrs"):
            problems.append(f"{key}: {len(values)} entries: allowed are 2, one for each tunnel")
    if settings.bgp_asn == settings.amazon_asn:
        problems.append(f"bgpAsn: {settings.bgp_asn}: allowed is another number than amazonAsn")
    return [f"vpn.{problem}" for problem in problems]


def _overlaps(ranges: Sequence[str]) -> list[str]:
    return [
        f"remoteCidrs: {each}: overlaps {other}; allowed are ranges that do not overlap"
        for index, each in enumerate(ranges)
        for other in ranges[:index]
        if IPv4Network(each).overlaps(IPv4Network(other))
    ]

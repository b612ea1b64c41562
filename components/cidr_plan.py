"""CIDR plan of a VPC: one public and one private subnet per zone; adding a zone moves no subnet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from itertools import combinations

MAX_ZONES = 8
SLOT_BITS = 4  # 16 equal ranges: 8 private ones, then 8 public ones
SMALLEST_SUBNET = 28  # AWS takes subnets from /16 to /28
LARGEST_VPC, SMALLEST_VPC = 16, SMALLEST_SUBNET - SLOT_BITS
DOCKER_BRIDGE = ip_network("172.17.0.0/16")  # Docker's default on every instance


@dataclass(frozen=True, kw_only=True)
class ZoneRanges:
    """The two ranges of one zone."""

    public: str
    private: str


def slot_of(zone: str) -> int | None:
    """The zone's letter as a number: `eu-central-1a` is 0. None where the name has no letter from a to h at its end."""
    slot = "abcdefgh".find(zone[-1:].lower()) if zone else -1
    return None if slot < 0 else slot


def plan(vpc: str, zones: Sequence[str]) -> dict[str, ZoneRanges]:
    """Ranges by zone name. A zone's ranges follow from its letter alone, so adding a zone moves none."""
    slots = list(ip_network(vpc).subnets(prefixlen_diff=SLOT_BITS))
    return {zone: _ranges(slots, slot_of(zone) or 0) for zone in zones}


def _ranges(slots: Sequence[object], slot: int) -> ZoneRanges:
    return ZoneRanges(private=str(slots[slot]), public=str(slots[slot + MAX_ZONES]))


def vpc_problem(vpc: str) -> str:
    """The problem with the VPC's range; empty for none."""
    allowed = f"an IPv4 range from /{LARGEST_VPC} to /{SMALLEST_VPC}, such as 10.20.0.0/16"
    try:
        network = IPv4Network(vpc)
    except ValueError as error:
        return f"{error}; allowed is {allowed}"
    if network.prefixlen > SMALLEST_VPC:
        return f"too small for {2 * MAX_ZONES} subnets of at least /{SMALLEST_SUBNET}; allowed is {allowed}"
    if network.prefixlen < LARGEST_VPC:
        return f"larger than AWS takes; allowed is {allowed}"
    if network.overlaps(DOCKER_BRIDGE):
        return (
            f"overlaps {DOCKER_BRIDGE}, the range of Docker's own bridge on every instance; allowed is any other range"
        )
    return ""


def subnet_problems(vpc: str, ranges_by_zone: Mapping[str, ZoneRanges]) -> list[str]:
    """The problems of configured ranges: form, size, position in the VPC and overlap."""
    named = {
        f"{zone}.{kind}": getattr(ranges, kind)
        for zone, ranges in ranges_by_zone.items()
        for kind in ("public", "private")
    }
    problems = [f"{name} {text!r}: {reason}" for name, text in named.items() if (reason := _subnet_problem(vpc, text))]
    if problems:
        return problems
    networks = {name: IPv4Network(text) for name, text in named.items()}
    return [
        f"{one} {networks[one]} overlaps {other} {networks[other]}; each subnet needs a range of its own"
        for one, other in combinations(networks, 2)
        if networks[one].overlaps(networks[other])
    ]


def _subnet_problem(vpc: str, text: str) -> str:
    try:
        network = IPv4Network(text)
    except ValueError as error:
        return f"{error}; allowed is an IPv4 range"
    if network.prefixlen > SMALLEST_SUBNET:
        return f"too small; AWS takes subnets down to /{SMALLEST_SUBNET}"
    if not network.subnet_of(IPv4Network(vpc)):
        return f"outside of the VPC's range {vpc}"
    return ""

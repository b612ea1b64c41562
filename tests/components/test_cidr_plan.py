from __future__ import annotations

from ipaddress import IPv4Network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.cidr_plan import ZoneRanges, plan, slot_of, subnet_problems, vpc_problem

VPCS = st.builds(
    lambda bits, prefix: str(IPv4Network((0x0A000000 | bits << 8, prefix), strict=False)),
    st.integers(0, 0xFFFF),
    st.integers(16, 24),
)
ZONES = st.lists(st.sampled_from([f"eu-central-1{letter}" for letter in "abcdefgh"]), min_size=1, unique=True)


@given(VPCS, ZONES)
def test_ranges_lie_inside_the_vpc_and_do_not_overlap(vpc: str, zones: list[str]) -> None:
    networks = [IPv4Network(text) for each in plan(vpc, zones).values() for text in (each.public, each.private)]
    assert all(network.subnet_of(IPv4Network(vpc)) for network in networks)
    assert not any(one.overlaps(other) for one, other in combinations(networks, 2))
    assert all(network.prefixlen <= 28 for network in networks)


@given(VPCS, ZONES, ZONES)
def test_another_zone_moves_none(vpc: str, zones: list[str], more: list[str]) -> None:
    before, after = plan(vpc, zones), plan(vpc, sorted({*zones, *more}))
    assert {zone: after[zone] for zone in zones} == before


@given(VPCS)
def test_what_the_plan_takes_has_no_problem(vpc: str) -> None:
    assert vpc_problem(vpc) == ""


def test_a_usual_plan() -> None:
    assert plan("10.20.0.0/16", ["eu-central-1a", "eu-central-1c"]) == {
        "eu-central-1a": ZoneRanges(private="10.20.0.0/20", public="10.20.128.0/20"),
        "eu-central-1c": ZoneRanges(private="10.20.32.0/20", public="10.20.160.0/20"),
    }


@pytest.mark.parametrize(
    ("vpc", "told"),
    [
        ("10.20.0.0/25", "too small for 16 subnets of at least /28"),
        ("10.0.0.0/15", "larger than AWS takes"),
        ("10.20.0.1/16", "has host bits set"),
        ("172.17.0.0/16", "overlaps 172.17.0.0/16, the range of Docker's own bridge"),
        ("172.17.3.0/24", "overlaps 172.17.0.0/16"),
        ("ten", "from /16 to /24"),
        ("fd00::/56", "from /16 to /24"),
        ("", "from /16 to /24"),
    ],
)
def test_a_vpc_range_that_cannot_be_used(vpc: str, told: str) -> None:
    assert told in vpc_problem(vpc)


def ranges(public: str, private: str) -> dict[str, ZoneRanges]:
    return {
        "eu-central-1a": ZoneRanges(public="10.20.0.0/24", private="10.20.1.0/24"),
        "eu-central-1b": ZoneRanges(public=public, private=private),
    }


def test_ranges_of_ones_own_have_no_problem() -> None:
    assert subnet_problems("10.20.0.0/16", ranges("10.20.2.0/24", "10.20.3.0/28")) == []


@pytest.mark.parametrize(
    ("public", "private", "told"),
    [
        (
            "10.20.0.0/25",
            "10.20.3.0/24",
            "1a.public 10.20.0.0/24 overlaps eu-central-1b.public 10.20.0.0/25",
        ),
        ("10.20.2.0/24", "10.20.2.0/24", "eu-central-1b.public 10.20.2.0/24 overlaps eu-central-1b.private 10.20.2.0"),
        (
            "10.21.0.0/24",
            "10.20.3.0/24",
            "1b.public '10.21.0.0/24': outside of the VPC's range 10.20.0.0/16",
        ),
        ("10.20.2.0/29", "10.20.3.0/24", "eu-central-1b.public '10.20.2.0/29': too small"),
        ("10.20.2.1/24", "10.20.3.0/24", "has host bits set"),
    ],
)
def test_ranges_of_ones_own_that_cannot_be_used(public: str, private: str, told: str) -> None:
    assert told in " ".join(subnet_problems("10.20.0.0/16", ranges(public, private)))


@pytest.mark.parametrize(("zone", "slot"), [("eu-central-1a", 0), ("us-east-1h", 7), ("us-east-1", None), ("", None)])
def test_a_zones_letter_is_its_place(zone: str, slot: int | None) -> None:
    assert slot_of(zone) == slot

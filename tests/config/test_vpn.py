from __future__ import annotations

import pytest

from config.vpn import INSIDE_CIDRS, is_inside_range, is_public, is_remote_range


@pytest.mark.parametrize("address", ["198.51.100.7", "8.8.8.8", "172.32.0.1"])
def test_a_public_address_is_taken(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", ["", "10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1", "::1"])
def test_an_address_that_aws_can_not_answer_is_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("cidr", [*INSIDE_CIDRS, "169.254.6.0/30", "169.254.5.4/30", "169.254.255.252/30"])
def test_inside_ranges(cidr: str) -> None:
    assert is_inside_range(cidr)


@pytest.mark.parametrize(
    "cidr",
    [*(f"169.254.{third}.0/30" for third in range(6)), "169.254.169.252/30", "169.254.9.0/29", "10.0.0.0/30", "x"],
)
def test_ranges_that_aws_keeps_or_refuses(cidr: str) -> None:
    assert not is_inside_range(cidr)


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "169.254.7.0/24", "192.168.0.1/24", "office"])
def test_what_is_no_range_of_a_remote_network(cidr: str) -> None:
    assert not is_remote_range(cidr)

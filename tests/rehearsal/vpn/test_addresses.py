from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from rehearsal.vpn import aws_side
from rehearsal.vpn.addresses import AddressPlan, generated_connection, new_key, plan_addresses, with_new_key
from rehearsal.vpn.gateways import kernel_settings, write_remote_config
from rehearsal.vpn.result import Result
from scripts.vpn.connection import KEY, problems


def test_hosts_and_gateways_lie_in_the_connections_own_ranges() -> None:
    assert plan_addresses(generated_connection()) == AddressPlan(
        remote_network=IPv4Network("192.168.10.0/24"),
        remote_gateway="192.168.10.1",
        remote_host="192.168.10.10",
        cloud_network=IPv4Network("10.20.0.0/16"),
        cloud_gateway="10.20.0.1",
        cloud_host="10.20.0.10",
    )


def test_a_small_remote_network_has_a_host_too() -> None:
    plan = plan_addresses(replace(generated_connection(), remote_cidrs=("192.168.10.0/29",)))
    assert (plan.remote_gateway, plan.remote_host) == ("192.168.10.1", "192.168.10.6")


def test_in_a_network_with_instances_the_gateway_gets_an_address_at_the_end() -> None:
    plan = plan_addresses(generated_connection(), cloud_network=IPv4Network("10.99.0.0/16"))
    assert (plan.cloud_gateway, plan.cloud_network) == ("10.99.255.254", IPv4Network("10.99.0.0/16"))


def test_keys_have_aws_format_and_differ() -> None:
    keys = {new_key() for _ in range(50)}
    assert len(keys) == 50
    assert all(KEY.fullmatch(key) for key in keys)


def test_the_generated_connection_can_be_rendered_and_has_two_keys() -> None:
    connection = generated_connection()
    assert problems(connection) == []
    assert len({tunnel.preshared_key for tunnel in connection.tunnels}) == 2


@pytest.mark.parametrize("number", [1, 2])
def test_a_new_key_changes_one_tunnel_and_nothing_else(number: int) -> None:
    before = generated_connection()
    after = with_new_key(before, number)
    changed = [old.preshared_key != new.preshared_key for old, new in zip(before.tunnels, after.tunnels, strict=True)]
    assert changed == [number == 1, number == 2]
    original = before.tunnels[number - 1].preshared_key
    tunnels = list(after.tunnels)
    tunnels[number - 1] = replace(tunnels[number - 1], preshared_key=original)
    assert replace(after, tunnels=(tunnels[0], tunnels[1])) == before


def test_the_clouds_end_has_each_tunnels_address_and_key() -> None:
    connection = generated_connection()
    text = aws_side.render(connection)
    for tunnel in connection.tunnels:
        assert text.count(f"local_addrs = {tunnel.outside_ip}\n") == 1
        assert text.count(f"id-aws = {tunnel.outside_ip}\n") == 1
        assert text.count(f'secret = "{tunnel.preshared_key}"\n') == 1
    assert text.count(f"remote_addrs = {connection.customer_gateway_ip}\n") == 2
    assert text.count("dpd_delay = 10s\n") == 2  # AWS's own, whatever the remote end does
    assert text.count("{") == text.count("}")


def test_the_kernel_settings_are_the_rendered_ones(tmp_path: Path) -> None:
    folder = tmp_path
    write_remote_config(folder, generated_connection())
    assert "net/ipv4/ip_forward=1" in kernel_settings(folder)
    assert all(setting.startswith("net/ipv4/") for setting in kernel_settings(folder))
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600, 0o700}


GOOD = Result(established_seconds=1.0, failover_seconds=6.0, rotation_seconds=0.0, esp_packets=9)


def test_a_result_is_good_only_within_its_limits() -> None:
    assert (GOOD.problems, GOOD.ok, GOOD.as_json()["ok"]) == ([], True, True)
    assert replace(GOOD, failover_seconds=10.0).problems == ["failover_seconds is 10.00, not below 10"]
    assert replace(GOOD, silent_path_seconds=42.0).problems == ["silent_path_seconds is 42.00, not below 42"]
    assert replace(GOOD, silent_path_seconds=41.9).ok
    assert replace(GOOD, rotation_seconds=5.0).problems == ["rotation_seconds is 5.00, not below 5"]
    assert replace(GOOD, established_seconds=None).problems == ["established_seconds was not measured"]
    assert replace(GOOD, cleartext_packets=1).problems == ["1 packets crossed the internet in cleartext"]
    assert replace(GOOD, esp_packets=0).problems == ["no ESP packet was seen"]
    assert replace(GOOD, error="it broke").problems == ["it broke"]

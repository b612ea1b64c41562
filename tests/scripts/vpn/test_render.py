from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.vpn.render import Connection, Tunnel, UnreadableError, parse_xml, problems, render

GOLDEN = Path(__file__).parent / "golden"
TUNNELS = (
    Tunnel(
        outside_ip="203.0.113.1",
        inside_cidr="169.254.100.0/30",
        customer_gateway_inside_ip="169.254.100.2",
        aws_inside_ip="169.254.100.1",
        preshared_key="first.key_1",
    ),
    Tunnel(
        outside_ip="203.0.113.2",
        inside_cidr="169.254.101.0/30",
        customer_gateway_inside_ip="169.254.101.2",
        aws_inside_ip="169.254.101.1",
        preshared_key="second.key_2",
    ),
)
STATIC = Connection(
    id="vpn-0123456789abcdef0",
    customer_gateway_ip="198.51.100.7",
    remote_cidrs=("192.168.0.0/24", "192.168.9.0/24"),
    vpc_cidrs=("10.20.0.0/16",),
    routing="static",
    customer_gateway_asn=65000,
    amazon_asn=64512,
    tunnels=TUNNELS,
)
BGP = replace(STATIC, routing="bgp", customer_gateway_asn=65010)


@pytest.mark.parametrize(
    ("folder", "connection", "userspace"),
    [("static", STATIC, False), ("bgp", BGP, False), ("userspace", STATIC, True)],
)
def test_files_are_the_kept_ones(folder: str, connection: Connection, userspace: bool) -> None:
    kept = {path.name: path.read_text() for path in (GOLDEN / folder).iterdir()}
    assert render(connection, userspace=userspace) == kept


@pytest.mark.parametrize("connection", [STATIC, BGP], ids=["static", "bgp"])
@pytest.mark.parametrize("name", ["interfaces.sh", "updown.sh", "guard.sh"])
def test_the_gateways_scripts_are_clean(connection: Connection, name: str, tmp_path: Path) -> None:
    script = tmp_path / name
    script.write_text(render(connection)[name])
    shellcheck = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run([shellcheck, script], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0


def test_the_keys_are_in_one_file_only() -> None:
    holding = [name for name, text in render(BGP).items() if "first.key_1" in text or "second.key_2" in text]
    assert holding == ["swanctl.conf"]
    assert "first.key_1" not in repr(BGP)


def test_the_files_know_where_they_will_lie() -> None:
    files = render(STATIC, home="/srv/vpn")
    assert "updown = /srv/vpn/updown.sh vpn1 100" in files["swanctl.conf"]
    assert "interfaces = /srv/vpn/interfaces.sh" in files["strongswan.conf"]


@pytest.mark.parametrize("userspace", [False, True])
def test_a_silent_peer_is_given_up_in_seven_seconds_and_nothing_leaks_meanwhile(userspace: bool) -> None:
    files = render(STATIC, userspace=userspace)
    assert files["swanctl.conf"].count("dpd_delay = 3s\n") == 2
    daemon = dict(re.findall(r"^ +(retransmit_\w+|guard) = (.+)$", files["strongswan.conf"], re.MULTILINE))
    assert daemon == {
        "retransmit_timeout": "1.0",
        "retransmit_base": "1.0",
        "retransmit_tries": "3",
        "guard": "/etc/swanctl/guard.sh",
    }
    assert files["guard.sh"].endswith("\nip route replace blackhole 10.20.0.0/16 metric 9999\n")


def test_bgp_needs_interfaces() -> None:
    with pytest.raises(ValueError, match="allowed is static"):
        render(BGP, userspace=True)


def test_what_a_file_lacks_is_told() -> None:
    bare = replace(
        STATIC, remote_cidrs=(), vpc_cidrs=("vpc",), tunnels=(replace(TUNNELS[0], preshared_key=""), TUNNELS[1])
    )
    assert problems(bare) == [
        "no range of the remote network is known",
        "vpc: no IPv4 range (of the VPC)",
        "tunnel 1 (203.0.113.1) has no pre-shared key",
    ]
    with pytest.raises(ValueError, match="no range of the remote network is known; vpc: no IPv4 range"):
        render(bare)


def document(attributes: str = "<vpn_connection_attributes>NoBGPVPNConnection</vpn_connection_attributes>") -> str:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<vpn_connection id="vpn-0123456789abcdef0">
  <customer_gateway_id>cgw-1</customer_gateway_id>
  {attributes}
  {"".join(_tunnel(each) for each in TUNNELS)}
</vpn_connection>
"""


def _tunnel(each: Tunnel) -> str:
    return f"""<ipsec_tunnel>
    <customer_gateway>
      <tunnel_outside_address><ip_address>198.51.100.7</ip_address></tunnel_outside_address>
      <tunnel_inside_address>
        <ip_address>{each.customer_gateway_inside_ip}</ip_address><network_mask>255.255.255.252</network_mask>
        <network_cidr>30</network_cidr>
      </tunnel_inside_address>
      <bgp><asn>65010</asn><hold_time>30</hold_time></bgp>
    </customer_gateway>
    <vpn_gateway>
      <tunnel_outside_address><ip_address>{each.outside_ip}</ip_address></tunnel_outside_address>
      <tunnel_inside_address><ip_address>{each.aws_inside_ip}</ip_address></tunnel_inside_address>
      <bgp><asn>64512</asn><hold_time>30</hold_time></bgp>
    </vpn_gateway>
    <ike><lifetime>28800</lifetime><pre_shared_key>{each.preshared_key}</pre_shared_key></ike>
    <ipsec>
      <lifetime>3600</lifetime><tcp_mss_adjustment>1379</tcp_mss_adjustment>
      <dead_peer_detection><interval>10</interval><retries>3</retries></dead_peer_detection>
    </ipsec>
  </ipsec_tunnel>"""


def test_awss_document_is_read() -> None:
    ranges = {"remote_cidrs": STATIC.remote_cidrs, "vpc_cidrs": STATIC.vpc_cidrs}
    assert parse_xml(document(), **ranges) == replace(STATIC, customer_gateway_asn=65010)
    assert parse_xml(document(""), **ranges) == BGP


def test_what_stands_in_a_kept_keys_place_is_no_key() -> None:
    kept = document().replace("second.key_2", "REDACTED")
    assert problems(parse_xml(kept, remote_cidrs=STATIC.remote_cidrs, vpc_cidrs=STATIC.vpc_cidrs)) == [
        "tunnel 2 (203.0.113.2) has no pre-shared key"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("vpn", "this is no XML"),
        ("<other/>", "root is other"),
        ("<!DOCTYPE x><vpn_connection/>", "has a DOCTYPE"),
        ('<vpn_connection id="vpn-1"/>', "0 ipsec_tunnel elements"),
        (document().replace("203.0.113.2", "somewhere"), "somewhere is no IPv4 address"),
        (document().replace("<lifetime>3600", "<lifetime>long"), "ipsec/lifetime: long is no number"),
        (document().replace("second.key_2", 'x"; include "/etc/x'), "tunnel 2's key is not AWS's"),
    ],
)
def test_what_is_no_document_of_aws_is_refused(text: str, told: str) -> None:
    with pytest.raises(UnreadableError, match=told):
        parse_xml(text)

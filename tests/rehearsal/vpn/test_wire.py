from __future__ import annotations

import json
import struct
import sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from rehearsal.host.sandbox import Sandbox, wait_until
from rehearsal.vpn import wire
from rehearsal.vpn.host import unsupported_reason
from rehearsal.vpn.namespaces import ROUTER, Namespace, link
from rehearsal.vpn.wire import Count, classify

ROOT = Path(__file__).resolve().parents[3]
REMOTE, AWS = "203.0.113.10", "198.51.100.10"
INNER = [IPv4Network("192.168.10.0/24"), IPv4Network("10.20.0.0/16")]


def packet(protocol: int, payload: bytes = b"", source: str = REMOTE, target: str = AWS) -> bytes:
    head = bytes([0x45]) + bytes(8) + bytes([protocol]) + bytes(2)
    return head + IPv4Address(source).packed + IPv4Address(target).packed + payload


def udp(port: int, payload: bytes) -> bytes:
    return packet(17, struct.pack("!HHHH", 40000, port, 8 + len(payload), 0) + payload)


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("ike", udp(500, b"an exchange")),
        ("ike", udp(4500, bytes(4) + b"an exchange")),
        ("ike", udp(4500, b"\xff")),
        ("esp", udp(4500, b"\x01\x02\x03\x04 encrypted")),
        ("esp", packet(50, b"encrypted")),
        ("other", udp(53, b"a question")),
        ("other", packet(1, bytes(8))),
        ("other", packet(17)),
        ("plain", packet(6, source="10.20.3.4")),
        ("plain", packet(1, target="192.168.10.7")),
        ("plain", packet(50, b"encrypted", target="10.20.0.1")),
    ],
)
def test_a_packet_is_of_one_kind(kind: str, seen: bytes) -> None:
    assert classify(seen, INNER) == kind


def test_options_in_the_header_do_not_hide_the_ports() -> None:
    plain = udp(4500, b"\x01\x02\x03\x04 encrypted")
    with_options = bytes([0x46]) + plain[1:20] + bytes(4) + plain[20:]
    assert classify(with_options, INNER) == "esp"


def test_esp_is_counted_by_the_address_of_aws_it_goes_to() -> None:
    count = Count()
    for seen in (packet(50), packet(50), packet(50, source=AWS, target=REMOTE), udp(500, b"an exchange")):
        count.add(seen, [AWS], INNER)
    assert count == Count(ike=1, esp=3, esp_by_address={AWS: 2})


def test_a_count_survives_its_file(tmp_path: Path) -> None:
    assert Count.read(tmp_path / "none") == Count()
    count, file = Count(ike=1, plain=2, esp_by_address={AWS: 3}), tmp_path / "count.json"
    wire._replace(file, json.dumps(count.as_json()))
    assert Count.read(file) == count


@pytest.mark.network
@pytest.mark.skipif(bool(unsupported_reason()), reason=str(unsupported_reason()))
def test_a_cleartext_packet_that_a_router_forwards_is_counted_once(tmp_path: Path) -> None:
    with Sandbox.open(runs=tmp_path, with_network=False) as sandbox:
        remote, router, cloud = (Namespace.create(sandbox, name, ROUTER) for name in ("remote", "router", "cloud"))
        for end, inner in ((remote, "192.168.10"), (cloud, "10.20.0")):
            link(end, "wan", router, end.name)
            end.ip("address", "add", f"{inner}.2/24", "dev", "wan")
            router.ip("address", "add", f"{inner}.1/24", "dev", end.name)
            end.ip("route", "add", "default", "via", f"{inner}.1")
        file = tmp_path / "count.json"
        argv = [sys.executable, "-m", wire.__name__, str(file), AWS, "192.168.10.0/24,10.20.0.0/16"]
        process = sandbox.start("wire", router.argv(*argv), cwd=ROOT)
        sandbox.wait_ready(process, lambda: None if file.exists() else "no count yet", what="wire", deadline=20)
        send = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'clear', ('10.20.0.2', 4500))"
        remote.run(sys.executable, "-c", send)
        # The datagram, and the ICMP port unreachable.
        wait_until(lambda: None if Count.read(file).plain >= 2 else "not seen yet", what="the packet", deadline=10)
        assert Count.read(file) == Count(plain=2)

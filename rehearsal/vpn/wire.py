"""Packet counter on an internet router: IKE, ESP by AWS's address, and packets with a private address in cleartext.

`python -m rehearsal.vpn.wire FILE OUTSIDE,… INNER,…` counts until SIGTERM, in its network namespace.
"""

from __future__ import annotations

import json
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import FrameType
from typing import Any

ETH_P_IP = 0x0800
IKE_PORT, NAT_PORT = 500, 4500  # RFC 3948: IKE and ESP share the second; four zero bytes mark IKE
ESP, UDP = 50, 17
WRITE_EVERY_S = 0.1
KINDS = ("ike", "esp", "plain", "other")


@dataclass(kw_only=True)
class Count:
    """Packets by kind; `esp_by_address`: ESP packets by destination, for AWS's addresses."""

    ike: int = 0
    esp: int = 0
    plain: int = 0
    other: int = 0
    esp_by_address: dict[str, int] = field(default_factory=dict)

    def add(self, packet: bytes, outside: Sequence[str], inner: Sequence[IPv4Network]) -> None:
        kind = classify(packet, inner)
        setattr(self, kind, getattr(self, kind) + 1)
        target = str(IPv4Address(packet[16:20]))
        if kind == "esp" and target in outside:
            self.esp_by_address[target] = self.esp_by_address.get(target, 0) + 1

    def as_json(self) -> dict[str, Any]:
        return {**{kind: getattr(self, kind) for kind in KINDS}, "esp_by_address": self.esp_by_address}

    @classmethod
    def read(cls, file: Path) -> Count:
        return cls(**json.loads(file.read_text())) if file.exists() else cls()


def classify(packet: bytes, inner: Sequence[IPv4Network]) -> str:
    """Kind (one of KINDS) of an IPv4 packet."""
    ends = (IPv4Address(packet[12:16]), IPv4Address(packet[16:20]))
    if any(end in network for end in ends for network in inner):
        return "plain"
    if packet[9] == ESP:
        return "esp"
    return _classify_udp(packet[4 * (packet[0] & 0xF) :]) if packet[9] == UDP else "other"


def _classify_udp(datagram: bytes) -> str:
    if len(datagram) < 9:
        return "other"
    ports = struct.unpack("!HH", datagram[:4])
    if IKE_PORT in ports:
        return "ike"
    if NAT_PORT not in ports:
        return "other"
    # One byte 0xff is a NAT keepalive, which belongs to the key exchange.
    return "ike" if datagram[8:12] == bytes(4) or datagram[8:] == b"\xff" else "esp"


def count(file: Path, outside: Sequence[str], inner: Sequence[IPv4Network]) -> None:
    """Count incoming packets, so that a forwarded packet counts once; the file is updated within 0.1 s."""
    total, written, due = Count(), "", 0.0
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP)) as wire:
        wire.setblocking(False)
        while True:
            if select.select([wire], [], [], WRITE_EVERY_S)[0]:
                packet, address = wire.recvfrom(65536)
                if address[2] != socket.PACKET_OUTGOING and len(packet) >= 20:
                    total.add(packet, outside, inner)
            if time.monotonic() < due and written:
                continue
            text = json.dumps(total.as_json())
            if text != written:
                _replace(file, text)
                written = text
            due = time.monotonic() + WRITE_EVERY_S


def _replace(file: Path, text: str) -> None:
    part = file.with_suffix(".part")
    part.write_text(text)
    part.replace(file)


def _exit(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def main(argv: Sequence[str]) -> None:
    file, outside, inner = argv
    signal.signal(signal.SIGTERM, _exit)
    count(Path(file), outside.split(","), [IPv4Network(network) for network in inner.split(",")])


if __name__ == "__main__":
    main(sys.argv[1:])

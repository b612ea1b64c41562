"""Continuous pings with a log, and outage figures from it.

`python -m rehearsal.vpn.pings FILE ADDRESS` sends five a second until SIGTERM, in its network namespace.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import TextIO

INTERVAL_S = 0.2
TIMEOUT_S = 1.0  # a later reply counts as lost
ECHO, ECHO_REPLY = 8, 0


@dataclass(frozen=True, kw_only=True)
class Ping:
    """`sent`: by the host's monotonic clock; `seconds`: round-trip time, or None without a reply."""

    sent: float
    seconds: float | None

    @property
    def answered(self) -> bool:
        return self.seconds is not None and self.seconds <= TIMEOUT_S


def read(file: Path) -> list[Ping]:
    """The pings so far, without a partly written last line."""
    sent: dict[int, float] = {}
    answers: dict[int, float] = {}
    for line in file.read_text().splitlines(keepends=True) if file.exists() else []:
        if line.endswith("\n"):
            kind, number, moment = line.split()
            (sent if kind == "sent" else answers).setdefault(int(number), float(moment))
    return [
        Ping(sent=moment, seconds=answers[number] - moment if number in answers else None)
        for number, moment in sent.items()
    ]


def settled(pings: Sequence[Ping], *, now: float) -> list[Ping]:
    """Pings that were answered or have timed out."""
    return [ping for ping in pings if ping.answered or now - ping.sent > TIMEOUT_S]


def lost(pings: Sequence[Ping], *, since: float, until: float) -> int:
    return sum(not ping.answered for ping in pings if since <= ping.sent <= until)


def outage(pings: Sequence[Ping], *, since: float, until: float) -> float | None:
    """Seconds from `since` to the first reply after the last lost ping; 0.0 without a loss, None while it lasts.

    Only pings sent between `since` and `until` count.
    """
    window = [ping for ping in pings if since <= ping.sent <= until]
    losses = [ping.sent for ping in window if not ping.answered]
    if not losses:
        return 0.0
    after = [ping.sent for ping in window if ping.answered and ping.sent > losses[-1]]
    return after[0] - since if after else None


def longest_outage(pings: Sequence[Ping], *, since: float, until: float) -> float:
    """Longest time without a reply in the window, in seconds, less the ping interval."""
    answered = [ping.sent for ping in pings if ping.answered and since <= ping.sent <= until]
    moments = [since, *answered, until]
    return max(0.0, max(later - earlier for earlier, later in pairwise(moments)) - INTERVAL_S)


def checksum(data: bytes) -> int:
    """RFC 1071, over an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo(identity: int, number: int) -> bytes:
    """An ICMP echo request."""
    head = struct.pack("!BBHHH", ECHO, 0, 0, identity, number)
    return struct.pack("!BBHHH", ECHO, 0, checksum(head), identity, number)


def answered_number(packet: bytes, identity: int) -> int | None:
    """Number of the request that this IPv4 packet replies to, or None."""
    icmp = packet[4 * (packet[0] & 0xF) :]
    if len(icmp) < 8 or icmp[0] != ECHO_REPLY:
        return None
    whose, number = struct.unpack("!HH", icmp[4:8])
    return int(number) if whose == identity else None


def send(log: TextIO, address: str) -> None:
    identity, number, due = os.getpid() & 0xFFFF, 0, time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as wire:
        while True:
            if (remaining := due - time.monotonic()) <= 0:
                number, due = (number + 1) & 0xFFFF, due + INTERVAL_S
                log.write(f"sent {number} {time.monotonic():.6f}\n")
                _send(wire, echo(identity, number), address)
            elif select.select([wire], [], [], remaining)[0]:
                answered = answered_number(wire.recv(2048), identity)
                if answered is not None:
                    log.write(f"answer {answered} {time.monotonic():.6f}\n")


def _send(wire: socket.socket, packet: bytes, address: str) -> None:
    try:
        wire.sendto(packet, (address, 0))
    except OSError:  # no route: a lost ping
        return


def _exit(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def main(argv: Sequence[str]) -> None:
    file, address = argv
    signal.signal(signal.SIGTERM, _exit)
    with Path(file).open("w", buffering=1) as log:
        send(log, address)


if __name__ == "__main__":
    main(sys.argv[1:])

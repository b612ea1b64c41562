"""Pings that go on whatever the answers, each with its time, and what can be said of them afterwards.

`python -m rehearsal.vpn.pings FILE ADDRESS` sends five a second until TERM, in the namespace that it runs in.
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
PATIENCE_S = 1.0  # an answer that comes later counts as none
ECHO, ECHO_REPLY = 8, 0


@dataclass(frozen=True, kw_only=True)
class Ping:
    """`sent` by the machine's monotonic clock; `seconds` until the answer, or None without one."""

    sent: float
    seconds: float | None

    @property
    def answered(self) -> bool:
        return self.seconds is not None and self.seconds <= PATIENCE_S


def read(file: Path) -> list[Ping]:
    """What has been sent so far; a line that is being written is left for later."""
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


def judged(pings: Sequence[Ping], *, now: float) -> list[Ping]:
    """Those of which the answer is in, or too late."""
    return [ping for ping in pings if ping.answered or now - ping.sent > PATIENCE_S]


def lost(pings: Sequence[Ping], *, since: float, until: float) -> int:
    return sum(not ping.answered for ping in pings if since <= ping.sent <= until)


def outage(pings: Sequence[Ping], *, since: float, until: float) -> float | None:
    """Seconds from `since` to the first answered ping after the last lost one; 0.0 without a loss, None while it lasts.

    Only pings sent between `since` and `until` count.
    """
    window = [ping for ping in pings if since <= ping.sent <= until]
    losses = [ping.sent for ping in window if not ping.answered]
    if not losses:
        return 0.0
    after = [ping.sent for ping in window if ping.answered and ping.sent > losses[-1]]
    return after[0] - since if after else None


def longest_silence(pings: Sequence[Ping], *, since: float, until: float) -> float:
    """Seconds between two answered pings that follow each other, less the usual pause; or up to the window's end."""
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
    """Which of our requests this IPv4 packet answers, if it does."""
    icmp = packet[4 * (packet[0] & 0xF) :]
    if len(icmp) < 8 or icmp[0] != ECHO_REPLY:
        return None
    whose, number = struct.unpack("!HH", icmp[4:8])
    return int(number) if whose == identity else None


def send(log: TextIO, address: str) -> None:
    identity, number, due = os.getpid() & 0xFFFF, 0, time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as wire:
        while True:
            if (left := due - time.monotonic()) <= 0:
                number, due = (number + 1) & 0xFFFF, due + INTERVAL_S
                log.write(f"sent {number} {time.monotonic():.6f}\n")
                _send(wire, echo(identity, number), address)
            elif select.select([wire], [], [], left)[0]:
                found = answered_number(wire.recv(2048), identity)
                if found is not None:
                    log.write(f"answer {found} {time.monotonic():.6f}\n")


def _send(wire: socket.socket, packet: bytes, address: str) -> None:
    try:
        wire.sendto(packet, (address, 0))
    except OSError:  # no route at this moment: a lost ping like any other
        return


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def main(argv: Sequence[str]) -> None:
    file, address = argv
    signal.signal(signal.SIGTERM, _leave)
    with Path(file).open("w", buffering=1) as log:
        send(log, address)


if __name__ == "__main__":
    main(sys.argv[1:])

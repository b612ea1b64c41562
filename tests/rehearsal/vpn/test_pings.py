from __future__ import annotations

import struct
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from rehearsal.host.sandbox import Sandbox, wait_until
from rehearsal.vpn import pings
from rehearsal.vpn.host import unsupported_reason
from rehearsal.vpn.namespaces import Namespace
from rehearsal.vpn.pings import Ping, answered_number, checksum, echo, longest_outage, lost, outage, settled

ROOT = Path(__file__).resolve().parents[3]


def sent(*moments: float, lost_at: tuple[float, ...] = ()) -> list[Ping]:
    return [Ping(sent=moment, seconds=None if moment in lost_at else 0.01) for moment in moments]


def test_a_file_that_is_being_written_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    file = tmp_path / "pings"
    assert pings.read(file) == []
    file.write_text("sent 1 10.0\nanswer 1 10.25\nsent 2 10.5\nanswer 2 10.")
    assert pings.read(file) == [Ping(sent=10.0, seconds=0.25), Ping(sent=10.5, seconds=None)]


def test_a_late_reply_is_a_loss_and_an_open_ping_is_not_counted() -> None:
    late, open_, done = Ping(sent=1, seconds=1.5), Ping(sent=9.5, seconds=None), Ping(sent=9.6, seconds=0.1)
    assert settled([late, open_, done], now=10.0) == [late, done]
    assert lost(settled([late, open_, done], now=10.6), since=0, until=20) == 2


def test_an_outage_ends_with_the_first_reply_after_the_last_lost_ping() -> None:
    seen = sent(1.0, 1.2, 1.4, 1.6, 1.8, 2.0, lost_at=(1.2, 1.6))
    assert outage(seen, since=1.1, until=9) == pytest.approx(0.7)
    assert outage(seen, since=1.7, until=9) == 0.0
    assert outage(seen, since=1.1, until=1.7) is None


def test_the_longest_outage_counts_from_reply_to_reply_and_at_both_ends() -> None:
    seen = sent(1.0, 1.2, 1.4, 1.6, 1.8, lost_at=(1.4, 1.6))
    assert longest_outage(seen, since=1.0, until=1.8) == pytest.approx(0.4)
    assert longest_outage(seen, since=1.0, until=3.0) == pytest.approx(1.0)
    assert longest_outage(sent(1.0, 1.2), since=1.0, until=1.2) == pytest.approx(0.0)


def test_a_request_has_the_checksum_of_rfc_1071() -> None:
    packet = echo(0x1234, 7)
    assert (packet[:2], struct.unpack("!HH", packet[4:])) == (bytes([8, 0]), (0x1234, 7))
    assert checksum(packet) == 0
    assert checksum(b"\x00\x01\xf2\x03\xf4\xf5\xf6\xf7") == 0x220D  # the example in the RFC's section 3


def test_only_replies_to_own_requests_count() -> None:
    header = bytes([0x45]) + bytes(19)

    def packet(kind: int, identity: int) -> bytes:
        return header + struct.pack("!BBHHH", kind, 0, 0, identity, 9)

    assert answered_number(packet(0, 5), 5) == 9
    assert answered_number(packet(8, 5), 5) is None
    assert answered_number(packet(0, 6), 5) is None
    assert answered_number(header, 5) is None


@pytest.mark.network
@pytest.mark.skipif(bool(unsupported_reason()), reason=str(unsupported_reason()))
def test_pings_are_sent_and_answered_and_a_missing_route_loses_them(tmp_path: Path) -> None:
    with Sandbox.open(runs=tmp_path, with_network=False) as sandbox:
        lonely, file, unreachable = Namespace.create(sandbox, "lonely"), tmp_path / "self", tmp_path / "unreachable"
        for name, target, address in (("self", file, "127.0.0.1"), ("unreachable", unreachable, "192.0.2.1")):
            argv = [sys.executable, "-m", pings.__name__, str(target), address]
            sandbox.start(name, lonely.argv(*argv), cwd=ROOT)
        wait_until(lambda: _too_few(file, 4) or _too_few(unreachable, 4), what="pings", deadline=20)
        found = settled(pings.read(file), now=time.monotonic())[:4]
        assert all(ping.answered for ping in found)
        gaps = [later.sent - earlier.sent for earlier, later in pairwise(found)]
        assert sum(gaps) / len(gaps) == pytest.approx(pings.INTERVAL_S, abs=0.1)
        assert not any(ping.answered for ping in pings.read(unreachable))


def _too_few(file: Path, expected: int) -> str | None:
    found = len(pings.read(file))
    return None if found > expected else f"{found} pings"

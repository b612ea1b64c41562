from __future__ import annotations

from typing import Any

import pytest

from scripts.vpn.diagnostics import VpnState, diagnose

ADDRESSES = ("203.0.113.1", "203.0.113.2")
UP: list[dict[str, Any]] = [{"OutsideIpAddress": each, "Status": "UP", "AcceptedRouteCount": 1} for each in ADDRESSES]
SAS = """\
tunnel1: #1, ESTABLISHED, IKEv2, 9f0c8f6d62d0a1b2_i* 0a1b2c3d4e5f6071_r
  local  '198.51.100.7' @ 198.51.100.7[4500]
  tunnel1: #3, reqid 1, INSTALLED, TUNNEL, ESP:AES_GCM_16-256/ECP_384
    in  c1a2b3c4,    840 bytes,    10 packets
    out ca6ff5d9,    840 bytes,    10 packets
tunnel2: #2, ESTABLISHED, IKEv2, 1f0c8f6d62d0a1b2_i* 1a1b2c3d4e5f6071_r
  local  '198.51.100.7' @ 198.51.100.7[4500]
  tunnel2: #4, reqid 2, INSTALLED, TUNNEL, ESP:AES_GCM_16-256/ECP_384
    in  c1a2b3c5,      0 bytes,     0 packets
    out ca6ff5da,      0 bytes,     0 packets
"""


def told(**state: Any) -> list[tuple[str, str]]:
    """Each finding's tunnel, and the beginning of what it means."""
    return [(each.tunnel, each.means[:20]) for each in diagnose(VpnState(addresses=ADDRESSES, **state))]


def test_two_tunnels_that_are_up_are_no_finding() -> None:
    assert told(telemetry=UP, routes=1, sas=SAS) == []
    assert told(telemetry=UP, routing="bgp", routes=0) == []


def test_what_aws_says_of_a_tunnel_is_told_by_its_number() -> None:
    down = {"OutsideIpAddress": ADDRESSES[1], "Status": "DOWN", "StatusMessage": "IPSEC IS DOWN"}
    (finding,) = diagnose(VpnState(addresses=ADDRESSES, telemetry=[UP[0], down], routes=1))
    assert (finding.tunnel, finding.seen) == ("tunnel2", "AWS says DOWN: IPSEC IS DOWN")


def test_missing_routes_are_told() -> None:
    (finding,) = diagnose(VpnState(addresses=ADDRESSES, telemetry=UP, routes=0))
    assert finding.seen == "the connection has no static route"
    silent = [each | {"AcceptedRouteCount": 0} for each in UP]
    assert told(telemetry=silent, routing="bgp") == [
        ("tunnel1", "BGP runs but announc"),
        ("tunnel2", "BGP runs but announc"),
    ]


@pytest.mark.parametrize(
    ("line", "means"),
    [
        ("13[IKE] <tunnel1|4> received NO_PROPOSAL_CHOSEN notify error", "the two ends share n"),
        ("13[IKE] <tunnel1|4> received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built", "the two ends share n"),
        ("13[IKE] <tunnel1|4> received AUTHENTICATION_FAILED notify error", "the pre-shared key o"),
        ("13[IKE] <tunnel1|4> tried 1 shared key for 'a' - 'b', but MAC mismatched", "the pre-shared key o"),
        ("13[IKE] <tunnel1|4> received TS_UNACCEPTABLE notify, no CHILD_SA built", "the two ends name dif"[:20]),
        ("13[IKE] <tunnel1|4> giving up after 4 retransmits", "nothing comes back: "),
        ("13[NET] <tunnel1|4> error writing to socket: Network is unreachable", "nothing comes back: "),
    ],
)
def test_a_line_of_charon_is_explained(line: str, means: str) -> None:
    assert told(log=f"12[ENC] noise\n{line}\n") == [("tunnel1", means)]
    assert told(log=line.replace("<tunnel1|4> ", "")) == [("vpn", means)]


def test_what_was_overcome_is_no_finding() -> None:
    failed = "01[IKE] <tunnel1|1> received AUTHENTICATION_FAILED notify error\n"
    up = "02[IKE] <tunnel1|2> CHILD_SA tunnel1{1} established with SPIs c1_i c2_o and TS 0.0.0.0/0 === 0.0.0.0/0\n"
    assert told(log=failed + up) == []
    assert told(log=failed.replace("tunnel1", "tunnel2") + up) == [("tunnel2", "the pre-shared key o")]


def test_associations_that_are_missing_are_told() -> None:
    assert told(sas="") == [("tunnel1", "strongSwan has not a"), ("tunnel2", "strongSwan has not a")]
    assert told(sas=SAS.replace("tunnel2: #4, reqid 2, INSTALLED", "tunnel2: #4, reqid 2, CREATED")) == [
        ("tunnel2", "the two ends name di")
    ]


def test_packets_that_only_go_out_are_told() -> None:
    (finding,) = diagnose(VpnState(sas=SAS.replace("in  c1a2b3c4,    840", "in  c1a2b3c4,      0")))
    assert finding.seen == "840 bytes went out, 0 came in"

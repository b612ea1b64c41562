"""VPN diagnostics: findings from AWS's telemetry, strongSwan's associations and its log."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CONNECTION = "vpn"  # a finding that belongs to no single tunnel


@dataclass(frozen=True, kw_only=True)
class VpnFinding:
    """`tunnel` is tunnel1, tunnel2 or vpn; `seen` what was found, `means` the likely cause and what to do."""

    tunnel: str
    seen: str
    means: str


@dataclass(frozen=True, kw_only=True)
class VpnState:
    """Known state of a connection. Empty is unknown, except `routes`: None is unknown, 0 is none.

    `telemetry` is AWS's VgwTelemetry, `addresses` AWS's outside addresses in the order of the tunnels, `sas` the text
    of `swanctl --list-sas` (None when not run here), `log` lines of charon, the oldest first.
    """

    addresses: Sequence[str] = ()
    telemetry: Sequence[Mapping[str, Any]] = ()
    routing: str = "static"
    routes: int | None = None
    sas: str | None = None
    log: str = ""


_PROPOSALS = (
    "the two ends share no proposal: allowed is IKEv2 with AES256-GCM, PRF SHA-384 or SHA-512 and ECP groups 19 to 21, "
    "also for the children's forward secrecy"
)
_KEY = (
    "the pre-shared key or the identity differs: render the files again (AWS may have new keys), and check that the "
    "local id is the customer gateway's public address"
)
_SILENCE = (
    "nothing comes back: UDP 500 and 4500 must pass to and from AWS's outside addresses, behind NAT too, and the "
    "public address must be the customer gateway's"
)
_SELECTORS = "the two ends name different ranges: both must say 0.0.0.0/0, or the same pair of remote and VPC ranges"
# The first that fits a line of charon's log explains it.
_LINES = (
    (re.compile(r"received NO_PROPOSAL_CHOSEN|no acceptable (proposal|[A-Z_]+) found"), _PROPOSALS),
    (re.compile(r"received AUTHENTICATION_FAILED|MAC mismatched|no shared key found|N\(AUTH_FAILED\)"), _KEY),
    (re.compile(r"TS_UNACCEPTABLE"), _SELECTORS),
    (re.compile(r"giving up after \d+ retransmits|peer not responding|Network is unreachable"), _SILENCE),
)  # fmt: skip
_NAMED = re.compile(r"<(tunnel\d)\|")
_UP = re.compile(r"CHILD_SA (tunnel\d)\{\d+\} established")
_IKE = re.compile(r"^(tunnel\d): #\d+, (\w+), IKEv2", re.MULTILINE)
_CHILD = re.compile(r"^ +(tunnel\d): #\d+, reqid \d+, (\w+)", re.MULTILINE)
_BYTES = re.compile(r"^ +(in|out) +\w+.*?(\d+) bytes", re.MULTILINE)


def diagnose(state: VpnState) -> list[VpnFinding]:
    """Findings of the state, AWS's telemetry first; an empty list when both tunnels carry traffic."""
    return [*_aws_findings(state), *_association_findings(state.sas), *_log_findings(state.log)]


def _aws_findings(state: VpnState) -> list[VpnFinding]:
    found = []
    for each in state.telemetry:
        tunnel, status = _name(state, str(each.get("OutsideIpAddress"))), each.get("Status")
        if status != "UP":
            seen = f"AWS says {status}: {each.get('StatusMessage') or 'no reason given'}"
            found.append(
                VpnFinding(tunnel=tunnel, seen=seen, means="see the customer gateway's findings, below or with --log")
            )
        elif state.routing == "bgp" and not each.get("AcceptedRouteCount"):
            means = "BGP runs but announces nothing: look at FRR's `network` lines and its route maps"
            found.append(VpnFinding(tunnel=tunnel, seen="AWS accepted no route", means=means))
    if state.routing == "static" and state.routes == 0:
        means = "AWS has no route to the remote network: remoteCidrs of the stack's config, and an `up` after it"
        found.append(VpnFinding(tunnel=CONNECTION, seen="the connection has no static route", means=means))
    return found


def _name(state: VpnState, address: str) -> str:
    return f"tunnel{list(state.addresses).index(address) + 1}" if address in state.addresses else CONNECTION


def _association_findings(sas: str | None) -> list[VpnFinding]:
    if sas is None:
        return []
    associations, children = dict(_IKE.findall(sas)), dict(_CHILD.findall(sas))
    found = []
    for tunnel in ("tunnel1", "tunnel2"):
        if associations.get(tunnel) != "ESTABLISHED":
            seen = f"no IKE association ({associations.get(tunnel, 'none')})"
            means = "strongSwan has not agreed with AWS yet: its log says why"
            found.append(VpnFinding(tunnel=tunnel, seen=seen, means=means))
        elif children.get(tunnel) != "INSTALLED":
            seen = f"IKE is established, but no child is ({children.get(tunnel, 'none')})"
            found.append(VpnFinding(tunnel=tunnel, seen=seen, means=_SELECTORS))
    return found + _one_way(sas)


def _one_way(sas: str) -> list[VpnFinding]:
    """Both tunnels together: an answer may take the other one."""
    total = {"in": 0, "out": 0}
    for way, count in _BYTES.findall(sas):
        total[way] += int(count)
    if total["out"] and not total["in"]:
        means = (
            "packets go out and none come back: the VPC's tables need the route to the remote network "
            "(propagation), and the instances' security group must let its ranges in (vpn.allow)"
        )
        return [VpnFinding(tunnel=CONNECTION, seen=f"{total['out']} bytes went out, 0 came in", means=means)]
    return []


def _log_findings(log: str) -> list[VpnFinding]:
    """The last error of each tunnel since it was last up."""
    last: dict[str, VpnFinding] = {}
    for line in log.splitlines():
        if up := _UP.search(line):
            last.pop(up[1], None)
            last.pop(CONNECTION, None)
            continue
        means = next((means for pattern, means in _LINES if pattern.search(line)), None)
        if means:
            named = _NAMED.search(line)
            tunnel = named[1] if named else CONNECTION
            last[tunnel] = VpnFinding(tunnel=tunnel, seen=line.strip(), means=means)
    return list(last.values())

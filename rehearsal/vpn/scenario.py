"""VPN scenario: connectivity, tunnel failover, key rotation, a wrong key, and no packet in cleartext."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rehearsal.host.commands import ToolError
from rehearsal.host.sandbox import Process, SandboxError, wait_until
from rehearsal.vpn import pings
from rehearsal.vpn.addresses import with_new_key
from rehearsal.vpn.gateways import Gateways, folders, load_mss_clamp
from rehearsal.vpn.result import ESTABLISHED_LIMIT_S, SILENT_PATH_LIMIT_S, Result, VpnStep
from rehearsal.vpn.topology import Topology

ROOT = Path(__file__).resolve().parents[2]
SMOKE_S = 40.0
STEADY_S = 1.2  # seconds without a lost ping that count as recovered
REPLY_S = 20.0
REFUSED = "AUTHENTICATION_FAILED"
KEY_CAUSE = "the pre-shared key"
PINGS_WITHOUT_TUNNEL = 15  # sent while no tunnel is up: three seconds' worth
# The negotiated size, less TCP's options.
SEGMENT = (
    "import socket, sys; connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); "
    "print(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))"
)


class VpnError(Exception):
    """The VPN did not behave as expected."""


@dataclass(frozen=True, kw_only=True)
class AppEndpoint:
    """Private address, port and expected release of an app; `deep`: with its deep health check."""

    address: str
    port: int
    release: str
    deep: bool


@dataclass(kw_only=True)
class VpnScenario:
    """One run on a connected topology, with an app behind the cloud's gateway.

    `silent_path`: also a failure that AWS's end has to detect, which takes most of a minute.
    """

    topology: Topology
    app: AppEndpoint
    silent_path: bool = False
    report: Callable[[VpnStep], None] = lambda _step: None
    result: Result = field(default_factory=Result)
    _gateways: Gateways = field(init=False)
    _pinger: Process = field(init=False)
    _file: Path = field(init=False)
    _cut: int = field(init=False)

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        return [
            ("start both gateways and wait for a ping", self.establish),
            ("smoke-test the app at its private address", self.reach_app),
            ("clamp the TCP segment size", self.clamp),
            ("fail over from the active tunnel", self.fail_over),
            ("restore the failed tunnel", self.restore),
            *([("drop packets of a tunnel without AWS's knowledge", self.cut_silently)] if self.silent_path else []),
            ("cut both tunnels: no packet in cleartext", self.cut_both_tunnels),
            ("rotate the keys of both tunnels, one after the other", self.rotate),
            ("refuse a wrong key with a clear error", self.refuse),
            ("verify that no packet crossed the internet in cleartext", self.verify_no_cleartext),
        ]

    def run(self) -> Result:
        """Run the steps up to the first failure; its error is in the result."""
        for name, action in self.steps():
            began, note, ok = time.monotonic(), "", False
            try:
                note, ok = action(), True
            except (VpnError, SandboxError, ToolError, OSError, subprocess.SubprocessError) as error:
                note = self.result.error = f"{name}: {error}"
            step = VpnStep(name=name, seconds=round(time.monotonic() - began, 3), ok=ok, note=note)
            self.result.steps.append(step)
            self.report(step)
            if not ok:
                break
        self._count_wire()
        return self.result

    def establish(self) -> str:
        began = time.monotonic()
        self._gateways = Gateways.start(self.topology)
        self._pinger, self._file = self.topology.start_pings("vpn-pings")
        self._gateways.remote.load()
        wait_until(self._no_reply, what="a ping through a tunnel", deadline=REPLY_S, process=self._pinger)
        first = next(ping for ping in pings.read(self._file) if ping.answered)
        self.result.established_seconds = first.sent + (first.seconds or 0.0) - began
        self._gateways.wait_established()
        return f"{self.result.established_seconds:.2f} s; limit {ESTABLISHED_LIMIT_S:g} s"

    def reach_app(self) -> str:
        """Run the operators' smoke test on the remote host."""
        app = self.app
        argv = [sys.executable, "-m", "scripts.smoke_test", "--private", f"{app.address}:{app.port}", "--json"]
        argv += ["--release", app.release, "--deadline", "10", *([] if app.deep else ["--shallow"])]
        done = subprocess.run(
            self.topology.remote_host.argv(*argv),
            cwd=ROOT,
            env=self.topology.sandbox.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SMOKE_S,
            check=False,
        )
        if done.returncode:
            raise VpnError(f"the smoke test exited with code {done.returncode}: {done.stdout}{done.stderr}")
        checks = json.loads(done.stdout)["checks"]
        return f"{app.address}:{app.port}: {len(checks)} checks passed, release {app.release}"

    def clamp(self) -> str:
        remote, _cloud = folders(self.topology.sandbox)
        if reason := load_mss_clamp(self.topology.remote_gateway, remote):
            self.result.clamp = reason
            return f"skipped: {reason}"
        argv = (sys.executable, "-c", SEGMENT, self.app.address, str(self.app.port))
        self.result.segment_bytes = size = int(self.topology.remote_host.run(*argv))
        allowed = min(tunnel.mss for tunnel in self.topology.connection.tunnels)
        if size > allowed:
            raise VpnError(f"TCP segments have {size} bytes, more than the maximum of {allowed}")
        return f"{size} bytes per segment, maximum {allowed}"

    def fail_over(self) -> str:
        """The remote gateway has to detect the failure; AWS replies through its other endpoint at once."""
        number = self._active_tunnel()
        began = time.monotonic()
        self.topology.cut(number)
        self._gateways.lose_endpoint(number)
        self._cut = number
        seconds, lost = self._outage(began)
        self.result.failover_seconds, self.result.lost_pings = seconds, lost
        if (active := self._active_tunnel()) == number:
            raise VpnError(f"replies came through tunnel {number}, which is down")
        return f"tunnel {number} lost, tunnel {active} active after {seconds:.2f} s; {lost} pings lost"

    def restore(self) -> str:
        began = time.monotonic()
        self.topology.restore(self._cut)
        self._gateways.wait_established()
        return f"tunnel {self._cut} established again after {time.monotonic() - began:.2f} s"

    def cut_silently(self) -> str:
        """Replies are lost until AWS's end detects the dead peer on its preferred tunnel."""
        number = self._active_tunnel()
        began = time.monotonic()
        self.topology.cut(number)
        seconds, lost = self._outage(began)
        self.result.silent_path_seconds = seconds
        self.topology.restore(number)
        self._gateways.wait_established()
        return f"tunnel {number} cut, replies after {seconds:.2f} s; {lost} pings lost"

    def cut_both_tunnels(self) -> str:
        """Pings count once the remote gateway has closed both tunnels: until then they are sent into a dead tunnel."""
        for number in (1, 2):
            self.topology.cut(number)
        self._gateways.wait_down()
        began = time.monotonic()
        wait_until(
            lambda: None if self._sent_since(began) >= PINGS_WITHOUT_TUNNEL else "too few pings yet",
            what="pings without a tunnel",
            deadline=REPLY_S,
            process=self._pinger,
        )
        self._count_wire()
        self.result.pings_without_tunnel = sent = self._sent_since(began)
        if answered := [ping for ping in self._pings(time.monotonic()) if ping.sent >= began and ping.answered]:
            raise VpnError(f"{len(answered)} pings were answered with both tunnels down")
        if plain := self.result.cleartext_packets:
            raise VpnError(f"{plain} packets left in cleartext with both tunnels down")
        restored = time.monotonic()
        for number in (1, 2):
            self.topology.restore(number)
        self._gateways.wait_established()
        self._wait_steady(restored)
        return f"{sent} pings, none of them on the wire; both tunnels up {time.monotonic() - restored:.1f} s later"

    def rotate(self) -> str:
        began = time.monotonic()
        for number in (1, 2):
            self._gateways.set_keys(with_new_key(self._gateways.connection, number))
            self._gateways.reauthenticate(number)
        self._gateways.wait_established()
        self._wait_steady(time.monotonic())
        now = time.monotonic()
        completed = self._pings(now)
        until = completed[-1].sent
        self.result.rotation_seconds = pings.longest_outage(completed, since=began, until=until)
        lost = pings.lost(completed, since=began, until=until)
        return f"longest outage {self.result.rotation_seconds:.2f} s, {lost} pings lost, in {now - began:.1f} s"

    def refuse(self) -> str:
        original = self._gateways.connection
        self._gateways.set_keys(with_new_key(original, 1), cloud=False)
        error = self._gateways.initiate_error(1)
        if REFUSED not in error:
            raise VpnError(f"a wrong key must be refused with {REFUSED}; strongSwan: {error or 'established'}")
        findings = [finding for finding in self._gateways.findings() if finding.tunnel == "tunnel1"]
        causes = [finding.means for finding in findings if REFUSED in finding.seen]
        if not any(KEY_CAUSE in cause for cause in causes):
            raise VpnError(f"the check must name the key as the cause of {REFUSED}; it reported: {causes or 'nothing'}")
        self._gateways.set_keys(original)
        if error := self._gateways.initiate_error(1):
            raise VpnError(f"the right key was refused: {error}")
        self._gateways.wait_established()
        # A request may still be in flight.
        wait_until(self._open_finding, what="a check without findings", deadline=REPLY_S)
        return f"{REFUSED}, explained by the check; established again with the right key"

    def verify_no_cleartext(self) -> str:
        self._pinger.stop()
        self._count_wire()
        plain, esp = self.result.cleartext_packets, self.result.esp_packets
        if plain:
            raise VpnError(f"{plain} packets with private addresses crossed the internet, {esp} were ESP")
        return f"0 packets with private addresses, {esp} of ESP, {self.topology.count().ike} of IKE"

    def _count_wire(self) -> None:
        count = self.topology.count()
        self.result.cleartext_packets, self.result.esp_packets = count.plain, count.esp

    def _open_finding(self) -> str | None:
        return "; ".join(f"{finding.tunnel}: {finding.seen}" for finding in self._gateways.findings()) or None

    def _sent_since(self, moment: float) -> int:
        return sum(ping.sent >= moment for ping in pings.read(self._file))

    def _outage(self, began: float) -> tuple[float, int]:
        """Seconds until pings are answered again, and the number of lost ones."""
        self._wait_steady(began, at_least_one_lost=True)
        now = time.monotonic()
        completed = self._pings(now)
        seconds = pings.outage(completed, since=began, until=now)
        if seconds is None:
            raise VpnError("replies stopped again")
        return seconds, pings.lost(completed, since=began, until=now)

    def _no_reply(self) -> str | None:
        sent = pings.read(self._file)
        return None if any(ping.answered for ping in sent) else f"{len(sent)} pings, no reply"

    def _pings(self, now: float) -> list[pings.Ping]:
        return pings.settled(pings.read(self._file), now=now)

    def _wait_steady(self, since: float, *, at_least_one_lost: bool = False) -> None:
        """Wait for STEADY_S of answered pings; with `at_least_one_lost` after a lost one."""

        def not_steady() -> str | None:
            now = time.monotonic()
            completed = [ping for ping in self._pings(now) if ping.sent >= since]
            losses = [ping.sent for ping in completed if not ping.answered]
            if at_least_one_lost and not losses:
                return "no ping was lost yet"
            start = losses[-1] if losses else since
            answered = [ping.sent for ping in completed if ping.answered and ping.sent > start]
            steady = answered[-1] - answered[0] if answered else 0.0
            return None if steady >= STEADY_S else f"{len(losses)} pings lost, replies for {steady:.1f} s"

        # Longer than the limit, to get a figure and not only a timeout.
        deadline = REPLY_S + SILENT_PATH_LIMIT_S
        wait_until(not_steady, what="answered pings", deadline=deadline, process=self._pinger)

    def _active_tunnel(self) -> int:
        """Number of the tunnel that carries the remote network's packets now."""
        before = self.topology.count().esp_by_address
        tunnels = self.topology.connection.tunnels

        def increase() -> dict[int, int]:
            now = self.topology.count().esp_by_address
            return {
                number: now.get(tunnel.outside_ip, 0) - before.get(tunnel.outside_ip, 0)
                for number, tunnel in enumerate(tunnels, start=1)
            }

        # Pings are five a second; the key exchange is counted separately.
        min_packets = 3
        wait_until(
            lambda: None if max(increase().values()) >= min_packets else "too few packets yet",
            what="packets in a tunnel",
            deadline=REPLY_S,
        )
        counts = increase()
        return max(counts, key=lambda number: counts[number])

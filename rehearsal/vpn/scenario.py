"""The VPN's story: it stands, carries, survives the loss of a tunnel and new keys, and nothing crosses in clear."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rehearsal.host.commands import CommandError
from rehearsal.host.sandbox import GroundError, Process, wait_until
from rehearsal.vpn import pings
from rehearsal.vpn.addresses import with_new_key
from rehearsal.vpn.gateways import Gateways, folders, load_clamp
from rehearsal.vpn.result import ESTABLISHED_LIMIT_S, SILENT_PATH_LIMIT_S, Result, Step
from rehearsal.vpn.topology import Topology

ROOT = Path(__file__).resolve().parents[2]
SMOKE_S = 40.0
QUIET_S = 1.2  # so many seconds of pings without a loss are the usual state again
ANSWER_S = 20.0
REFUSED = "AUTHENTICATION_FAILED"
KEY_CAUSE = "the pre-shared key"
DARK_PINGS = 15  # so many are sent with no tunnel at all: three seconds' worth
# The negotiated size, less what TCP's own options take.
SEGMENT = (
    "import socket, sys; made = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); "
    "print(made.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))"
)


class VpnError(Exception):
    """The tunnels did something else than they must."""


@dataclass(frozen=True, kw_only=True)
class App:
    """What the office wants to reach: a private address in the cloud, and the release that answers there."""

    address: str
    port: int
    release: str
    deep: bool


@dataclass(kw_only=True)
class Scenario:
    """One performance on a topology that is wired, with an app behind the cloud's gateway.

    `silent_path`: also cut a way that AWS's end has to find out about by itself, which takes most of a minute.
    """

    topology: Topology
    app: App
    silent_path: bool = False
    tell: Callable[[Step], None] = lambda _step: None
    result: Result = field(default_factory=Result)
    _gateways: Gateways = field(init=False)
    _pinger: Process = field(init=False)
    _file: Path = field(init=False)
    _cut: int = field(init=False)

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        """The table of contents."""
        return [
            ("both gateways start, and a ping comes through", self.establish),
            ("the app answers at its private address", self.reach_app),
            ("TCP is told to send what fits", self.clamp),
            ("the endpoint of the tunnel that carries is lost: the other takes over", self.fail_over),
            ("the lost tunnel comes back", self.restore),
            *([("the way to an endpoint is cut, and AWS is not told", self.cut_silently)] if self.silent_path else []),
            ("both tunnels are cut: nothing leaves in clear", self.black_out),
            ("new keys at both ends, one tunnel after the other", self.rotate),
            ("a wrong key is refused by name", self.refuse),
            ("nothing crossed the internet in clear", self.judge_wire),
        ]

    def play(self) -> Result:
        """Steps in order, up to the first that fails; the error is in the result, as a sentence."""
        for name, action in self.steps():
            began, note, ok = time.monotonic(), "", False
            try:
                note, ok = action(), True
            except (VpnError, GroundError, CommandError, OSError, subprocess.SubprocessError) as error:
                note = self.result.error = f"{name}: {error}"
            step = Step(name=name, seconds=round(time.monotonic() - began, 3), ok=ok, note=note)
            self.result.steps.append(step)
            self.tell(step)
            if not ok:
                break
        self._count_wire()
        return self.result

    def establish(self) -> str:
        began = time.monotonic()
        self._gateways = Gateways.start(self.topology)
        self._pinger, self._file = self.topology.start_pings("vpn-pings")
        self._gateways.office.load()
        wait_until(self._no_answer, what="a ping through a tunnel", deadline=ANSWER_S, process=self._pinger)
        first = next(ping for ping in pings.read(self._file) if ping.answered)
        self.result.established_seconds = first.sent + (first.seconds or 0.0) - began
        self._gateways.wait_standing()
        return f"{self.result.established_seconds:.2f} s; limit {ESTABLISHED_LIMIT_S:g} s"

    def reach_app(self) -> str:
        """By the script that people use, run on the office's host."""
        app = self.app
        argv = [sys.executable, "-m", "scripts.smoke_test", "--private", f"{app.address}:{app.port}", "--json"]
        argv += ["--release", app.release, "--deadline", "10", *([] if app.deep else ["--shallow"])]
        done = subprocess.run(
            self.topology.office_host.argv(*argv),
            cwd=ROOT,
            env=self.topology.ground.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SMOKE_S,
            check=False,
        )
        if done.returncode:
            raise VpnError(f"the smoke test ended with exit code {done.returncode}: {done.stdout}{done.stderr}")
        checks = json.loads(done.stdout)["checks"]
        return f"{app.address}:{app.port}: {len(checks)} checks passed, {app.release} answered"

    def clamp(self) -> str:
        office, _cloud = folders(self.topology.ground)
        if reason := load_clamp(self.topology.office_gateway, office):
            self.result.clamp = reason
            return f"not played: {reason}"
        argv = (sys.executable, "-c", SEGMENT, self.app.address, str(self.app.port))
        self.result.segment_bytes = found = int(self.topology.office_host.run(*argv))
        allowed = min(tunnel.mss for tunnel in self.topology.connection.tunnels)
        if found > allowed:
            raise VpnError(f"TCP sends {found} bytes in a segment, more than the {allowed} that fit")
        return f"{found} bytes in a segment, {allowed} fit"

    def fail_over(self) -> str:
        """The office hears nothing more of it, and has to notice; AWS answers through its other endpoint at once."""
        place = self._carrier()
        began = time.monotonic()
        self.topology.cut(place)
        self._gateways.lose_endpoint(place)
        self._cut = place
        seconds, lost = self._outage(began)
        self.result.failover_seconds, self.result.lost_pings = seconds, lost
        if (taken := self._carrier()) == place:
            raise VpnError(f"pings came back over tunnel {place}, though it is cut")
        return f"tunnel {place} lost, tunnel {taken} carries after {seconds:.2f} s; {lost} pings lost"

    def restore(self) -> str:
        began = time.monotonic()
        self.topology.restore(self._cut)
        self._gateways.wait_standing()
        return f"tunnel {self._cut} stands again after {time.monotonic() - began:.2f} s"

    def cut_silently(self) -> str:
        """Answers are lost until AWS's end gives the office up on the tunnel that it prefers."""
        place = self._carrier()
        began = time.monotonic()
        self.topology.cut(place)
        seconds, lost = self._outage(began)
        self.result.silent_path_seconds = seconds
        self.topology.restore(place)
        self._gateways.wait_standing()
        return f"tunnel {place} cut, pings come back after {seconds:.2f} s; {lost} pings lost"

    def black_out(self) -> str:
        """Counted from when the office has no tunnel left: until then packets go into one that leads nowhere."""
        for place in (1, 2):
            self.topology.cut(place)
        self._gateways.wait_given_up()
        began = time.monotonic()
        wait_until(
            lambda: None if self._sent_since(began) >= DARK_PINGS else "too few pings yet",
            what="pings without a tunnel",
            deadline=ANSWER_S,
            process=self._pinger,
        )
        self._count_wire()
        self.result.dark_pings = dark = self._sent_since(began)
        if answered := [ping for ping in self._pings(time.monotonic()) if ping.sent >= began and ping.answered]:
            raise VpnError(f"{len(answered)} pings were answered with both tunnels cut")
        if plain := self.result.plain_packets_on_wire:
            raise VpnError(f"{plain} packets left in clear with both tunnels cut")
        again = time.monotonic()
        for place in (1, 2):
            self.topology.restore(place)
        self._gateways.wait_standing()
        self._wait_quiet(again)
        return f"{dark} pings, none of them on the wire; both tunnels stand {time.monotonic() - again:.1f} s later"

    def rotate(self) -> str:
        began = time.monotonic()
        for place in (1, 2):
            self._gateways.give_keys(with_new_key(self._gateways.connection, place))
            self._gateways.prove_anew(place)
        self._gateways.wait_standing()
        self._wait_quiet(time.monotonic())
        now = time.monotonic()
        seen = self._pings(now)
        until = seen[-1].sent
        self.result.rotation_seconds = pings.longest_silence(seen, since=began, until=until)
        lost = pings.lost(seen, since=began, until=until)
        return f"longest silence {self.result.rotation_seconds:.2f} s, {lost} pings lost, in {now - began:.1f} s"

    def refuse(self) -> str:
        right = self._gateways.connection
        self._gateways.give_keys(with_new_key(right, 1), cloud=False)
        said = self._gateways.refusal(1)
        if REFUSED not in said:
            raise VpnError(f"a wrong key must be refused with {REFUSED}; strongSwan said: {said or 'it stands'}")
        causes = [one.means for one in self._gateways.ailments() if one.tunnel == "tunnel1" and REFUSED in one.seen]
        if not any(KEY_CAUSE in cause for cause in causes):
            raise VpnError(f"the check must explain {REFUSED} with the key; it said: {causes or 'nothing'}")
        self._gateways.give_keys(right)
        if again := self._gateways.refusal(1):
            raise VpnError(f"the right key was refused: {again}")
        self._gateways.wait_standing()
        # A packet may be on its way just now, with its answer still to come.
        wait_until(self._complaint, what="a check without complaints", deadline=ANSWER_S)
        return f"{REFUSED}, explained by the check; with the right key it stands again"

    def judge_wire(self) -> str:
        self._pinger.stop()
        self._count_wire()
        plain, esp = self.result.plain_packets_on_wire, self.result.esp_packets_on_wire
        if plain:
            raise VpnError(f"{plain} packets with inner addresses crossed the internet, {esp} were ESP")
        return f"0 packets with inner addresses, {esp} of ESP, {self.topology.count().ike} of IKE"

    def _count_wire(self) -> None:
        count = self.topology.count()
        self.result.plain_packets_on_wire, self.result.esp_packets_on_wire = count.plain, count.esp

    def _complaint(self) -> str | None:
        return "; ".join(f"{one.tunnel}: {one.seen}" for one in self._gateways.ailments()) or None

    def _sent_since(self, moment: float) -> int:
        return sum(ping.sent >= moment for ping in pings.read(self._file))

    def _outage(self, began: float) -> tuple[float, int]:
        """Seconds until pings come through for good, and how many were lost."""
        self._wait_quiet(began, at_least_one_lost=True)
        now = time.monotonic()
        seen = self._pings(now)
        seconds = pings.outage(seen, since=began, until=now)
        if seconds is None:
            raise VpnError("pings stopped again")
        return seconds, pings.lost(seen, since=began, until=now)

    def _no_answer(self) -> str | None:
        seen = pings.read(self._file)
        return None if any(ping.answered for ping in seen) else f"{len(seen)} pings, no answer"

    def _pings(self, now: float) -> list[pings.Ping]:
        return pings.judged(pings.read(self._file), now=now)

    def _wait_quiet(self, since: float, *, at_least_one_lost: bool = False) -> None:
        """Until pings that were sent for a while have all been answered, and, if wanted, one before them was lost."""

        def unquiet() -> str | None:
            now = time.monotonic()
            seen = [ping for ping in self._pings(now) if ping.sent >= since]
            losses = [ping.sent for ping in seen if not ping.answered]
            if at_least_one_lost and not losses:
                return "no ping was lost yet"
            answered = [ping.sent for ping in seen if ping.answered and ping.sent > (losses[-1] if losses else since)]
            steady = answered[-1] - answered[0] if answered else 0.0
            return None if steady >= QUIET_S else f"{len(losses)} pings lost, answers for {steady:.1f} s"

        # Beyond the limit that counts, so that a figure is had and not only a failure.
        deadline = ANSWER_S + SILENT_PATH_LIMIT_S
        wait_until(unquiet, what="answered pings", deadline=deadline, process=self._pinger)

    def _carrier(self) -> int:
        """Which tunnel carries the office's packets at this moment."""
        before = self.topology.count().esp_by_address
        tunnels = self.topology.connection.tunnels

        def grown() -> dict[int, int]:
            now = self.topology.count().esp_by_address
            return {
                place: now.get(each.outside_ip, 0) - before.get(each.outside_ip, 0)
                for place, each in enumerate(tunnels, start=1)
            }

        # Pings are five a second; the key exchange is counted apart.
        enough = 3
        wait_until(
            lambda: None if max(grown().values()) >= enough else "too few packets yet",
            what="packets in a tunnel",
            deadline=ANSWER_S,
        )
        counts = grown()
        return max(counts, key=lambda place: counts[place])

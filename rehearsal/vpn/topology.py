"""Office, internet and cloud are five network namespaces, wired; what crosses the internet is counted."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from rehearsal.host.sandbox import Ground, Process
from rehearsal.vpn import pings, wire
from rehearsal.vpn.addresses import Plan
from rehearsal.vpn.namespaces import PROXY_ARP, ROUTER, Namespace, link
from scripts.vpn_render import Connection

ROOT = Path(__file__).resolve().parents[2]
COUNTER_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Topology:
    """The places, and what is known of the wire between them."""

    ground: Ground
    connection: Connection
    plan: Plan
    office_host: Namespace
    office_gateway: Namespace
    internet: Namespace
    cloud_gateway: Namespace
    counts: Path

    def count(self) -> wire.Count:
        """What has crossed the internet so far."""
        return wire.Count.read(self.counts)

    def cut(self, place: int) -> None:
        """Drop all packets of tunnel 1 or 2, silently, as a router that fails somewhere does."""
        for rule in self._rules(place):
            self.internet.ip("rule", "add", *rule)

    def restore(self, place: int) -> None:
        for rule in self._rules(place):
            self.internet.ip("rule", "delete", *rule)

    def start_pings(self, name: str) -> tuple[Process, Path]:
        """From the office's host to the cloud's, until its process is stopped."""
        file = self.ground.folder / f"{name}.tsv"
        argv = [sys.executable, "-m", pings.__name__, str(file), self.plan.cloud_host]
        return self.ground.start(name, self.office_host.argv(*argv), cwd=ROOT), file

    def _rules(self, place: int) -> list[tuple[str, ...]]:
        address = self.connection.tunnels[place - 1].outside_ip
        return [(direction, address, "blackhole") for direction in ("from", "to")]


def build(ground: Ground, connection: Connection, plan: Plan, office_settings: tuple[str, ...]) -> Topology:
    """`office_settings` are the office gateway's kernel settings, `net/…=value`."""
    topology = Topology(
        ground=ground,
        connection=connection,
        plan=plan,
        office_host=Namespace.make(ground, "office-host"),
        office_gateway=Namespace.make(ground, "office-gateway", office_settings),
        internet=Namespace.make(ground, "internet", (*ROUTER, *PROXY_ARP)),
        cloud_gateway=Namespace.make(ground, "cloud-gateway", ROUTER),
        counts=ground.folder / "wire.json",
    )
    _wire_office(topology)
    _wire_internet(topology)
    _start_counting(topology)
    return topology


def _wire_office(topology: Topology) -> None:
    plan, host, gateway = topology.plan, topology.office_host, topology.office_gateway
    link(gateway, "lan", host, "lan")
    host.ip("address", "add", f"{plan.office_host}/{plan.office_network.prefixlen}", "dev", "lan")
    host.ip("route", "add", "default", "via", plan.office_gateway)
    gateway.ip("address", "add", f"{plan.office_gateway}/{plan.office_network.prefixlen}", "dev", "lan")


def _wire_internet(topology: Topology) -> None:
    """The router knows each outside address by its link, and answers for the others: no network is shared."""
    internet, connection = topology.internet, topology.connection
    link(topology.office_gateway, "wan", internet, "office")
    topology.office_gateway.ip("address", "add", f"{connection.office_ip}/32", "dev", "wan")
    topology.office_gateway.ip("route", "add", "default", "dev", "wan")
    # The rest of the internet: whatever else is sent out is taken, and so would be seen.
    internet.ip("route", "add", "default", "dev", "lo")
    internet.ip("route", "add", connection.office_ip, "dev", "office")
    for place, tunnel in enumerate(connection.tunnels, start=1):
        cloud, outside = topology.cloud_gateway, f"outside{place}"
        link(cloud, outside, internet, f"aws{place}")
        cloud.ip("address", "add", f"{tunnel.outside_ip}/32", "dev", outside)
        internet.ip("route", "add", tunnel.outside_ip, "dev", f"aws{place}")
        # Each endpoint answers through its own link.
        cloud.ip("route", "add", "default", "dev", outside, "table", str(place))
        cloud.ip("rule", "add", "from", tunnel.outside_ip, "lookup", str(place))
    topology.cloud_gateway.ip("route", "add", connection.office_ip, "dev", "outside1")


def _start_counting(topology: Topology) -> None:
    outside = ",".join(tunnel.outside_ip for tunnel in topology.connection.tunnels)
    inner = ",".join((*topology.connection.office_cidrs, *topology.connection.vpc_cidrs))
    argv = [sys.executable, "-m", wire.__name__, str(topology.counts), outside, inner]
    counter = topology.ground.start("wire", topology.internet.argv(*argv), cwd=ROOT)
    topology.ground.wait_ready(
        counter, lambda: None if topology.counts.exists() else "it counts nothing yet", what="wire", deadline=COUNTER_S
    )

"""VPN test topology: network namespaces for remote network, internet and cloud, with a packet counter."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from rehearsal.host.sandbox import Process, Sandbox
from rehearsal.vpn import pings, wire
from rehearsal.vpn.addresses import AddressPlan
from rehearsal.vpn.namespaces import PROXY_ARP, ROUTER, Namespace, link
from scripts.vpn.render import Connection

ROOT = Path(__file__).resolve().parents[2]
COUNTER_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Network namespaces of a run; `counts`: file with the packet counts of the internet."""

    sandbox: Sandbox
    connection: Connection
    plan: AddressPlan
    remote_host: Namespace
    remote_gateway: Namespace
    internet: Namespace
    cloud_gateway: Namespace
    counts: Path

    def count(self) -> wire.Count:
        """Packets that have crossed the internet so far."""
        return wire.Count.read(self.counts)

    def cut(self, number: int) -> None:
        """Drop all packets of tunnel 1 or 2 silently, as a failed router would."""
        for rule in self._rules(number):
            self.internet.ip("rule", "add", *rule)

    def restore(self, number: int) -> None:
        for rule in self._rules(number):
            self.internet.ip("rule", "delete", *rule)

    def start_pings(self, name: str) -> tuple[Process, Path]:
        """Ping from the remote host to the cloud's, until the process is stopped; the process and its log."""
        file = self.sandbox.folder / f"{name}.tsv"
        argv = [sys.executable, "-m", pings.__name__, str(file), self.plan.cloud_host]
        return self.sandbox.start(name, self.remote_host.argv(*argv), cwd=ROOT), file

    def _rules(self, number: int) -> list[tuple[str, ...]]:
        address = self.connection.tunnels[number - 1].outside_ip
        return [(direction, address, "blackhole") for direction in ("from", "to")]


def build(sandbox: Sandbox, connection: Connection, plan: AddressPlan, remote_settings: tuple[str, ...]) -> Topology:
    """Create and connect the namespaces; `remote_settings`: kernel settings of the remote gateway, `net/…=value`."""
    topology = Topology(
        sandbox=sandbox,
        connection=connection,
        plan=plan,
        remote_host=Namespace.create(sandbox, "remote-host"),
        remote_gateway=Namespace.create(sandbox, "remote-gateway", remote_settings),
        internet=Namespace.create(sandbox, "internet", (*ROUTER, *PROXY_ARP)),
        cloud_gateway=Namespace.create(sandbox, "cloud-gateway", ROUTER),
        counts=sandbox.folder / "wire.json",
    )
    _connect_remote(topology)
    _connect_internet(topology)
    _start_counting(topology)
    return topology


def _connect_remote(topology: Topology) -> None:
    plan, host, gateway = topology.plan, topology.remote_host, topology.remote_gateway
    link(gateway, "lan", host, "lan")
    host.ip("address", "add", f"{plan.remote_host}/{plan.remote_network.prefixlen}", "dev", "lan")
    host.ip("route", "add", "default", "via", plan.remote_gateway)
    gateway.ip("address", "add", f"{plan.remote_gateway}/{plan.remote_network.prefixlen}", "dev", "lan")


def _connect_internet(topology: Topology) -> None:
    """Route each public address to its link, with proxy ARP, since the links share no network."""
    internet, connection = topology.internet, topology.connection
    link(topology.remote_gateway, "wan", internet, "remote")
    topology.remote_gateway.ip("address", "add", f"{connection.customer_gateway_ip}/32", "dev", "wan")
    topology.remote_gateway.ip("route", "add", "default", "dev", "wan")
    # The rest of the internet: any other packet is accepted, and so would be counted.
    internet.ip("route", "add", "default", "dev", "lo")
    internet.ip("route", "add", connection.customer_gateway_ip, "dev", "remote")
    for number, tunnel in enumerate(connection.tunnels, start=1):
        cloud, outside = topology.cloud_gateway, f"outside{number}"
        link(cloud, outside, internet, f"aws{number}")
        cloud.ip("address", "add", f"{tunnel.outside_ip}/32", "dev", outside)
        internet.ip("route", "add", tunnel.outside_ip, "dev", f"aws{number}")
        # Each endpoint replies through its own link.
        cloud.ip("route", "add", "default", "dev", outside, "table", str(number))
        cloud.ip("rule", "add", "from", tunnel.outside_ip, "lookup", str(number))
    topology.cloud_gateway.ip("route", "add", connection.customer_gateway_ip, "dev", "outside1")


def _start_counting(topology: Topology) -> None:
    outside = ",".join(tunnel.outside_ip for tunnel in topology.connection.tunnels)
    inner = ",".join((*topology.connection.remote_cidrs, *topology.connection.vpc_cidrs))
    argv = [sys.executable, "-m", wire.__name__, str(topology.counts), outside, inner]
    counter = topology.sandbox.start("wire", topology.internet.argv(*argv), cwd=ROOT)
    topology.sandbox.wait_ready(
        counter, lambda: None if topology.counts.exists() else "no packet count yet", what="wire", deadline=COUNTER_S
    )

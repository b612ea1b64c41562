"""VPN scenario within a rehearsal: a remote network reaches one of its instances; removed afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Network

from rehearsal.host import commands, processes
from rehearsal.host.docker_engine import DockerEngine
from rehearsal.host.install import FOR_VPN, Host, InstallError, ensure
from rehearsal.host.ledger import StartedProcess
from rehearsal.host.sandbox import Sandbox
from rehearsal.vpn import gateways, host, topology
from rehearsal.vpn.addresses import generated_connection, plan_addresses
from rehearsal.vpn.namespaces import TIMEOUT_S, link_to_bridge
from rehearsal.vpn.result import Result
from rehearsal.vpn.scenario import AppEndpoint, VpnScenario
from scripts.vpn.render import Connection

GAPS = (
    {
        "service": "ec2",
        "action": "VPN endpoints",
        "reason": "AWS's end is strongSwan in a namespace, and the instance has the route to the remote network",
    },
    {
        "service": "ec2",
        "action": "VPN dead peer detection",
        "reason": "AWS's end knows at once that an endpoint is down; a failure that AWS has to detect, in 30 s or "
        "more, is measured by `make rehearse-vpn ARGS=--silent-path`",
    },
    {
        "service": "ec2",
        "action": "VPN with BGP, and with kernel interfaces",
        "reason": "ESP in userspace has one interface for both tunnels: only the static files for it are tested",
    },
)


@dataclass(frozen=True, kw_only=True)
class InstanceAddress:
    """An instance of the rehearsal: its private address, and a process in its network namespace."""

    address: str
    pid: int

    @classmethod
    def find(cls, docker: DockerEngine, container: str, network: str) -> InstanceAddress:
        state = docker.inspect(container)
        return cls(address=state["NetworkSettings"]["Networks"][network]["IPAddress"], pid=state["State"]["Pid"])

    def route(self, verb: str, remote: Sequence[str], gateway: str) -> None:
        """Change the routes to the remote network, in place of the VPC's route table."""
        for network in remote:
            argv = ["nsenter", f"--net=/proc/{self.pid}/ns/net", "ip", "route", verb, network, "via", gateway]
            commands.run(argv, timeout=TIMEOUT_S)


def gaps(result: Result) -> tuple[dict[str, str], ...]:
    """Differences from AWS, or from a real remote gateway, in this run."""
    if not result.clamp:
        return GAPS
    return (
        *GAPS,
        {"service": "remote gateway", "action": "clamp.nft", "reason": f"could not be loaded: {result.clamp}"},
    )


def prepare(notify: Callable[[str], None]) -> None:
    """Install missing tools; without them the VPN is skipped, with a message that says why."""
    try:
        ensure(Host(), notify, FOR_VPN)
    except InstallError as error:
        notify(f"the VPN will be skipped: {error}")


def run(sandbox: Sandbox, instance: InstanceAddress, bridge: str, *, port: int, release: str) -> Result:
    """Run the scenario against this instance, which serves `release` on `port`; its processes end with it."""
    connection = replace(generated_connection(), vpc_cidrs=(str(sandbox.network),))
    with _ended_afterwards(sandbox):
        wired = _build_topology(sandbox, connection, instance.address, bridge)
        instance.route("replace", connection.remote_cidrs, wired.plan.cloud_gateway)
        try:
            app = AppEndpoint(address=instance.address, port=port, release=release, deep=True)
            scenario = VpnScenario(topology=wired, app=app)
            scenario.result.kernel_esp_available = host.kernel_has_esp()
            return scenario.run()
        finally:
            instance.route("delete", connection.remote_cidrs, wired.plan.cloud_gateway)


def _build_topology(sandbox: Sandbox, connection: Connection, instance: str, bridge: str) -> topology.Topology:
    remote, _cloud = gateways.folders(sandbox)
    gateways.write_remote_config(remote, connection)
    plan = replace(plan_addresses(connection, cloud_network=IPv4Network(sandbox.network)), cloud_host=instance)
    built = topology.build(sandbox, connection, plan, gateways.kernel_settings(remote))
    link_to_bridge(built.cloud_gateway, "inside", bridge, f"bgv{secrets.token_hex(4)}")
    inside = f"{plan.cloud_gateway}/{plan.cloud_network.prefixlen}"
    built.cloud_gateway.ip("address", "add", inside, "dev", "inside")
    return built


@contextmanager
def _ended_afterwards(sandbox: Sandbox) -> Iterator[None]:
    """End the processes that are started within the block, in reverse order, to free the processors for the load."""
    before = len(sandbox.ledger.read().entries)
    try:
        yield
    finally:
        for entry in reversed(sandbox.ledger.read().entries[before:]):
            if isinstance(entry, StartedProcess):
                processes.end(processes.session_of(entry.leader), grace=entry.grace)

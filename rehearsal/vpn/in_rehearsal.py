"""The scenario within a rehearsal: the office reaches one of its machines, and then all of it is gone again."""

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
from rehearsal.host.sandbox import Ground
from rehearsal.vpn import gateways, host, topology
from rehearsal.vpn.addresses import own_connection, plan_of
from rehearsal.vpn.namespaces import LIMIT_S, link_to_bridge
from rehearsal.vpn.result import Result
from rehearsal.vpn.scenario import App, Scenario
from scripts.vpn_render import Connection

GAPS = (
    {
        "service": "ec2",
        "action": "VPN endpoints",
        "reason": "AWS's end is strongSwan in a namespace here, and the VPC's route to the office one in the machine",
    },
    {
        "service": "ec2",
        "action": "VPN dead peer detection",
        "reason": "AWS's end knows at once here that an endpoint is lost; a way that is cut, which AWS finds out in "
        "30 s at least, is measured by `make rehearse-vpn ARGS=--silent-path`",
    },
    {
        "service": "ec2",
        "action": "VPN by BGP, and by interfaces of the kernel",
        "reason": "ESP in userspace has one interface for both tunnels: the static files for that are what is played",
    },
)


@dataclass(frozen=True, kw_only=True)
class MachinePlace:
    """A machine of the rehearsal: its private address, and the process whose network it is."""

    address: str
    pid: int

    @classmethod
    def find(cls, docker: DockerEngine, container: str, network: str) -> MachinePlace:
        found = docker.inspect(container)
        return cls(address=found["NetworkSettings"]["Networks"][network]["IPAddress"], pid=found["State"]["Pid"])

    def route(self, verb: str, office: Sequence[str], gateway: str) -> None:
        """What the VPC's routing table does for a machine on AWS."""
        for network in office:
            argv = ["nsenter", f"--net=/proc/{self.pid}/ns/net", "ip", "route", verb, network, "via", gateway]
            commands.run(argv, limit=LIMIT_S)


def gaps(result: Result) -> tuple[dict[str, str], ...]:
    """What was played unlike AWS, or unlike an office, in this run."""
    if not result.clamp:
        return GAPS
    return (*GAPS, {"service": "office", "action": "clamp.nft", "reason": f"could not be loaded: {result.clamp}"})


def prepare(tell: Callable[[str], None]) -> None:
    """Install what is missing, before anything else runs; without it the VPN is left out, and this says why."""
    try:
        ensure(Host(), tell, FOR_VPN)
    except InstallError as error:
        tell(f"the VPN will not be played: {error}")


def play(ground: Ground, machine: MachinePlace, bridge: str, *, port: int, release: str) -> Result:
    """From the office to this machine, where `release` answers at `port`; leaves the ground as it was."""
    connection = replace(own_connection(), vpc_cidrs=(str(ground.network),))
    with _only_meanwhile(ground):
        built = _built(ground, connection, machine.address, bridge)
        machine.route("replace", connection.office_cidrs, built.plan.cloud_gateway)
        try:
            app = App(address=machine.address, port=port, release=release, deep=True)
            scenario = Scenario(topology=built, app=app)
            scenario.result.kernel_could = host.kernel_has_esp()
            return scenario.play()
        finally:
            machine.route("delete", connection.office_cidrs, built.plan.cloud_gateway)


def _built(ground: Ground, connection: Connection, machine: str, bridge: str) -> topology.Topology:
    office, _cloud = gateways.folders(ground)
    gateways.write_office(office, connection)
    plan = replace(plan_of(connection, cloud_network=IPv4Network(ground.network)), cloud_host=machine)
    built = topology.build(ground, connection, plan, gateways.kernel_settings(office))
    link_to_bridge(built.cloud_gateway, "inside", bridge, f"bgv{secrets.token_hex(4)}")
    inside = f"{plan.cloud_gateway}/{plan.cloud_network.prefixlen}"
    built.cloud_gateway.ip("address", "add", inside, "dev", "inside")
    return built


@contextmanager
def _only_meanwhile(ground: Ground) -> Iterator[None]:
    """What is started within is ended with it, last first: the users get the processors back."""
    before = len(ground.ledger.read().entries)
    try:
        yield
    finally:
        for entry in reversed(ground.ledger.read().entries[before:]):
            if isinstance(entry, StartedProcess):
                processes.end(processes.session_of(entry.leader), grace=entry.grace)

"""The scenario without a rehearsal around it: the sample app stands for the cloud, on a host behind its gateway."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rehearsal.host.commands import CommandError
from rehearsal.host.sandbox import Ground
from rehearsal.vpn import gateways, host, topology
from rehearsal.vpn.addresses import plan_of
from rehearsal.vpn.namespaces import Namespace, link
from rehearsal.vpn.result import Result, Step
from rehearsal.vpn.scenario import ROOT, App, Scenario
from rehearsal.vpn.topology import Topology
from scripts.vpn_render import Connection

PORT, RELEASE = 8080, "v1"
APP_S = 30.0
HELLO = ROOT / "examples" / "hello" / "app.py"


def play(ground: Ground, tell: Callable[[Step], None], connection: Connection, *, silent_path: bool = False) -> Result:
    """On a ground that the caller opened and closes."""
    office, _cloud = gateways.folders(ground)
    gateways.write_office(office, connection)
    built = topology.build(ground, connection, plan_of(connection), gateways.kernel_settings(office))
    scenario = Scenario(topology=built, app=_app(built), silent_path=silent_path, tell=tell)
    scenario.result.kernel_could = host.kernel_has_esp()
    return scenario.play()


def _app(built: Topology) -> App:
    plan, gateway = built.plan, built.cloud_gateway
    machine = Namespace.make(built.ground, "cloud-host")
    link(gateway, "inside", machine, "lan")
    prefix = plan.cloud_network.prefixlen
    gateway.ip("address", "add", f"{plan.cloud_gateway}/{prefix}", "dev", "inside")
    machine.ip("address", "add", f"{plan.cloud_host}/{prefix}", "dev", "lan")
    machine.ip("route", "add", "default", "via", plan.cloud_gateway)
    environment = {"PORT": str(PORT), "RELEASE": RELEASE, "COLOR": "blue", "ENVIRONMENT": "rehearsal"}
    process = built.ground.start("app", machine.argv(sys.executable, str(HELLO)), environment)
    asks = f"import socket; socket.create_connection(('{plan.cloud_host}', {PORT}), 2)"

    def silent() -> str | None:
        try:
            machine.run(sys.executable, "-c", asks)
        except CommandError as error:
            return str(error)
        return None

    built.ground.wait_ready(process, silent, what="the app", deadline=APP_S)
    return App(address=plan.cloud_host, port=PORT, release=RELEASE, deep=False)

"""Standalone VPN scenario, without a rehearsal: the sample app runs on a host behind the cloud's gateway."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rehearsal.host.commands import ToolError
from rehearsal.host.sandbox import Sandbox
from rehearsal.vpn import gateways, host, topology
from rehearsal.vpn.addresses import plan_addresses
from rehearsal.vpn.namespaces import Namespace, link
from rehearsal.vpn.result import Result, VpnStep
from rehearsal.vpn.scenario import ROOT, AppEndpoint, VpnScenario
from rehearsal.vpn.topology import Topology
from scripts.vpn.render import Connection

PORT, RELEASE = 8080, "v1"
APP_S = 30.0
HELLO = ROOT / "examples" / "hello" / "app.py"


def run(
    sandbox: Sandbox, report: Callable[[VpnStep], None], connection: Connection, *, silent_path: bool = False
) -> Result:
    """Run the scenario in a sandbox that the caller closes."""
    remote, _cloud = gateways.folders(sandbox)
    gateways.write_remote_config(remote, connection)
    wired = topology.build(sandbox, connection, plan_addresses(connection), gateways.kernel_settings(remote))
    scenario = VpnScenario(topology=wired, app=_start_app(wired), silent_path=silent_path, report=report)
    scenario.result.kernel_esp_available = host.kernel_has_esp()
    return scenario.run()


def _start_app(wired: Topology) -> AppEndpoint:
    plan, gateway = wired.plan, wired.cloud_gateway
    host_namespace = Namespace.create(wired.sandbox, "cloud-host")
    link(gateway, "inside", host_namespace, "lan")
    prefix = plan.cloud_network.prefixlen
    gateway.ip("address", "add", f"{plan.cloud_gateway}/{prefix}", "dev", "inside")
    host_namespace.ip("address", "add", f"{plan.cloud_host}/{prefix}", "dev", "lan")
    host_namespace.ip("route", "add", "default", "via", plan.cloud_gateway)
    environment = {"PORT": str(PORT), "RELEASE": RELEASE, "COLOR": "blue", "ENVIRONMENT": "rehearsal"}
    process = wired.sandbox.start("app", host_namespace.argv(sys.executable, str(HELLO)), environment)
    probe = f"import socket; socket.create_connection(('{plan.cloud_host}', {PORT}), 2)"

    def not_ready() -> str | None:
        try:
            host_namespace.run(sys.executable, "-c", probe)
        except ToolError as error:
            return str(error)
        return None

    wired.sandbox.wait_ready(process, not_ready, what="the app", deadline=APP_S)
    return AppEndpoint(address=plan.cloud_host, port=PORT, release=RELEASE, deep=False)

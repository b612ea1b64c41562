"""VPN to an instance of a running rehearsal; here a network namespace on a bridge takes its place."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.host import processes
from rehearsal.host.install import FOR_VPN, InstallError
from rehearsal.host.sandbox import Sandbox, wait_until
from rehearsal.host.teardown import MARK
from rehearsal.vpn import in_rehearsal
from rehearsal.vpn.host import unsupported_reason
from rehearsal.vpn.in_rehearsal import InstanceAddress
from rehearsal.vpn.namespaces import Namespace, link_to_bridge

REASON = unsupported_reason()
# Its deep check verifies the client address: no gateway may hide the remote host's address.
APP = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"status": "ok", "release": "v1", "checks": {"from": self.client_address[0]}}).encode()
        body = body.replace(b'"192.168.10.10"', b'"ok"')
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox.open(runs=tmp_path) as opened:
        yield opened


@pytest.fixture
def bridge(sandbox: Sandbox) -> str:
    """A bridge as Docker creates it: the host has the network's first address."""
    name = f"bgt{secrets.token_hex(4)}"
    sandbox.add_cleanup(["ip", "link", "delete", name], name)
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    address = f"{sandbox.gateway}/{sandbox.network.prefixlen}"
    subprocess.run(["ip", "address", "add", address, "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    return name


@pytest.fixture
def instance(sandbox: Sandbox, bridge: str) -> Namespace:
    found = Namespace.create(sandbox, "instance")
    link_to_bridge(found, "eth0", bridge, f"bgm{secrets.token_hex(4)}")
    found.ip("address", "add", f"{sandbox.network[9]}/{sandbox.network.prefixlen}", "dev", "eth0")
    found.ip("route", "add", "default", "via", sandbox.gateway)
    app = sandbox.start("app", found.argv(sys.executable, "-c", APP))
    asks = "import socket; socket.create_connection(('127.0.0.1', 8080), 2)"
    wait_until(lambda: _fails(found, asks), what="the app", deadline=20, process=app)
    return found


def _members(bridge: str) -> set[str]:
    return {path.name for path in Path("/sys/class/net", bridge, "brif").iterdir()}


def _fails(instance: Namespace, program: str) -> str | None:
    done = subprocess.run(instance.argv(sys.executable, "-c", program), capture_output=True, text=True, check=False)
    return done.stderr[-200:] if done.returncode else None


@pytest.mark.network
@pytest.mark.skipif(bool(REASON), reason=f"no VPN on this host: {REASON}")
def test_a_remote_network_reaches_an_instance_and_everything_is_removed(
    sandbox: Sandbox, bridge: str, instance: Namespace
) -> None:
    routes, links = instance.ip("route"), _members(bridge)
    before = {one.pid for one in processes.marked(MARK, sandbox.id)}
    address = InstanceAddress(address=str(sandbox.network[9]), pid=instance.holder.pid)
    result = in_rehearsal.run(sandbox, address, bridge, port=8080, release="v1")
    assert result.problems == []
    # Health, release, and the client address.
    assert "3 checks passed" in result.steps[1].note
    assert instance.ip("route") == routes
    assert {one.pid for one in processes.marked(MARK, sandbox.id)} == before
    # The kernel removes interfaces asynchronously.
    wait_until(lambda: None if _members(bridge) == links else "an interface is left", what="bridge", deadline=5)


def test_missing_vpn_tools_are_reported_and_do_not_stop_the_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_host: object, _notify: object, tools: object) -> None:
        assert tools == FOR_VPN
        raise InstallError("missing programs: swanctl")

    monkeypatch.setattr(in_rehearsal, "ensure", refuse)
    messages: list[str] = []
    in_rehearsal.prepare(messages.append)
    assert messages == ["the VPN will be skipped: missing programs: swanctl"]

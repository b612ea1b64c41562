"""The VPN against a machine of a running rehearsal, for which a network namespace on a bridge stands here."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.host import processes
from rehearsal.host.install import FOR_VPN, InstallError
from rehearsal.host.sandbox import Ground, wait_until
from rehearsal.host.teardown import MARK
from rehearsal.vpn import in_rehearsal
from rehearsal.vpn.host import reason_against
from rehearsal.vpn.in_rehearsal import MachinePlace
from rehearsal.vpn.namespaces import Namespace, link_to_bridge

REASON = reason_against()
# Its deep check is whether the office's host itself asks: no gateway hides the office's address.
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
def ground(tmp_path: Path) -> Iterator[Ground]:
    with Ground.open(runs=tmp_path) as opened:
        yield opened


@pytest.fixture
def bridge(ground: Ground) -> str:
    """As Docker makes it for machines: the host has the network's first address."""
    name = f"bgt{secrets.token_hex(4)}"
    ground.add_cleanup(["ip", "link", "delete", name], name)
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    address = f"{ground.gateway}/{ground.network.prefixlen}"
    subprocess.run(["ip", "address", "add", address, "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    return name


@pytest.fixture
def machine(ground: Ground, bridge: str) -> Namespace:
    found = Namespace.make(ground, "machine")
    link_to_bridge(found, "eth0", bridge, f"bgm{secrets.token_hex(4)}")
    found.ip("address", "add", f"{ground.network[9]}/{ground.network.prefixlen}", "dev", "eth0")
    found.ip("route", "add", "default", "via", ground.gateway)
    app = ground.start("app", found.argv(sys.executable, "-c", APP))
    asks = "import socket; socket.create_connection(('127.0.0.1', 8080), 2)"
    wait_until(lambda: _fails(found, asks), what="the app", deadline=20, process=app)
    return found


def _members(bridge: str) -> set[str]:
    return {path.name for path in Path("/sys/class/net", bridge, "brif").iterdir()}


def _fails(machine: Namespace, program: str) -> str | None:
    done = subprocess.run(machine.argv(sys.executable, "-c", program), capture_output=True, text=True, check=False)
    return done.stderr[-200:] if done.returncode else None


@pytest.mark.network
@pytest.mark.skipif(bool(REASON), reason=f"the VPN can't be played: {REASON}")
def test_an_office_reaches_a_machine_and_then_all_is_as_before(ground: Ground, bridge: str, machine: Namespace) -> None:
    routes, links = machine.ip("route"), _members(bridge)
    before = {one.pid for one in processes.marked(MARK, ground.id)}
    place = MachinePlace(address=str(ground.network[9]), pid=machine.holder.pid)
    result = in_rehearsal.play(ground, place, bridge, port=8080, release="v1")
    assert result.problems == []
    # Health, release, and the one that tells who asked.
    assert "3 checks passed" in result.steps[1].note
    assert machine.ip("route") == routes
    assert {one.pid for one in processes.marked(MARK, ground.id)} == before
    # The kernel takes a moment to dissolve a network.
    wait_until(lambda: None if _members(bridge) == links else "a cable is left", what="bridge", deadline=5)


def test_what_cannot_be_installed_is_told_and_does_not_stop_the_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_host: object, _tell: object, tools: object) -> None:
        assert tools == FOR_VPN
        raise InstallError("missing programs: swanctl")

    monkeypatch.setattr(in_rehearsal, "ensure", refuse)
    told: list[str] = []
    in_rehearsal.prepare(told.append)
    assert told == ["the VPN will not be played: missing programs: swanctl"]

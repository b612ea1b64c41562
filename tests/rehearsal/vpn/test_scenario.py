"""`make rehearse-vpn`: its steps and figures, and a complete teardown however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rehearsal.host import processes
from rehearsal.host.ledger import RunLedger
from rehearsal.host.sandbox import RUNS, wait_until
from rehearsal.host.teardown import MARK
from rehearsal.vpn.host import kernel_has_esp, unsupported_reason

ROOT = Path(__file__).resolve().parents[3]
REASON = unsupported_reason()
STEPS = [
    "start both gateways and wait for a ping",
    "smoke-test the app at its private address",
    "clamp the TCP segment size",
    "fail over from the active tunnel",
    "restore the failed tunnel",
    "cut both tunnels: no packet in cleartext",
    "rotate the keys of both tunnels, one after the other",
    "refuse a wrong key with a clear error",
    "verify that no packet crossed the internet in cleartext",
]
pytestmark = [pytest.mark.network, pytest.mark.skipif(bool(REASON), reason=f"no VPN on this host: {REASON}")]


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "rehearsal.vpn", "--report", str(folder), *words]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def own_traces() -> list[str]:
    """Interfaces and rules of the namespaces that leaked into the host's own network."""
    names = ("lan", "wan", "inside", "remote", "aws1", "aws2", "outside1", "outside2", "ipsec0")
    rules = subprocess.run(["ip", "rule"], capture_output=True, text=True, check=True).stdout.splitlines()
    found = [name for name in names if Path("/sys/class/net", name).exists()]
    return found + [rule for rule in rules if "blackhole" in rule or "lookup 220" in rule]


def run_of(owner: subprocess.Popen[str]) -> Path | None:
    for folder in RUNS.glob("run-*"):
        if (folder / "ledger.json").exists() and RunLedger(folder).read().owner.pid == owner.pid:
            return folder
    return None


@pytest.fixture(scope="module")
def completed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    folder = tmp_path_factory.mktemp("report")
    process = start(folder)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert own_traces() == []
    found: dict[str, Any] = json.loads((folder / "vpn.json").read_text())
    return found, output


def test_every_step_passes_in_its_order(completed: tuple[dict[str, Any], str]) -> None:
    found, _ = completed
    assert [(step["name"], step["ok"]) for step in found["steps"]] == [(name, True) for name in STEPS]
    assert (found["ok"], found["error"]) == (True, "")


def test_the_figures_are_within_their_limits(completed: tuple[dict[str, Any], str]) -> None:
    found, _ = completed
    assert 0 < found["established_seconds"] < 10
    # As rendered: dead peer detection after 3 s, and 4 s more until the tunnel is closed.
    assert 5 < found["failover_seconds"] < 10
    assert found["lost_pings"] >= 20
    assert 0 <= found["rotation_seconds"] < 5


def test_packets_cross_the_wire_as_esp_only(completed: tuple[dict[str, Any], str]) -> None:
    found, _ = completed
    assert found["cleartext_packets"] == 0
    assert found["esp_packets"] > 20
    assert (found["esp"], found["kernel_esp_available"]) == ("userspace", kernel_has_esp())


def test_no_cleartext_without_a_tunnel_and_a_clamped_segment_size(completed: tuple[dict[str, Any], str]) -> None:
    found, _ = completed
    assert found["pings_without_tunnel"] >= 15
    assert (found["clamp"], found["silent_path_seconds"]) == ("", None)
    assert 1000 < found["segment_bytes"] <= 1379


def test_the_connection_is_the_stacks_own(completed: tuple[dict[str, Any], str]) -> None:
    _, output = completed
    assert re.search(r"create the connection: vpn-[0-9a-f]{17}, static routing", output)


def test_a_wrong_key_is_explained_and_all_steps_are_printed(completed: tuple[dict[str, Any], str]) -> None:
    found, output = completed
    initiate_error = next(step for step in found["steps"] if step["name"] == "refuse a wrong key with a clear error")
    assert initiate_error["note"].startswith("AUTHENTICATION_FAILED, explained by the check")
    assert all(name in output for name in STEPS)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path, number: signal.Signals, code: int) -> None:
    owner = start(tmp_path, "--bare")
    assert owner.stdout is not None
    assert re.match(r"ok .* create the connection: vpn-rehearsal", owner.stdout.readline())
    assert re.match(r"ok .* start both gateways", owner.stdout.readline())
    folder = run_of(owner)
    assert folder is not None
    content = RunLedger(folder).read()
    daemons = [one for one in processes.marked(MARK, content.run) if _name(one.pid) == "charon"]
    assert len(daemons) == 2
    assert own_traces() == []
    os.kill(owner.pid, number)
    owner.stdout.read()
    assert owner.wait(timeout=60) == code
    wait_until(lambda: None if RunLedger(folder).read().closed else "not cleared yet", what="the run", deadline=60)
    closed = RunLedger(folder).read()
    assert closed.problems == ()
    left = [one.pid for one in processes.marked(MARK, content.run) if one != closed.janitor]
    assert left == []
    assert not (folder / "tmp").exists()
    assert not [entry.path for entry in closed.entries if hasattr(entry, "path") and Path(entry.path).exists()]
    assert own_traces() == []


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""

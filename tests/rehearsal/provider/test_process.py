"""Provider plugin as a process: start by Pulumi's launcher, port, exit with the parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2_grpc

from rehearsal.provider import plugins
from rehearsal.provider.server import LOOPBACK

from .client import CallError, Client

ROOT = Path(__file__).resolve().parents[3]
PLUGIN = [sys.executable, "-m", "rehearsal.provider", "aws"]
# Starts its arguments, prints the child's pid, and waits to be killed; the child's first line follows.
PARENT = "import subprocess, sys; child = subprocess.Popen(sys.argv[1:]); print(child.pid, flush=True); child.wait()"
DEADLINE_S = 20.0


def connect(port: int) -> Client:
    channel = grpc.insecure_channel(f"{LOOPBACK}:{port}")
    return Client(provider_pb2_grpc.ResourceProviderStub(channel))


def info(client: Client) -> str:
    return str(client.call("GetPluginInfo", empty_pb2.Empty()).version)


def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + DEADLINE_S
    while _runs(pid):
        assert time.monotonic() < end, f"the plugin {pid} still runs"
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    """An exited process may stay as a zombie, when its new parent doesn't fetch its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


class Started:
    """A plugin below a parent of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", PARENT, *PLUGIN, "127.0.0.1:1"]  # Pulumi adds its engine's address
        self.parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.parent.stdout is not None
        self.pid = int(self.parent.stdout.readline())
        self.client = connect(int(self.parent.stdout.readline()))


@pytest.fixture
def started() -> Iterator[Started]:
    created = Started()
    yield created
    created.parent.kill()
    created.parent.communicate()
    wait_until_gone(created.pid)


def settings(endpoint: str) -> dict[str, Any]:
    return {
        "region": "us-east-1",
        "accessKey": "testing",
        "secretKey": "testing",
        "endpoints": [{"ec2": endpoint}],
    }


def test_a_plugin_prints_its_port_and_serves(started: Started) -> None:
    assert info(started.client) == version("pulumi-aws")


def test_a_plugin_ends_with_its_parent(started: Started) -> None:
    started.parent.kill()
    wait_until_gone(started.pid)


def test_a_plugin_ends_with_its_parent_during_a_call(started: Started) -> None:
    with socket.create_server((LOOPBACK, 0)) as aws, ThreadPoolExecutor(1) as caller:
        started.client.configure(**settings(f"http://{LOOPBACK}:{aws.getsockname()[1]}"))
        call = caller.submit(started.client.create, "aws:ec2:Vpc", "net", cidrBlock="10.0.0.0/16")
        aws.settimeout(DEADLINE_S)
        connection, _ = aws.accept()  # now the call waits for a response
        with connection:
            started.parent.kill()
            wait_until_gone(started.pid)
            with pytest.raises(CallError):
                call.result(DEADLINE_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_plugin_ends_at_a_signal(started: Started, number: int) -> None:
    os.kill(started.pid, number)
    wait_until_gone(started.pid)


def test_a_port_that_is_taken_is_reported_in_one_sentence() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        command = [*PLUGIN, "--port", str(port)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"port {port} of 127.0.0.1 is taken: leave out --port, or name a free port\n"


@pytest.mark.parametrize("package", plugins.PACKAGES)
def test_an_installed_plugin_starts_as_pulumi_starts_it(package: str, tmp_path: Path) -> None:
    """In the program's folder, whose modules don't shadow the plugin's, and with Pulumi's own flags."""
    plugins.install(tmp_path / "home")
    launcher = tmp_path / "home" / "plugins" / f"resource-{package}-v{version(f'pulumi-{package}')}"
    (tmp_path / "grpc.py").write_text("raise SystemExit('the program shadows the plugin')")
    command = [f"{launcher}/pulumi-resource-{package}", "--logtostderr", "-v=9", "127.0.0.1:1"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"PATH": "/usr/bin:/bin"}
    ) as process:
        assert process.stdout is not None
        assert info(connect(int(process.stdout.readline()))) == version(f"pulumi-{package}")
        process.terminate()
        assert (process.wait(DEADLINE_S), process.stdout.read()) == (0, "")


def test_an_unreachable_emulator_is_reported_with_its_endpoint(own_provider: Client) -> None:
    with socket.create_server((LOOPBACK, 0)) as closed:
        endpoint = f"http://{LOOPBACK}:{closed.getsockname()[1]}"
    own_provider.configure(**settings(endpoint))
    with pytest.raises(CallError) as caught:
        own_provider.create("aws:ec2:Vpc", "net", cidrBlock="10.0.0.0/16")
    assert str(caught.value) == f"AWS does not answer at {endpoint}/: is the emulator still running?"

"""Fixtures of an instance's environment: emulated AWS, metadata service, https server, Docker daemon with a bridge."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from ami.boot.boot_context import BootContext, Paths
from ami.boot.cloud import Cloud
from ami.boot.masking import Secrets
from ami.boot.metadata import Identity, Metadata
from ami.boot.retrying import Deadline
from ami.boot.status import BootStatus
from rehearsal.cloud.metadata import InstanceMetadata, MetadataServer
from rehearsal.host.docker_engine import find_client, pings
from rehearsal.host.sandbox import Sandbox
from tests.ami.releases import TlsServer, rootfs
from tests.rehearsal.cloud.fleet import REGION, REGISTRY, REGISTRY_PASSWORD, Running, start

INSTANCE = "i-0123456789abcdef0"


@pytest.fixture(scope="session")
def _running_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    environment = {"PATH": "/usr/bin:/bin", "BLUEGREEN_REGISTRY_PASSWORD": REGISTRY_PASSWORD}
    options = ("--listen", "127.0.0.1", "--registry", REGISTRY, "--hold-hooks")
    process, found = start(tmp_path_factory.mktemp("cloud"), *options, environment=environment)
    yield found
    process.terminate()
    assert process.wait(timeout=20) == 0


@pytest.fixture
def aws(_running_cloud: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """An empty account, and the standard variables for its endpoint."""
    requests.post(f"{_running_cloud.aws}/moto-api/reset", timeout=10).raise_for_status()
    monkeypatch.setenv("AWS_ENDPOINT_URL", _running_cloud.aws)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "rehearsal")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "rehearsal")
    return _running_cloud


@pytest.fixture
def cloud(aws: Running) -> Cloud:
    return Cloud(REGION)


class Imds:
    """A metadata service whose one instance a test can change."""

    def __init__(self) -> None:
        self.reset()
        self.server = MetadataServer("127.0.0.1", 0, self._about)

    def reset(self) -> None:
        self.user_data = ""
        self.instance = INSTANCE
        self.target = "InService"

    def _about(self, _: str) -> InstanceMetadata:
        return InstanceMetadata(
            instance_id=self.instance,
            ami="ami-1",
            instance_type="t3.small",
            address="127.0.0.1",
            hostname="instance",
            zone=f"{REGION}a",
            region=REGION,
            account_id="123456789012",
            user_data=self.user_data.encode(),
            target_lifecycle_state=self.target,
        )


@pytest.fixture(scope="session")
def _metadata() -> Iterator[Imds]:
    service = Imds()
    yield service
    service.server.close()


@pytest.fixture
def imds(_metadata: Imds, monkeypatch: pytest.MonkeyPatch) -> Imds:
    _metadata.reset()
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", _metadata.server.url)
    return _metadata


@pytest.fixture(scope="session")
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    outputs = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names, *outputs], check=True, capture_output=True)
    return key, certificate


@pytest.fixture
def web(_certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsServer]:
    """An https server that this process trusts by the standard variable."""
    key, certificate = _certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = TlsServer(key, certificate)
    yield server
    server.close()


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(disk=tmp_path / "disk", memory=tmp_path / "memory")


@pytest.fixture
def context(paths: Paths) -> BootContext:
    """The context of a boot that has just begun, with the identity that the first step would have read."""
    deadline = Deadline(30)
    boot_context = BootContext(
        paths=paths,
        metadata=Metadata("http://127.0.0.1:9"),
        secrets=Secrets(),
        total=deadline,
        deadline=deadline,
        status=BootStatus.begin(paths.status),
    )
    boot_context.identity = Identity(instance_id=INSTANCE, region=REGION)
    boot_context.cloud = Cloud(REGION)
    return boot_context


@pytest.fixture(scope="session")
def _daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A daemon with a default bridge, as an instance has it: ports are published by Docker's own proxy."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None or shutil.which("ip") is None:
        pytest.skip("needs root, dockerd and ip")
    with Sandbox.open(runs=tmp_path_factory.mktemp("runs")) as sandbox:
        bridge, root = f"bgb{os.getpid()}", sandbox.temporary("docker")
        sandbox.add_cleanup(["ip", "link", "delete", bridge], "remove the bridge")
        subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
        subprocess.run(["ip", "address", "add", f"{sandbox.gateway}/16", "dev", bridge], check=True)
        subprocess.run(["ip", "link", "set", bridge, "up"], check=True)
        address = sandbox.sockets / "docker.sock"
        storage = ["--data-root", str(root / "data"), "--exec-root", str(sandbox.sockets / "exec")]
        reached = ["--host", f"unix://{address}", "--pidfile", str(root / "docker.pid"), "--bridge", bridge]
        quiet = ["--iptables=false", "--ip-masq=false", "--ip-forward=false"]
        # As the instance role provides them: without, the log driver would not even call the log service.
        keys = {"AWS_ACCESS_KEY_ID": "rehearsal", "AWS_SECRET_ACCESS_KEY": "rehearsal"}
        process = sandbox.start("dockerd", ["dockerd", *storage, *reached, *quiet], keys, grace=20.0)
        sandbox.wait_ready(process, pings(address), what="the Docker daemon", deadline=60)
        yield f"unix://{address}"


@pytest.fixture
def docker(_daemon: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Runs docker commands; the boot's own reach the same daemon. No container outlives the test."""
    client = find_client()
    monkeypatch.setenv("DOCKER_HOST", _daemon)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker-config"))
    monkeypatch.setenv("DOCKER_BUILDKIT", "1")
    monkeypatch.setenv("PATH", f"{Path(client).parent}:{os.environ['PATH']}")

    def run(*arguments: str) -> str:
        done = subprocess.run([client, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    yield run
    if left := run("ps", "--all", "--quiet").split():
        run("rm", "--force", "--volumes", *left)


@pytest.fixture
def base_image(docker: Callable[..., str], tmp_path: Path) -> str:
    """A few hundred kilobytes with a shell and an HTTP server."""
    if not Path("/bin/busybox").exists():
        pytest.skip("needs busybox-static: apt-get install busybox-static")
    if not docker("images", "--quiet", "tiny:1"):
        docker("import", str(rootfs(tmp_path / "rootfs.tar")), "tiny:1")
    return "tiny:1"

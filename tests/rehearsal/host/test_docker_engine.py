from __future__ import annotations

import os
import shutil
import signal
import socketserver
import subprocess
import sys
import tarfile
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.host import processes
from rehearsal.host.docker_engine import DockerEngine, DockerError, containers_of, find_client
from rehearsal.host.ledger import CleanupCommand, RunLedger
from rehearsal.host.sandbox import Sandbox, wait_until
from tests.ami.releases import rootfs

pytestmark = [
    pytest.mark.docker,
    pytest.mark.network,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("dockerd") is None, reason="needs root and dockerd"),
]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def filesystem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system that holds one program, sleep, with its libraries."""
    path = tmp_path_factory.mktemp("image") / "sleep.tar"
    linked = subprocess.run(["ldd", "/bin/sleep"], capture_output=True, text=True, check=True).stdout.split()
    with tarfile.open(path, "w", dereference=True) as archive:
        for file in ["/bin/sleep", *(word for word in linked if word.startswith("/"))]:
            archive.add(file)
    return path


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox.open(runs=tmp_path_factory.mktemp("runs")) as opened:
        yield opened


@pytest.fixture(scope="module")
def engine(sandbox: Sandbox, filesystem: Path) -> DockerEngine:
    started = DockerEngine.start(sandbox)
    started.create_network("vpc", sandbox.network)
    started.run("import", "--change", 'CMD ["/bin/sleep", "300"]', str(filesystem), "sleeper:1")
    return started


def cgroup_of(engine: DockerEngine) -> str:
    return engine.bridge.replace("bg", "bluegreen-", 1)


def links() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def test_instances_get_the_requested_addresses_in_the_vpcs_range(engine: DockerEngine, sandbox: Sandbox) -> None:
    address = str(sandbox.network[260])
    engine.run("run", "--detach", "--name", "instance", "--network", "vpc", "--ip", address, "sleeper:1")
    networks = engine.inspect("instance")["NetworkSettings"]["Networks"]
    assert networks["vpc"]["IPAddress"] == address
    assert networks["vpc"]["Gateway"] == sandbox.gateway
    shown = subprocess.run(
        ["ip", "-o", "-4", "addr", "show", engine.bridge], capture_output=True, text=True, check=True
    )
    assert f"{sandbox.gateway}/16" in shown.stdout
    engine.run("rm", "--force", "instance")


def test_it_shares_nothing_with_a_second_engine_which_loads_a_saved_image(
    engine: DockerEngine, sandbox: Sandbox, tmp_path: Path
) -> None:
    archive = tmp_path / "sleeper.tar"
    engine.run("save", "--output", str(archive), "sleeper:1")
    with Sandbox.open(runs=tmp_path / "runs") as other:
        second = DockerEngine.start(other)
        assert not second.has("sleeper:1")
        second.load(archive)
        assert second.has("sleeper:1")
        second.create_network("vpc", other.network)
        second.run("run", "--detach", "--name", "instance", "--network", "vpc", "sleeper:1")
        assert engine.run("ps", "--all", "--quiet") == ""
        left = containers_of(cgroup_of(second))
        assert left
    assert other.close() == ()
    assert not {second.bridge, f"{second.bridge}b"} & links()
    assert not any(processes.alive(one) for one in left)
    assert engine.run("info", "--format", "{{.ServerVersion}}")


def test_a_failing_command_shows_what_docker_said(engine: DockerEngine) -> None:
    with pytest.raises(DockerError, match=r"docker run nothing:9: exit 125: .*nothing:9"):
        engine.run("run", "nothing:9")


def test_the_clients_settings_are_not_the_users(engine: DockerEngine, sandbox: Sandbox) -> None:
    assert engine.environment["DOCKER_CONFIG"].startswith(str(sandbox.folder))


def test_forwarding_and_packet_filters_stay_as_they_were(engine: DockerEngine) -> None:
    arguments = Path(f"/proc/{engine.process.pid}/cmdline").read_text().split("\0")
    assert {"--iptables=false", "--ip-forward=false", "--ip-masq=false"} <= set(arguments)
    if shutil.which("iptables-save"):
        rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False).stdout
        assert engine.bridge not in rules


def test_the_client_found_can_build(engine: DockerEngine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY word /word\n")
    (tmp_path / "word").write_text("hello")
    engine.run("build", "--tag", "word:1", str(tmp_path))
    assert engine.has("word:1")
    assert Path(find_client()).name == "docker"


class Greeting(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"hello from the host\n")


@pytest.fixture
def port(engine: DockerEngine) -> Iterator[int]:
    """A server on the host's address in the build network."""
    with socketserver.TCPServer((engine.build_gateway, 0), Greeting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def busybox(engine: DockerEngine, tmp_path: Path) -> str:
    if not Path("/bin/busybox").exists():
        pytest.skip("needs busybox-static: apt-get install busybox-static")
    engine.run("import", str(rootfs(tmp_path / "rootfs.tar")), "busybox:1")
    return "busybox:1"


def test_the_run_steps_of_a_published_release_have_a_network(
    engine: DockerEngine, busybox: str, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publisher builds as with any Docker engine: it knows of no rehearsal."""
    release = tmp_path / "release"
    release.mkdir()
    connect = f"RUN busybox nc {engine.build_gateway} {port} > /answer"
    (release / "Dockerfile").write_text(f"FROM {busybox}\n{connect}\n")
    for name, value in engine.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{Path(engine.client).parent}:{os.environ['PATH']}")
    options = ["--version", "v1", "--kind", "image", "--pack-into", str(tmp_path / "packed"), "--json"]
    argv = [sys.executable, "-m", "scripts.publish_release", str(release), *options]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = engine.run("run", "--rm", "--network", "none", "release:v1", "busybox", "cat", "/answer")
    assert answer == "hello from the host"
    with tarfile.open(tmp_path / "packed" / "bundle.tar.gz") as bundle:
        assert bundle.getnames() == ["release.json", "image.tar"]


KILLED_ENGINE = """
import signal, sys, time
from pathlib import Path
from rehearsal.host import processes
from rehearsal.host.docker_engine import DockerEngine, containers_of
from rehearsal.host.sandbox import Sandbox

sandbox = Sandbox.open(runs=Path(sys.argv[1]))
engine = DockerEngine.start(sandbox)
engine.create_network("vpc", sandbox.network)
engine.run("import", "--change", 'CMD ["/bin/sleep", "300"]', sys.argv[2], "sleeper:1")
engine.run("run", "--detach", "--restart", "always", "--network", "vpc", "sleeper:1")
pids = [one.pid for one in containers_of(engine.bridge.replace("bg", "bluegreen-", 1))]
print(sandbox.folder, engine.bridge, sandbox.sockets, *pids, flush=True)
for one in processes.session_of(engine.process.identity):
    processes.send(one, signal.SIGKILL)
time.sleep(300)
"""


def test_after_kill_of_engine_and_owner_no_container_bridge_mount_or_cgroup_is_left(
    tmp_path: Path, filesystem: Path
) -> None:
    """The worst case: dockerd is killed, so that its containers keep running, and then the rehearsal itself."""
    code = [sys.executable, "-c", textwrap.dedent(KILLED_ENGINE), str(tmp_path), str(filesystem)]
    with subprocess.Popen(code, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        folder, bridge, sockets, *pids = owner.stdout.readline().split()
        containers = [one for pid in pids if (one := processes.identify(int(pid))) is not None]
        assert containers
        owner.send_signal(signal.SIGKILL)
    ledger = RunLedger(Path(folder))
    wait_until(lambda: None if ledger.read().closed else "still open", what="the janitor", deadline=40)
    content = ledger.read()
    assert content.problems == ()
    assert not any(processes.alive(one) for one in containers)
    assert not {bridge, f"{bridge}b"} & links()
    mounts = Path("/proc/self/mountinfo").read_text()
    assert folder not in mounts
    assert sockets not in mounts
    assert not Path(sockets).exists()
    cgroup = next(one.argv[-3] for one in content.entries if isinstance(one, CleanupCommand) and "clear" in one.argv)
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{cgroup}"))
    assert not list(Path("/sys/fs/cgroup").glob(cgroup))

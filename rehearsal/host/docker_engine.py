"""Docker engine of a run: a private dockerd on its own socket, removed with all its containers at the end."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from rehearsal.host import processes
from rehearsal.host.sandbox import Process, Reason, Sandbox, SandboxError
from rehearsal.host.teardown import MARK

# Clients from version 23 on need the buildx plugin for BuildKit; older ones, as in Debian 12, include it.
FIRST_VERSION_WITHOUT_BUILDKIT = 23
CGROUPS = Path("/sys/fs/cgroup")
BRIDGE_FILTERS = Path("/proc/sys/net/bridge")


class DockerError(Exception):
    """A docker command failed."""


@dataclass(frozen=True, kw_only=True)
class DockerEngine:
    """A running engine; `environment` has the variables that any Docker client needs to reach it.

    `build_gateway` is the host's address on the engine's default network, where the RUN steps of a build are executed.
    It has no internet access, which would need rules in the host's firewall: a build that needs it runs
    `docker build --network host`, and its image is published with `--image`.
    """

    host: str
    client: str
    config: Path
    bridge: str
    build_gateway: str
    process: Process
    run_id: str

    @classmethod
    def start(
        cls, sandbox: Sandbox, *, data: Path | None = None, env: Mapping[str, str] | None = None, deadline: float = 60.0
    ) -> DockerEngine:
        """Start dockerd with images in `data` (default: removed with the run). Raises DockerError."""
        if os.geteuid() != 0:
            raise DockerError("dockerd needs root: run the rehearsal as root, or with sudo")
        root = sandbox.temporary("docker")
        key = secrets.token_hex(4)
        names = _Names(cgroup=f"bluegreen-{key}", bridge=f"bg{key}", exec_root=sandbox.sockets / "exec")
        _record_cleanup(sandbox, names)
        _lower_cpu_weight(names.cgroup)
        build_network = sandbox.claims.network()
        _create_bridge(names.build_bridge, build_network)
        address = sandbox.sockets / "docker.sock"
        argv = _daemon(root=data or root / "data", address=address, pid=root / "docker.pid", names=names)
        process = sandbox.start("dockerd", [*argv, *_insecure_registries(sandbox)], env, grace=20.0)
        # Recorded last, so it runs first: containers need no grace period, and a daemon without them stops at once.
        sandbox.add_cleanup(_own_command("kill", names.cgroup), "kill containers")
        sandbox.wait_ready(process, pings(address), what="the Docker engine", deadline=deadline)
        client = find_client()
        return cls(
            host=f"unix://{address}",
            client=client,
            config=root / "client",
            bridge=names.bridge,
            build_gateway=str(build_network[1]),
            process=process,
            run_id=sandbox.id,
        )

    @property
    def environment(self) -> dict[str, str]:
        """With DOCKER_CONFIG: a login to the run's registry must not be stored in the user's own file."""
        return {
            "DOCKER_HOST": self.host,
            "DOCKER_CONFIG": str(self.config),
            "DOCKER_BUILDKIT": "1",
            MARK: self.run_id,  # clients of the engine are ended with the run
        }

    def client_files(self) -> tuple[Path, Path]:
        """Paths that a client writes to: the engine's socket and the client's config folder."""
        return Path(self.host.removeprefix("unix://")), self.config

    def scratch(self, name: str) -> TemporaryDirectory[str]:
        """A temporary folder for an image build, removed with the run at the latest."""
        return TemporaryDirectory(prefix=f"{name}-", dir=self.config.parent)

    def run(self, *argv: str, timeout: float = 300.0) -> str:
        """Standard output of `docker …`. Raises DockerError with the command and its standard error."""
        done = subprocess.run(
            [self.client, *argv],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            raise DockerError(f"docker {' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def create_network(self, name: str, subnet: IPv4Network) -> str:
        """Create the bridge network of the instances; the host's address there, the gateway."""
        gateway = str(subnet[1])
        bridge = f"com.docker.network.bridge.name={self.bridge}"
        self.run("network", "create", "--subnet", str(subnet), "--gateway", gateway, "--opt", bridge, name)
        return gateway

    def has(self, image: str) -> bool:
        return bool(self.run("images", "--quiet", image))

    def load(self, archive: Path) -> None:
        """Load a `docker save` archive."""
        self.run("load", "--input", str(archive), timeout=600.0)

    def inspect(self, name: str) -> dict[str, Any]:
        return cast(dict[str, Any], json.loads(self.run("inspect", name))[0])

    def stop(self) -> None:
        """Stop containers and engine now; the sandbox does the same when it closes."""
        for identity in containers_of(_cgroup_of(self.bridge)):
            processes.send(identity, signal.SIGKILL)
        self.process.stop()


@dataclass(frozen=True, kw_only=True)
class _Names:
    """Unique names of what the engine creates outside the run's folder, for its removal."""

    cgroup: str
    bridge: str
    exec_root: Path

    @property
    def build_bridge(self) -> str:
        return _build_bridge(self.bridge)


def _build_bridge(bridge: str) -> str:
    return f"{bridge}b"


def _create_bridge(bridge: str, network: IPv4Network) -> None:
    """The engine's default network, where BuildKit executes RUN steps.

    dockerd itself would name it docker0, as any other engine on this host does.
    """
    for argv in (
        ["link", "add", bridge, "type", "bridge"],
        ["address", "add", f"{network[1]}/{network.prefixlen}", "dev", bridge],
        ["link", "set", bridge, "up"],
    ):
        done = subprocess.run(["ip", *argv], capture_output=True, text=True, timeout=20, check=False)
        if done.returncode != 0:
            raise DockerError(f"ip {' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")


def _cgroup_of(bridge: str) -> str:
    return f"bluegreen-{bridge.removeprefix('bg')}"


def _daemon(*, root: Path, address: Path, pid: Path, names: _Names) -> list[str]:
    daemon = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if daemon is None:
        raise DockerError("dockerd is not installed: `apt-get install docker.io`")
    return [
        daemon,
        *("--data-root", str(root), "--exec-root", str(names.exec_root)),
        *("--host", f"unix://{address}", "--pidfile", str(pid)),
        # A private bridge, no packet filter rules, no forwarding: no effect on other engines and the host's firewall.
        *("--bridge", names.build_bridge, "--iptables=false", "--ip-masq=false", "--ip-forward=false"),
        # All container processes are below one cgroup, where they are found even when the engine is gone.
        *("--cgroup-parent", f"/{names.cgroup}", "--exec-opt", "native.cgroupdriver=cgroupfs"),
    ]


def _insecure_registries(sandbox: Sandbox) -> list[str]:
    """The run's registry has a self-signed certificate; dockerd reads CA files only from the host's /etc."""
    try:
        return ["--insecure-registry", str(sandbox.network)]
    except SandboxError:
        return []


def _lower_cpu_weight(cgroup: str) -> None:
    """Lower the CPU weight of booting instances: unlike on EC2 they share processors with the live ones.

    The apps, in the instances' inner containers, are in Docker's cgroup and keep the default weight.
    """
    # cgroup v1 and v2, each with an eighth of the default weight.
    for hierarchy, file, weight in ((CGROUPS / "cpu", "cpu.shares", 128), (CGROUPS, "cpu.weight", 12)):
        if (hierarchy / "cgroup.procs").exists():
            with contextlib.suppress(OSError):  # a host without the CPU controller
                (hierarchy / cgroup).mkdir(exist_ok=True)
                (hierarchy / cgroup / file).write_text(str(weight))


def _record_cleanup(sandbox: Sandbox, names: _Names) -> None:
    sandbox.add_cleanup(
        _own_command("clear", names.cgroup, names.bridge, str(names.exec_root)), "remove Docker's cgroups and bridges"
    )
    # The engine loads br_netfilter, which turns packet filtering on for all bridges of the host.
    before = BRIDGE_FILTERS / "bridge-nf-call-iptables"
    if before.exists() and before.read_text().strip() == "1":
        return
    sandbox.add_cleanup(_own_command("unfilter"), "restore the bridges' packet filtering")


def _own_command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "rehearsal.host.docker_engine", *argv]


@functools.cache
def find_client() -> str:
    """The first Docker client on the PATH, or of the distribution, that supports BuildKit; else the first."""
    folders = [*os.get_exec_path(), "/usr/bin"]
    clients = [path for folder in folders if (path := shutil.which("docker", path=folder)) is not None]
    if not clients:
        raise DockerError("the Docker client is not installed: `apt-get install docker.io`")
    return next((path for path in clients if _supports_buildkit(path)), clients[0])


def _supports_buildkit(client: str) -> bool:
    version = _output(client, "--version")  # Docker version 20.10.24+dfsg1, build 297e128
    major = version.removeprefix("Docker version ").split(".")[0]
    if major.isdigit() and int(major) < FIRST_VERSION_WITHOUT_BUILDKIT:
        return True
    return _output(client, "buildx", "version") != ""


def _output(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def pings(address: Path) -> Reason:
    """Readiness check: the engine behind this socket answers its ping."""

    def reason() -> str | None:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(str(address))
                connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
                answer = connection.recv(64)
        except OSError as error:
            return f"{address}: {error.strerror or error}"
        return None if b" 200 " in answer else f"{address}: answered {answer!r}"

    return reason


def _cgroup_folders(cgroup: str) -> list[Path]:
    """Deepest first; one tree per controller with cgroup v1, a single one with v2."""
    roots = [path for pattern in (cgroup, f"*/{cgroup}") for path in CGROUPS.glob(pattern) if not path.is_symlink()]
    folders = [Path(where) for root in roots for where, _folders, _files in os.walk(root)]
    return sorted(folders, key=lambda path: len(path.parts), reverse=True)


def containers_of(cgroup: str) -> list[processes.ProcessIdentity]:
    """All container processes of this engine."""
    pids = {int(pid) for folder in _cgroup_folders(cgroup) for pid in _members(folder)}
    return [identity for pid in sorted(pids) if (identity := processes.identify(pid)) is not None]


def _members(folder: Path) -> list[str]:
    try:
        return (folder / "cgroup.procs").read_text().split()
    except OSError:
        return []  # removed meanwhile, or a threaded cgroup, whose processes its parent lists


def kill(cgroup: str) -> None:
    """Kill all containers; three times, since a process may start another one before it is killed."""
    for _ in range(3):
        members = containers_of(cgroup)
        for process in members:
            processes.send(process, signal.SIGKILL)
        processes.wait_gone(members, seconds=5)


def clear(cgroup: str, bridge: str, exec_root: Path) -> int:
    """Remove what a killed engine leaves behind: containers, their shims with sockets, cgroups and bridges."""
    kill(cgroup)
    marked = processes.marked(MARK, os.environ[MARK])
    shims = [process for process in marked if _command(process.pid).startswith("containerd-shim")]
    processes.end(shims, grace=0.5)
    for file in exec_root.glob("containerd/daemon/*/moby/*/address"):
        Path(file.read_text().strip().removeprefix("unix://")).unlink(missing_ok=True)
    for folder in _cgroup_folders(cgroup):
        folder.rmdir()
    left = [name for name in (bridge, _build_bridge(bridge)) if Path(f"/sys/class/net/{name}").exists()]
    return max((_delete_link(name) for name in left), default=0)


def _delete_link(name: str) -> int:
    return subprocess.run(["ip", "link", "delete", name], timeout=20, check=False).returncode


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def unfilter() -> None:
    for path in BRIDGE_FILTERS.glob("bridge-nf-call-*"):
        path.write_text("0")


def main(argv: Sequence[str]) -> int:
    match list(argv):
        case ["kill", cgroup]:
            kill(cgroup)
        case ["clear", cgroup, bridge, exec_root]:
            return clear(cgroup, bridge, Path(exec_root))
        case ["unfilter"]:
            unfilter()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A Docker engine of the run's own serves on its own socket, beside any other, and goes with all its containers."""

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
from rehearsal.host.sandbox import Ground, GroundError, Process, Reason
from rehearsal.host.teardown import MARK

# Clients from 23 on need the buildx plugin for BuildKit; older ones, as Debian 12 has, bring it in themselves.
FIRST_CLIENT_WITHOUT_BUILDKIT = 23
CGROUPS = Path("/sys/fs/cgroup")
BRIDGE_FILTERS = Path("/proc/sys/net/bridge")


class DockerError(Exception):
    """A docker command failed."""


@dataclass(frozen=True, kw_only=True)
class DockerEngine:
    """A running engine; `environment` is what any docker client, in Python or not, needs to reach it.

    `build_gateway` is the host's address on the engine's default network, where the RUN steps of a build are. Nothing
    leads from there to the internet, which would take rules in the host's firewall: a build that needs it says
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
        cls, ground: Ground, *, data: Path | None = None, env: Mapping[str, str] | None = None, deadline: float = 60.0
    ) -> DockerEngine:
        """Start dockerd; images live in `data` (by default they go with the run)."""
        if os.geteuid() != 0:
            raise DockerError("dockerd needs root: run the rehearsal as root, or with sudo")
        root = ground.temporary("docker")
        key = secrets.token_hex(4)
        names = _Names(cgroup=f"bluegreen-{key}", bridge=f"bg{key}", exec_root=ground.sockets / "exec")
        _record_clearing(ground, names)
        _give_way(names.cgroup)
        build_network = ground.claims.network()
        _create_bridge(names.build_bridge, build_network)
        address = ground.sockets / "docker.sock"
        argv = _daemon(root=data or root / "data", address=address, pid=root / "docker.pid", names=names)
        process = ground.start("dockerd", [*argv, *_trusted(ground)], env, grace=20.0)
        # Recorded last, so it runs first: machines are volatile, and a daemon without containers stops at once.
        ground.add_cleanup(_myself("kill", names.cgroup), "kill containers")
        ground.wait_ready(process, pings(address), what="the Docker engine", deadline=deadline)
        client = find_client()
        return cls(
            host=f"unix://{address}",
            client=client,
            config=root / "client",
            bridge=names.bridge,
            build_gateway=str(build_network[1]),
            process=process,
            run_id=ground.id,
        )

    @property
    def environment(self) -> dict[str, str]:
        """DOCKER_CONFIG too: a login to the run's registry must not end up in the user's own file."""
        return {
            "DOCKER_HOST": self.host,
            "DOCKER_CONFIG": str(self.config),
            "DOCKER_BUILDKIT": "1",
            MARK: self.run_id,  # whoever works with the engine ends with the run
        }

    def client_files(self) -> tuple[Path, Path]:
        """What a client must be able to write to: the engine's socket, and the folder of its own config."""
        return Path(self.host.removeprefix("unix://")), self.config

    def scratch(self, name: str) -> TemporaryDirectory[str]:
        """A folder to make an image in; it goes with the run at the latest, whatever happens to its maker."""
        return TemporaryDirectory(prefix=f"{name}-", dir=self.config.parent)

    def run(self, *argv: str, timeout: float = 300.0) -> str:
        """Standard output of `docker …`; a failure carries the command and its standard error."""
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
        """The bridge network that machines live in; returns the host's own address there, the gateway."""
        gateway = str(subnet[1])
        bridge = f"com.docker.network.bridge.name={self.bridge}"
        self.run("network", "create", "--subnet", str(subnet), "--gateway", gateway, "--opt", bridge, name)
        return gateway

    def has(self, image: str) -> bool:
        return bool(self.run("images", "--quiet", image))

    def load(self, archive: Path) -> None:
        """Load a `docker save` archive, as the caches hold them."""
        self.run("load", "--input", str(archive), timeout=600.0)

    def inspect(self, what: str) -> dict[str, Any]:
        return cast(dict[str, Any], json.loads(self.run("inspect", what))[0])

    def stop(self) -> None:
        """End containers and engine now; the ground does the same when it closes."""
        for identity in containers_of(_cgroup_of(self.bridge)):
            processes.send(identity, signal.SIGKILL)
        self.process.stop()


@dataclass(frozen=True, kw_only=True)
class _Names:
    """What the engine makes outside the run's folder bears names of its own, so that it can be found and removed."""

    cgroup: str
    bridge: str
    exec_root: Path

    @property
    def build_bridge(self) -> str:
        return _build_bridge(self.bridge)


def _build_bridge(bridge: str) -> str:
    return f"{bridge}b"


def _create_bridge(bridge: str, network: IPv4Network) -> None:
    """The engine's default network: BuildKit runs a build's RUN steps nowhere else unless it is told to.

    dockerd itself would call it docker0, as any other engine of this host does.
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
        # Its own bridge, no packet filter rules, no forwarding: other engines and the host's firewall are untouched.
        *("--bridge", names.build_bridge, "--iptables=false", "--ip-masq=false", "--ip-forward=false"),
        # Every container's processes can be found below one cgroup, even when the engine itself is gone.
        *("--cgroup-parent", f"/{names.cgroup}", "--exec-opt", "native.cgroupdriver=cgroupfs"),
    ]


def _trusted(ground: Ground) -> list[str]:
    """The run's registry signs its own certificate, and dockerd reads authorities only from the host's /etc."""
    try:
        return ["--insecure-registry", str(ground.network)]
    except GroundError:
        return []


def _give_way(cgroup: str) -> None:
    """A machine that boots has processors of its own on EC2; here it must not take those that serve users.

    Machines' inner containers, the apps, are in Docker's cgroup and keep the usual share; what starts them gives way.
    """
    # cgroup v1 and v2, each with an eighth of what every group of processes has by default.
    for hierarchy, file, share in ((CGROUPS / "cpu", "cpu.shares", 128), (CGROUPS, "cpu.weight", 12)):
        if (hierarchy / "cgroup.procs").exists():
            with contextlib.suppress(OSError):  # a host without the controller shares as it likes
                (hierarchy / cgroup).mkdir(exist_ok=True)
                (hierarchy / cgroup / file).write_text(str(share))


def _record_clearing(ground: Ground, names: _Names) -> None:
    ground.add_cleanup(_myself("clear", names.cgroup, names.bridge, str(names.exec_root)), "clear Docker's traces")
    # The engine loads br_netfilter, which turns packet filtering on for all bridges of the host.
    before = BRIDGE_FILTERS / "bridge-nf-call-iptables"
    if before.exists() and before.read_text().strip() == "1":
        return
    ground.add_cleanup(_myself("unfilter"), "put the bridges' packet filtering back")


def _myself(*argv: str) -> list[str]:
    return [sys.executable, "-m", "rehearsal.host.docker_engine", *argv]


@functools.cache
def find_client() -> str:
    """The first docker on PATH, or of the distribution, that can build with BuildKit; else the first."""
    folders = [*os.get_exec_path(), "/usr/bin"]
    found = [path for folder in folders if (path := shutil.which("docker", path=folder)) is not None]
    if not found:
        raise DockerError("the docker client is not installed: `apt-get install docker.io`")
    return next((path for path in found if _knows_buildkit(path)), found[0])


def _knows_buildkit(client: str) -> bool:
    version = _output(client, "--version")  # Docker version 20.10.24+dfsg1, build 297e128
    major = version.removeprefix("Docker version ").split(".")[0]
    if major.isdigit() and int(major) < FIRST_CLIENT_WITHOUT_BUILDKIT:
        return True
    return _output(client, "buildx", "version") != ""


def _output(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def pings(address: Path) -> Reason:
    """Objects until the engine behind this socket answers its ping."""

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
    """Deepest first; one tree a controller with cgroup v1, a single one with v2."""
    roots = [path for pattern in (cgroup, f"*/{cgroup}") for path in CGROUPS.glob(pattern) if not path.is_symlink()]
    folders = [Path(where) for root in roots for where, _folders, _files in os.walk(root)]
    return sorted(folders, key=lambda path: len(path.parts), reverse=True)


def containers_of(cgroup: str) -> list[processes.Identity]:
    """Every process of every container of this engine."""
    pids = {int(pid) for folder in _cgroup_folders(cgroup) for pid in _members(folder)}
    return [identity for pid in sorted(pids) if (identity := processes.identify(pid)) is not None]


def _members(folder: Path) -> list[str]:
    try:
        return (folder / "cgroup.procs").read_text().split()
    except OSError:
        return []  # gone since, or a threaded cgroup, whose processes its parent lists


def kill(cgroup: str) -> None:
    """Kill all containers; thrice, as what is being killed may start more meanwhile."""
    for _ in range(3):
        found = containers_of(cgroup)
        for one in found:
            processes.send(one, signal.SIGKILL)
        processes.wait_gone(found, seconds=5)


def clear(cgroup: str, bridge: str, exec_root: Path) -> int:
    """Remove what a killed engine leaves: containers, their shims with sockets, cgroups and bridges."""
    kill(cgroup)
    shims = [one for one in processes.marked(MARK, os.environ[MARK]) if _command(one.pid).startswith("containerd-shim")]
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

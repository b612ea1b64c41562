"""Install the Debian packages that a rehearsal needs, without starting their services.

`python -m rehearsal.host.install` does only this, as `make rehearse` does first; with `tests`, also for the tests.
Exit code 3: something is missing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rehearsal.host import database

MISSING = 3
# Root needs no further consent to install; this variable set to 0 forbids it.
CONSENT = "BLUEGREEN_INSTALL"
# policy-rc.d of Debian: exit code 101 forbids to start a service.
POLICY = "#!/bin/sh\nexit 101\n"
SYSTEM_FOLDERS = "/usr/sbin:/sbin"


class InstallError(Exception):
    """A required program is missing and was not, or could not be, installed."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program or a file's path, the Debian package that contains it, and the services of that package."""

    program: str
    package: str
    services: tuple[str, ...] = ()


TOOLS = (
    Tool(program="dockerd", package="docker.io", services=("docker.service", "docker.socket", "containerd.service")),
    Tool(program="docker", package="docker.io"),
    Tool(program="docker-registry", package="docker-registry", services=("docker-registry.service",)),
    Tool(program="haproxy", package="haproxy", services=("haproxy.service",)),
    Tool(program="postgres", package="postgresql", services=("postgresql.service",)),
    Tool(program="packer", package="packer"),
    Tool(program="debootstrap", package="debootstrap"),
    Tool(program="ip", package="iproute2"),
    Tool(program="openssl", package="openssl"),
    Tool(program="ssh-keygen", package="openssh-client"),
)
# For tests: a release that needs no base image.
FOR_TESTS = (Tool(program="busybox", package="busybox-static"),)
# For the VPN: strongSwan, whose plugins are in several packages.
STRONGSWAN, PLUGIN = "/usr/lib/ipsec/{}", "/usr/lib/ipsec/plugins/libstrongswan-{}.so"
FOR_VPN = (
    Tool(program=STRONGSWAN.format("charon"), package="strongswan-charon", services=("strongswan-starter.service",)),
    Tool(program=STRONGSWAN.format("_updown"), package="strongswan-libcharon"),
    Tool(program="swanctl", package="strongswan-swanctl"),
    Tool(program=PLUGIN.format("kernel-libipsec"), package="libcharon-extra-plugins"),
    Tool(program=PLUGIN.format("openssl"), package="libstrongswan-standard-plugins"),
    Tool(program=PLUGIN.format("curve25519"), package="libstrongswan-extra-plugins"),
    Tool(program="ip", package="iproute2"),
    Tool(program="nsenter", package="util-linux"),
    Tool(program="nft", package="nftables", services=("nftables.service",)),
)


@dataclass(frozen=True, kw_only=True)
class Host:
    """The host to install on."""

    root: Path = Path("/")
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def has(self, tool: Tool) -> bool:
        """Whether the tool is installed; PostgreSQL's programs are off the PATH, in one folder per version."""
        if tool.program.startswith("/"):
            return (self.root / tool.program.lstrip("/")).exists()
        if self.which(tool.program) is not None:
            return True
        return tool.program == "postgres" and _finds_postgresql(self.root)

    def which(self, program: str) -> str | None:
        return shutil.which(program, path=f"{self.environment.get('PATH', '')}:{SYSTEM_FOLDERS}")

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        unattended = {"DEBIAN_FRONTEND": "noninteractive", "UCF_FORCE_CONFFOLD": "1", "NEEDRESTART_SUSPEND": "1"}
        return subprocess.run(
            argv,
            env={**self.environment, **unattended},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
            check=False,
        )


def _finds_postgresql(root: Path) -> bool:
    try:
        database.find(root=root)
    except database.DatabaseError:
        return False
    return True


def missing(host: Host, tools: Sequence[Tool] = TOOLS) -> list[Tool]:
    return [tool for tool in tools if not host.has(tool)]


def ensure(host: Host, notify: Callable[[str], None], tools: Sequence[Tool] = TOOLS) -> None:
    """Install what is missing. Raises InstallError with the command to run."""
    absent = missing(host, tools)
    if not absent:
        return
    packages = _packages(absent)
    _check_allowed(host, absent, packages)
    notify(f"installing {', '.join(packages)} (no service is started; {CONSENT}=0 forbids this)")
    try:
        with _no_service_starts(host), _no_database_cluster(host, packages):
            _install(host, packages)
    finally:  # a failed install may have installed some of them
        _disable(host, [service for tool in absent for service in tool.services])
    if still := missing(host, tools):
        names = ", ".join(tool.program for tool in still)
        raise InstallError(f"{names}: still not found after {_install_command(_packages(still))}")


def _packages(tools: list[Tool]) -> list[str]:
    return sorted({tool.package for tool in tools})


def _install_command(packages: list[str]) -> str:
    return f"`apt-get install --no-install-recommends {' '.join(packages)}`"


def _check_allowed(host: Host, absent: list[Tool], packages: list[str]) -> None:
    programs = ", ".join(tool.program for tool in absent)
    if host.which("apt-get") is None:
        raise InstallError(
            f"missing programs: {programs}. This host has no apt-get: install them with its own package manager"
            f" (Debian's packages are {', '.join(packages)})"
        )
    if host.environment.get(CONSENT) == "0":
        raise InstallError(
            f"missing programs: {programs}. {CONSENT}=0 forbids the installation: {_install_command(packages)}"
        )
    if not host.is_root:
        raise InstallError(f"missing programs: {programs}. Installing needs root: sudo {_install_command(packages)}")


def _install(host: Host, packages: list[str]) -> None:
    """Package lists may be empty or outdated: update them when the first attempt fails."""
    argv = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"]
    argv += ["--option", "Dpkg::Options::=--force-confold", *packages]
    if host.run(*argv).returncode == 0:
        return
    host.run("apt-get", "update", "--quiet")
    done = host.run(*argv)
    if done.returncode != 0:
        raise InstallError(f"{_install_command(packages)}: exit {done.returncode}:\n{done.stdout.strip()[-2000:]}")


@contextlib.contextmanager
def _no_service_starts(host: Host) -> Iterator[None]:
    with _temporary_content(host.root / "usr/sbin/policy-rc.d", POLICY, mode=0o755):
        yield


@contextlib.contextmanager
def _no_database_cluster(host: Host, packages: list[str]) -> Iterator[None]:
    """Without this setting PostgreSQL's package creates and starts a cluster on the default port."""
    if "postgresql" not in packages:
        yield
        return
    _install(host, ["postgresql-common"])
    settings = host.root / "etc/postgresql-common/createcluster.conf"
    old = settings.read_text() if settings.exists() else ""
    with _temporary_content(settings, f"{old}\ncreate_main_cluster = false\n", mode=0o644):
        yield


@contextlib.contextmanager
def _temporary_content(path: Path, content: str, *, mode: int) -> Iterator[None]:
    """Give a file this content within the block; afterwards restore it, or remove it."""
    before = (path.read_bytes(), path.stat().st_mode) if path.exists() else None
    _write(path, content.encode(), mode)
    try:
        yield
    finally:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            _write(path, *before)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace the file atomically: another package's installation may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as fresh:
        fresh.write(content)
        Path(fresh.name).chmod(mode & 0o7777)
    Path(fresh.name).replace(path)


def _disable(host: Host, services: list[str]) -> None:
    """Keep newly installed services from starting at the host's next boot."""
    if services and host.which("systemctl") is not None:
        for service in services:
            host.run("systemctl", "disable", "--quiet", service)


def require(host: Host | None = None, tools: Sequence[Tool] = TOOLS) -> None:
    """Install what is missing; exit with code 3 and a message when that is not possible."""
    try:
        ensure(host or Host(), lambda text: print(text, file=sys.stderr), tools)  # noqa: T201
    except InstallError as error:
        print(error, file=sys.stderr)  # noqa: T201
        raise SystemExit(MISSING) from error


if __name__ == "__main__":
    require(tools=TOOLS + FOR_TESTS + FOR_VPN if sys.argv[1:] == ["tests"] else TOOLS)

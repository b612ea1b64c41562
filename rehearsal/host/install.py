"""The programs that a rehearsal needs are on this machine, without one service started; else it says what to install.

`python -m rehearsal.host.install` does it alone, as `make rehearse` does at its start; with `tests`, for those too.
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
# As root the install needs no further consent; this variable set to 0 takes it away.
CONSENT = "BLUEGREEN_INSTALL"
# Asked before the install of any service, by Debian's own scripts: 101 forbids to start it.
FORBID = "#!/bin/sh\nexit 101\n"
SYSTEM_FOLDERS = "/usr/sbin:/sbin"


class InstallError(Exception):
    """Something that a rehearsal needs is missing and was not, or could not be, installed."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program or the path of a file, the Debian package that brings it, and the services that come along."""

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
# What the tests run besides: a release that needs no base image.
FOR_TESTS = (Tool(program="busybox", package="busybox-static"),)
# What the VPN needs: strongSwan, whose plugins come in several packages.
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
    """The machine to install on."""

    root: Path = Path("/")
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def has(self, tool: Tool) -> bool:
        """PostgreSQL keeps its programs off the PATH, one folder a version; a tool may also name a file by its path."""
        if tool.program.startswith("/"):
            return (self.root / tool.program.lstrip("/")).exists()
        if self.which(tool.program) is not None:
            return True
        return tool.program == "postgres" and _finds_postgresql(self.root)

    def which(self, program: str) -> str | None:
        return shutil.which(program, path=f"{self.environment.get('PATH', '')}:{SYSTEM_FOLDERS}")

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        quiet = {"DEBIAN_FRONTEND": "noninteractive", "UCF_FORCE_CONFFOLD": "1", "NEEDRESTART_SUSPEND": "1"}
        return subprocess.run(
            argv,
            env={**self.environment, **quiet},
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


def ensure(host: Host, tell: Callable[[str], None], tools: Sequence[Tool] = TOOLS) -> None:
    """Install what is missing, or raise with the words that help."""
    lacking = missing(host, tools)
    if not lacking:
        return
    packages = _packages(lacking)
    _check_allowed(host, lacking, packages)
    tell(f"installing {', '.join(packages)} (no service is started; {CONSENT}=0 forbids this)")
    try:
        with _no_service_starts(host), _no_database_cluster(host, packages):
            _install(host, packages)
    finally:  # a failed install may have brought some of them
        _disable(host, [service for tool in lacking for service in tool.services])
    if still := missing(host, tools):
        names = ", ".join(tool.program for tool in still)
        raise InstallError(f"{names}: still not found after {_by_hand(_packages(still))}")


def _packages(tools: list[Tool]) -> list[str]:
    return sorted({tool.package for tool in tools})


def _by_hand(packages: list[str]) -> str:
    return f"`apt-get install --no-install-recommends {' '.join(packages)}`"


def _check_allowed(host: Host, lacking: list[Tool], packages: list[str]) -> None:
    programs = ", ".join(tool.program for tool in lacking)
    if host.which("apt-get") is None:
        raise InstallError(
            f"missing programs: {programs}. This machine has no apt-get: install them by its own means"
            f" (Debian's packages are {', '.join(packages)})"
        )
    if host.environment.get(CONSENT) == "0":
        raise InstallError(f"missing programs: {programs}. {CONSENT}=0 forbids to install them: {_by_hand(packages)}")
    if not host.is_root:
        raise InstallError(f"missing programs: {programs}. Only root may install them: sudo {_by_hand(packages)}")


def _install(host: Host, packages: list[str]) -> None:
    """Package lists may be empty or old: fetch them when the first try fails."""
    argv = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"]
    argv += ["--option", "Dpkg::Options::=--force-confold", *packages]
    if host.run(*argv).returncode == 0:
        return
    host.run("apt-get", "update", "--quiet")
    done = host.run(*argv)
    if done.returncode != 0:
        raise InstallError(f"{_by_hand(packages)}: exit {done.returncode}:\n{done.stdout.strip()[-2000:]}")


@contextlib.contextmanager
def _no_service_starts(host: Host) -> Iterator[None]:
    with _file_held(host.root / "usr/sbin/policy-rc.d", FORBID, mode=0o755):
        yield


@contextlib.contextmanager
def _no_database_cluster(host: Host, packages: list[str]) -> Iterator[None]:
    """PostgreSQL's package makes a cluster of its own, at the usual port, unless its common part is told not to."""
    if "postgresql" not in packages:
        yield
        return
    _install(host, ["postgresql-common"])
    settings = host.root / "etc/postgresql-common/createcluster.conf"
    old = settings.read_text() if settings.exists() else ""
    with _file_held(settings, f"{old}\ncreate_main_cluster = false\n", mode=0o644):
        yield


@contextlib.contextmanager
def _file_held(path: Path, content: str, *, mode: int) -> Iterator[None]:
    """The file has this content for a while, and then what it had before, or is gone again."""
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
    """Never half of it: another package's install may look at the same moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as fresh:
        fresh.write(content)
        Path(fresh.name).chmod(mode & 0o7777)
    Path(fresh.name).replace(path)


def _disable(host: Host, services: list[str]) -> None:
    """What was not here before must not start at the machine's next boot either; without systemd none would."""
    if services and host.which("systemctl") is not None:
        for service in services:
            host.run("systemctl", "disable", "--quiet", service)


def require(host: Host | None = None, tools: Sequence[Tool] = TOOLS) -> None:
    """End the program with exit code 3, and the words that help, when something is missing and stays so."""
    try:
        ensure(host or Host(), lambda text: print(text, file=sys.stderr), tools)  # noqa: T201
    except InstallError as error:
        print(error, file=sys.stderr)  # noqa: T201
        raise SystemExit(MISSING) from error


if __name__ == "__main__":
    require(tools=TOOLS + FOR_TESTS + FOR_VPN if sys.argv[1:] == ["tests"] else TOOLS)

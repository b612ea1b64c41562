"""A port or network that is claimed belongs to one run on this machine until the run's last process lets go of it."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import random
import socket
import tempfile
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

POOL = ipaddress.ip_network("10.64.0.0/10")
# Below the kernel's ephemeral range (32768 and up): no outgoing connection can sit on such a port meanwhile.
PORTS = range(18000, 32000)
IP_FREEBIND = 15  # linux/in.h; absent from Python's socket module


class ClaimError(Exception):
    """Nothing free is left to claim."""


def _folder() -> Path:
    """Shared by every copy and user of this machine; the kernel frees the locks in it when their holders die."""
    folder = Path(tempfile.gettempdir()) / "bluegreen-claims"
    if not folder.exists():
        folder.mkdir(exist_ok=True)
        folder.chmod(0o1777)
    return folder


@dataclass(kw_only=True)
class Claims:
    """The claims of one run: open, locked files."""

    handles: dict[str, int] = field(default_factory=dict)

    def network(self) -> IPv4Network:
        """A /16 that no route of this host touches and no other run holds."""
        routed = host_routes()
        candidates = [one for one in POOL.subnets(new_prefix=16) if not any(one.overlaps(route) for route in routed)]
        random.shuffle(candidates)
        for candidate in candidates:
            if self._take(f"network-{candidate.network_address}"):
                return IPv4Network(candidate)
        raise ClaimError(f"no free /16 in {POOL}: the host's routes and other runs take all of it")

    def port(self, address: str) -> int:
        """A TCP port that nobody listens on at this address, which need not be up yet."""
        for port in random.sample(PORTS, len(PORTS)):
            if self._take(f"port-{port}"):
                if _bindable(address, port):
                    return port
                self._drop(f"port-{port}")
        raise ClaimError(f"no free TCP port from {PORTS.start} to {PORTS.stop - 1} at {address}")

    def only_one(self, name: str) -> bool:
        """Whether this run is now the only one of its name on this machine."""
        return self._take(name)

    def release(self) -> None:
        for name in list(self.handles):
            self._drop(name)

    def _take(self, name: str) -> bool:
        if name in self.handles:
            return False
        handle = os.open(_folder() / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self.handles[name] = handle
        return True

    def _drop(self, name: str) -> None:
        os.close(self.handles.pop(name))


def _bindable(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        # As servers do: connections in TIME_WAIT don't make the port theirs.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def host_routes() -> list[IPv4Network]:
    """Every network this host has a route to, but the default route, which covers all."""
    routes = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(fields[index])[::-1], "big") for index in (1, 7))
        if mask:
            routes.append(IPv4Network((address & mask, mask.bit_count())))
    return routes

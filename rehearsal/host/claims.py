"""Port and network claims: exclusive to one run on this host, until its last process releases them."""

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
# Below the kernel's ephemeral range (32768 and up): no outgoing connection can take such a port.
PORTS = range(18000, 32000)
IP_FREEBIND = 15  # linux/in.h; absent from Python's socket module


class ClaimError(Exception):
    """No free port or network is left."""


def _folder() -> Path:
    """Shared by all checkouts and users of this host; the kernel frees a lock when its holder exits."""
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
        """A /16 that overlaps no route of this host and that no other run has claimed."""
        routed = host_routes()
        candidates = [
            subnet for subnet in POOL.subnets(new_prefix=16) if not any(subnet.overlaps(route) for route in routed)
        ]
        random.shuffle(candidates)
        for candidate in candidates:
            if self._claim(f"network-{candidate.network_address}"):
                return IPv4Network(candidate)
        raise ClaimError(f"no free /16 in {POOL}: the host's routes and other runs take all of it")

    def port(self, address: str) -> int:
        """A free TCP port at this address, which need not be up yet."""
        for port in random.sample(PORTS, len(PORTS)):
            if self._claim(f"port-{port}"):
                if _bindable(address, port):
                    return port
                self._release(f"port-{port}")
        raise ClaimError(f"no free TCP port from {PORTS.start} to {PORTS.stop - 1} at {address}")

    def exclusive(self, name: str) -> bool:
        """Whether this run now has the name to itself on this host."""
        return self._claim(name)

    def release(self) -> None:
        for name in list(self.handles):
            self._release(name)

    def _claim(self, name: str) -> bool:
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

    def _release(self, name: str) -> None:
        os.close(self.handles.pop(name))


def _bindable(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        # As servers do: connections in TIME_WAIT do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def host_routes() -> list[IPv4Network]:
    """Every network that this host has a route to, without the default route."""
    routes = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(fields[index])[::-1], "big") for index in (1, 7))
        if mask:
            routes.append(IPv4Network((address & mask, mask.bit_count())))
    return routes

"""A network namespace lives as long as one process of the run holds it: when that ends, its interfaces are gone too."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rehearsal.host import commands
from rehearsal.host.sandbox import Ground, Process, wait_until

LIMIT_S = 10.0
# A router that neither answers for others' faults nor drops what comes in on one link and leaves on another.
ROUTER = ("net/ipv4/ip_forward=1", "net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/default/rp_filter=0")
PROXY_ARP = ("net/ipv4/conf/default/proxy_arp=1",)


@dataclass(frozen=True, kw_only=True)
class Namespace:
    """A network of its own, with loopback up and nothing else until a link is made."""

    name: str
    holder: Process

    @classmethod
    def make(cls, ground: Ground, name: str, settings: Sequence[str] = ()) -> Namespace:
        """Also private mounts, so that what settings write and programs mount is nobody else's."""
        # No name in /run/netns: that would outlive its users, and clash with another run's.
        holder = ground.start(f"network-{name}", ["unshare", "--net", "--mount", "sleep", "infinity"], grace=0.5)
        namespace = cls(name=name, holder=holder)
        wait_until(namespace._not_apart, what=f"network namespace {name}", deadline=LIMIT_S, process=holder)
        namespace.ip("link", "set", "lo", "up")
        for setting in settings:
            key, value = setting.split("=")
            namespace.run("sh", "-c", 'echo "$1" > "/proc/sys/$2"', "sh", value, key)
        return namespace

    def argv(self, *command: str) -> list[str]:
        """The command line that runs a program in this network."""
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *command]

    def run(self, *command: str, limit: float = LIMIT_S) -> str:
        return commands.run(self.argv(*command), limit=limit)

    def ip(self, *arguments: str) -> str:
        return self.run("ip", *arguments)

    def _not_apart(self) -> str | None:
        mine, its = Path("/proc/self/ns/net"), Path(f"/proc/{self.holder.pid}/ns/net")
        if not its.exists() or its.readlink() == mine.readlink():
            return "its process has not left this network yet"
        return None


def link(one: Namespace, name: str, other: Namespace, other_name: str) -> None:
    """A cable between two namespaces, up at both ends. It goes with either."""
    ends = ("type", "veth", "peer", "name", other_name, "netns", str(other.holder.pid))
    one.ip("link", "add", name, *ends)
    one.ip("link", "set", name, "up")
    other.ip("link", "set", other_name, "up")


def link_to_bridge(one: Namespace, name: str, bridge: str, host_name: str) -> None:
    """A cable from a namespace to a bridge of this machine; `host_name` is its end there, gone with the namespace."""
    one.ip("link", "add", name, "type", "veth", "peer", "name", host_name, "netns", str(os.getpid()))
    commands.run(["ip", "link", "set", host_name, "master", bridge, "up"], limit=LIMIT_S)
    one.ip("link", "set", name, "up")

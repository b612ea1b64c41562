"""Network namespaces, each held by one process of the run: when it exits, the interfaces are removed too."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rehearsal.host import commands
from rehearsal.host.sandbox import Process, Sandbox, wait_until

TIMEOUT_S = 10.0
# A router without reverse path filtering, since packets may arrive on one link and leave on another.
ROUTER = ("net/ipv4/ip_forward=1", "net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/default/rp_filter=0")
PROXY_ARP = ("net/ipv4/conf/default/proxy_arp=1",)


@dataclass(frozen=True, kw_only=True)
class Namespace:
    """A network namespace with loopback only, until it is linked."""

    name: str
    holder: Process

    @classmethod
    def create(cls, sandbox: Sandbox, name: str, settings: Sequence[str] = ()) -> Namespace:
        """Create the namespace, also with private mounts, and apply kernel settings `key=value`."""
        # No name in /run/netns: it would outlive the run, and clash with another one's.
        holder = sandbox.start(f"network-{name}", ["unshare", "--net", "--mount", "sleep", "infinity"], grace=0.5)
        namespace = cls(name=name, holder=holder)
        wait_until(namespace._not_ready, what=f"network namespace {name}", deadline=TIMEOUT_S, process=holder)
        namespace.ip("link", "set", "lo", "up")
        for setting in settings:
            key, value = setting.split("=")
            namespace.run("sh", "-c", 'echo "$1" > "/proc/sys/$2"', "sh", value, key)
        return namespace

    def argv(self, *command: str) -> list[str]:
        """Command line that runs a program in this namespace."""
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *command]

    def run(self, *command: str, timeout: float = TIMEOUT_S) -> str:
        return commands.run(self.argv(*command), timeout=timeout)

    def ip(self, *arguments: str) -> str:
        return self.run("ip", *arguments)

    def _not_ready(self) -> str | None:
        mine, its = Path("/proc/self/ns/net"), Path(f"/proc/{self.holder.pid}/ns/net")
        if not its.exists() or its.readlink() == mine.readlink():
            return "its process is still in the host's network"
        return None


def link(first: Namespace, name: str, second: Namespace, second_name: str) -> None:
    """A veth pair between two namespaces, up at both ends; removed with either."""
    ends = ("type", "veth", "peer", "name", second_name, "netns", str(second.holder.pid))
    first.ip("link", "add", name, *ends)
    first.ip("link", "set", name, "up")
    second.ip("link", "set", second_name, "up")


def link_to_bridge(namespace: Namespace, name: str, bridge: str, host_name: str) -> None:
    """A veth pair from a namespace to a bridge of this host; `host_name`: its end there, removed with the namespace."""
    namespace.ip("link", "add", name, "type", "veth", "peer", "name", host_name, "netns", str(os.getpid()))
    commands.run(["ip", "link", "set", host_name, "master", bridge, "up"], timeout=TIMEOUT_S)
    namespace.ip("link", "set", name, "up")

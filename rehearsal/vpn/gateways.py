"""strongSwan gateways of both ends: the remote one with the rendered files, the cloud's as AWS's end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rehearsal.host.commands import ToolError
from rehearsal.host.sandbox import Sandbox, wait_until
from rehearsal.vpn import aws_side
from rehearsal.vpn.charon import Charon
from rehearsal.vpn.namespaces import Namespace
from rehearsal.vpn.topology import Topology
from scripts.vpn.diagnostics import VpnFinding, VpnState, diagnose
from scripts.vpn.render import Connection, render
from scripts.vpn_config import write

ESTABLISH_TIMEOUT_S = 20.0


def folders(sandbox: Sandbox) -> tuple[Path, Path]:
    """Configuration folders of the remote and the cloud gateway; they contain keys and are removed with the run."""
    return sandbox.temporary("vpn-remote").resolve(), sandbox.temporary("vpn-cloud").resolve()


def write_remote_config(folder: Path, connection: Connection) -> None:
    """Write the rendered files, with the same function as `vpn_config`."""
    write(render(connection, userspace=True, home=str(folder)), folder)


def write_cloud_config(folder: Path, connection: Connection) -> None:
    write({"swanctl.conf": aws_side.render(connection)}, folder)


def load_mss_clamp(gateway: Namespace, folder: Path) -> str:
    """Load the rendered clamp.nft at the remote gateway; the error, or an empty text."""
    try:
        gateway.run("nft", "-f", str(folder / "clamp.nft"))
    except ToolError as error:
        return str(error)
    return ""


def kernel_settings(folder: Path) -> tuple[str, ...]:
    """Settings of the rendered sysctl.conf as `net/…=value`."""
    lines = [line.strip() for line in (folder / "sysctl.conf").read_text().splitlines()]
    settings = [line.split("=") for line in lines if line and not line.startswith("#")]
    return tuple(f"{key.strip().replace('.', '/')}={value.strip()}" for key, value in settings)


@dataclass(kw_only=True)
class Gateways:
    """Both daemons, and the connection with their current keys."""

    connection: Connection
    remote: Charon
    cloud: Charon

    @classmethod
    def start(cls, topology: Topology) -> Gateways:
        """Start both daemons; the cloud's waits for the remote one to initiate."""
        sandbox, connection = topology.sandbox, topology.connection
        remote, cloud = folders(sandbox)
        write_cloud_config(cloud, connection)
        gateways = cls(
            connection=connection,
            cloud=Charon.start(sandbox, topology.cloud_gateway, cloud, retransmission=aws_side.RETRANSMISSION),
            remote=Charon.start(
                sandbox,
                topology.remote_gateway,
                remote,
                included=remote / "strongswan.conf",
            ),
        )
        gateways.cloud.load()
        return gateways

    def wait_established(self, timeout: float = ESTABLISH_TIMEOUT_S) -> None:
        """Wait until both tunnels are established at both ends."""
        both = {"tunnel1", "tunnel2"}

        def not_established() -> str | None:
            missing = [
                f"{name} at the {end}"
                for end, charon in (("remote", self.remote), ("cloud", self.cloud))
                for name in sorted(both - set(charon.established()))
            ]
            return f"no {', '.join(missing)}" if missing else None

        wait_until(not_established, what="both tunnels", deadline=timeout)

    def lose_endpoint(self, number: int) -> None:
        """Terminate AWS's endpoint of tunnel 1 or 2, with AWS's knowledge; does not wait."""
        self.cloud.control("--terminate", "--ike", f"tunnel{number}", "--force")

    def wait_down(self, timeout: float = ESTABLISH_TIMEOUT_S) -> None:
        """Wait until the remote gateway has closed both tunnels."""

        def still_established() -> str | None:
            return ", ".join(sorted(self.remote.established())) or None

        wait_until(still_established, what="the remote gateway to close both tunnels", deadline=timeout)

    def set_keys(self, connection: Connection, *, cloud: bool = True) -> None:
        """Load the connection's keys at both ends, or at the remote one only; established tunnels keep running."""
        write_remote_config(self.remote.folder, connection)
        self.remote.load_keys()
        if cloud:
            write_cloud_config(self.cloud.folder, connection)
            self.cloud.load_keys()
            self.connection = connection

    def reauthenticate(self, number: int, timeout: float = ESTABLISH_TIMEOUT_S) -> None:
        """Reauthenticate tunnel 1 or 2 with the current keys; wait until the old association is replaced."""
        name = f"tunnel{number}"
        before = self.remote.established()[name]
        self.remote.control("--rekey", "--ike", name, "--reauth")

        def not_replaced() -> str | None:
            now = self.remote.established().get(name, before)
            return f"{name} is still association #{before}" if now == before else None

        wait_until(not_replaced, what=f"{name} with its new key", deadline=timeout)

    def findings(self) -> list[VpnFinding]:
        """Findings of `scripts/vpn_config.py --check` at the remote gateway, from associations and log."""
        log = self.remote.process.log.read_text(errors="replace")
        return diagnose(VpnState(sas=self.remote.control("--list-sas"), log=log))

    def initiate_error(self, number: int) -> str:
        """Initiate tunnel 1 or 2 from the remote gateway; the error, or an empty text when it is established."""
        name = f"tunnel{number}"
        if name in self.remote.established():
            self.remote.control("--terminate", "--ike", name, "--force")
        try:
            self.remote.control("--initiate", "--ike", name, "--child", name, "--timeout", "10")
        except ToolError as error:
            return str(error)
        return ""

"""Both ends' strongSwan: the office's by exactly the files that were rendered for it, the cloud's as AWS's end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rehearsal.host.commands import CommandError
from rehearsal.host.sandbox import Ground, wait_until
from rehearsal.vpn import aws_side
from rehearsal.vpn.charon import Charon
from rehearsal.vpn.namespaces import Namespace
from rehearsal.vpn.topology import Topology
from scripts.vpn_config import write
from scripts.vpn_findings import Finding, Sight, explain
from scripts.vpn_render import Connection, render

STANDING_S = 20.0


def folders(ground: Ground) -> tuple[Path, Path]:
    """Where office and cloud keep their files; they hold keys, so they go with the run."""
    return ground.temporary("vpn-office").resolve(), ground.temporary("vpn-cloud").resolve()


def write_office(folder: Path, connection: Connection) -> None:
    """All files, by what users call too."""
    write(render(connection, userspace=True, home=str(folder)), folder)


def write_cloud(folder: Path, connection: Connection) -> None:
    write({"swanctl.conf": aws_side.render(connection)}, folder)


def load_clamp(gateway: Namespace, folder: Path) -> str:
    """Why the rendered clamp.nft can't be loaded at the office's gateway; empty when it is."""
    try:
        gateway.run("nft", "-f", str(folder / "clamp.nft"))
    except CommandError as error:
        return str(error)
    return ""


def kernel_settings(folder: Path) -> tuple[str, ...]:
    """The rendered sysctl.conf as `net/…=value`, for a namespace."""
    lines = [line.strip() for line in (folder / "sysctl.conf").read_text().splitlines()]
    settings = [line.split("=") for line in lines if line and not line.startswith("#")]
    return tuple(f"{key.strip().replace('.', '/')}={value.strip()}" for key, value in settings)


@dataclass(kw_only=True)
class Gateways:
    """The two daemons, and the connection whose keys they hold now."""

    connection: Connection
    office: Charon
    cloud: Charon

    @classmethod
    def start(cls, topology: Topology) -> Gateways:
        """Both daemons run; the cloud waits for the office, which has not been told to begin."""
        ground, connection = topology.ground, topology.connection
        office, cloud = folders(ground)
        write_cloud(cloud, connection)
        gateways = cls(
            connection=connection,
            cloud=Charon.start(ground, topology.cloud_gateway, cloud, patience=aws_side.PATIENCE),
            office=Charon.start(
                ground,
                topology.office_gateway,
                office,
                included=office / "strongswan.conf",
            ),
        )
        gateways.cloud.load()
        return gateways

    def wait_standing(self, limit: float = STANDING_S) -> None:
        """Until both tunnels stand at both ends."""
        both = {"tunnel1", "tunnel2"}

        def missing() -> str | None:
            lacking = [
                f"{name} at the {end}"
                for end, charon in (("office", self.office), ("cloud", self.cloud))
                for name in sorted(both - set(charon.established()))
            ]
            return f"no {', '.join(lacking)}" if lacking else None

        wait_until(missing, what="both tunnels", deadline=limit)

    def lose_endpoint(self, place: int) -> None:
        """AWS's endpoint of tunnel 1 or 2 is gone, and AWS knows it; nothing is waited for."""
        self.cloud.control("--terminate", "--ike", f"tunnel{place}", "--force")

    def wait_given_up(self, limit: float = STANDING_S) -> None:
        """Until the office has given both tunnels up."""

        def standing() -> str | None:
            return ", ".join(sorted(self.office.established())) or None

        wait_until(standing, what="the office to give up both tunnels", deadline=limit)

    def give_keys(self, connection: Connection, *, cloud: bool = True) -> None:
        """The connection's keys for both ends, or for the office alone; tunnels that stand go on for now."""
        write_office(self.office.folder, connection)
        self.office.load_keys()
        if cloud:
            write_cloud(self.cloud.folder, connection)
            self.cloud.load_keys()
            self.connection = connection

    def prove_anew(self, place: int, limit: float = STANDING_S) -> None:
        """Tunnel 1 or 2 authenticates again, with the keys of now; the old association is gone afterwards."""
        name = f"tunnel{place}"
        before = self.office.established()[name]
        self.office.control("--rekey", "--ike", name, "--reauth")

        def old() -> str | None:
            now = self.office.established().get(name, before)
            return f"{name} is still association #{before}" if now == before else None

        wait_until(old, what=f"{name} with its new key", deadline=limit)

    def ailments(self) -> list[Finding]:
        """What `scripts/vpn_config.py --check` says at the office, of associations and log together."""
        log = self.office.process.log.read_text(errors="replace")
        return explain(Sight(sas=self.office.control("--list-sas"), log=log))

    def refusal(self, place: int) -> str:
        """What the office is told when it starts tunnel 1 or 2 now; empty when the tunnel comes to stand."""
        name = f"tunnel{place}"
        if name in self.office.established():
            self.office.control("--terminate", "--ike", name, "--force")
        try:
            self.office.control("--initiate", "--ike", name, "--child", name, "--timeout", "10")
        except CommandError as error:
            return str(error)
        return ""

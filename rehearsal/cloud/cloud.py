"""The rehearsal's whole AWS, in the threads of one process, from construction until `close`."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from rehearsal.cloud import account, config_mounts, load_balancers, preload
from rehearsal.cloud.additions import GAPS, extend_moto
from rehearsal.cloud.additions.actions import CALLS
from rehearsal.cloud.additions.gap import Facts
from rehearsal.cloud.additions.groups import ZONES_GONE
from rehearsal.cloud.additions.notifications import NOTICES
from rehearsal.cloud.cloudwatch import load_balancer_metrics
from rehearsal.cloud.cloudwatch.alarms import Alarms
from rehearsal.cloud.cloudwatch.monitoring import Monitoring
from rehearsal.cloud.config_mounts import Endpoints
from rehearsal.cloud.controller import Controller, Images
from rehearsal.cloud.faults.injection import Faults, fault_of
from rehearsal.cloud.instances import ContainerMachines, Ground, Machines, NamesOnly
from rehearsal.cloud.load_balancer_emulators import Door, FollowingDoor, NoDoor
from rehearsal.cloud.metadata import MetadataServer
from rehearsal.cloud.notification import Notice
from rehearsal.cloud.server import Answer, Server

NOTICES_PATH = re.compile(r"notices(/\d{1,9})?")
CONTROLS = (
    "GET state, GET gaps, GET notices, GET notices/NUMBER (those after it), POST boots, POST boots {instances}, "
    "POST images {ami, image}, POST time-scale {alarms}, "
    "POST zones {gone}, GET faults, DELETE faults, POST faults {service, mode, seconds, addresses, color}"
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Everything that the command line can say; without `docker_host`, machines exist in name only."""

    listen: str
    state_dir: Path
    port: int = 0
    metadata_port: int = 0
    dns_name: str = ""
    front_door: str = ""
    docker_host: str = ""
    network: str = ""
    machine_image: str = ""
    machine_prefix: str = "machine"
    registry: str = ""
    registry_password: str = ""
    registry_certificate: Path | None = None
    hold_hooks: bool = False
    warm: bool = False


class Cloud:
    """Opens the servers and starts the controller."""

    def __init__(self, options: Options) -> None:
        extend_moto(
            Facts(
                dns_name=options.dns_name,
                registry=options.registry,
                registry_password=options.registry_password,
                console=lambda instance: self._machines.console(instance),
            )
        )
        self._images = Images(default=options.machine_image)
        self._faults = Faults(color=account.color_at)
        self.aws = Server(options.listen, options.port, self._control, self._faults)
        self.metadata = MetadataServer(options.listen, options.metadata_port, account.about)
        door = _door(options)
        self._alarms = Alarms()
        self._monitoring = Monitoring(door, self._alarms)
        self._machines = self._made(options)
        self._controller = Controller(
            machines=self._machines,
            door=door,
            images=self._images,
            answer_hooks=not options.docker_host and not options.hold_hooks,
        )
        self._controller.start()
        self._monitoring.start()
        if options.warm:
            preload.start(self.aws.url)

    def endpoints(self) -> dict[str, str]:
        return {"aws": self.aws.url, "metadata": self.metadata.url, "control": f"{self.aws.url}/_rehearsal"}

    def close(self) -> None:
        self._monitoring.close()
        self._controller.close()
        self.metadata.close()
        self.aws.close()

    def _made(self, options: Options) -> Machines:
        if not options.docker_host:
            return NamesOnly()
        endpoints = Endpoints(
            aws=self.aws.url,
            metadata=self.metadata.url,
            registry=options.registry,
            registry_certificate=options.registry_certificate,
        )
        return ContainerMachines(
            Ground(
                docker_host=options.docker_host,
                network=options.network,
                prefix=options.machine_prefix,
                mounts=config_mounts.write(options.state_dir / "drop-ins", endpoints),
                evidence=options.state_dir / "machines",
            )
        )

    def _control(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        match method, path:
            case "GET", "state":
                return HTTPStatus.OK, {**self._controller.state(), "calls": _calls()}
            case "GET", "gaps":
                gaps = (*GAPS, *load_balancers.GAPS, *load_balancer_metrics.GAPS, *self._alarms.gaps())
                return HTTPStatus.OK, {"gaps": [asdict(gap) for gap in gaps]}
            case "POST", "boots":
                self._look_at_boots(body.get("instances"))
                return HTTPStatus.OK, {}
            case "POST", "images" if {"ami", "image"} <= body.keys():
                self._images.by_ami[str(body["ami"])] = str(body["image"])
                return HTTPStatus.OK, {"images": self._images.by_ami}
            case "POST", "zones" if isinstance(body.get("gone"), list):
                ZONES_GONE.clear()
                ZONES_GONE.update(map(str, body["gone"]))
                return HTTPStatus.OK, {"gone": sorted(ZONES_GONE)}
            case "GET", _ if NOTICES_PATH.fullmatch(path):
                after = int(path.partition("/")[2] or 0)
                return HTTPStatus.OK, {"notices": [_told(notice) for notice in list(NOTICES) if notice.number > after]}
            case "POST", "time-scale" if body.keys() == {"alarms"}:
                self._alarms.set_scale(body["alarms"])
                return HTTPStatus.OK, {"alarms": self._alarms.scale}
            case "GET" | "POST" | "DELETE", "faults":
                return self._control_faults(method, body)
        return HTTPStatus.NOT_FOUND, {"error": f"{method} {path} with {sorted(body)}: {CONTROLS} are what there is"}

    def _look_at_boots(self, instances: Any) -> None:
        """All of them, and wait for it; of these instances, without waiting."""
        if isinstance(instances, list):
            self._controller.refresh_boots(list(map(str, instances)))
        else:
            self._controller.look_at_boots()

    def _control_faults(self, method: str, body: dict[str, Any]) -> Answer:
        if method == "POST":
            self._faults.set(fault_of(body))
        elif method == "DELETE":
            self._faults.clear()
        return HTTPStatus.OK, {"faults": self._faults.told()}


def _calls() -> list[dict[str, Any]]:
    return [{**asdict(call), "writes": call.writes, "count": count} for call, count in list(CALLS.items())]


def _told(notice: Notice) -> dict[str, Any]:
    return asdict(notice) | {"time": notice.time.isoformat()}


def _door(options: Options) -> Door:
    if not options.front_door:
        return NoDoor()
    folder = options.state_dir / "front-door"
    folder.mkdir(parents=True, exist_ok=True)
    return FollowingDoor(folder, options.front_door)

"""AWS emulator: the account's endpoint, instance metadata, instances, load balancers and CloudWatch in one process."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from rehearsal.cloud import account, config_mounts, load_balancers, preload
from rehearsal.cloud.additions import GAPS, extend_moto
from rehearsal.cloud.additions.actions import CALLS
from rehearsal.cloud.additions.gap import EmulatorContext
from rehearsal.cloud.additions.groups import FAILED_ZONES
from rehearsal.cloud.additions.sns import MESSAGES
from rehearsal.cloud.cloudwatch import load_balancer_metrics
from rehearsal.cloud.cloudwatch.alarms import AlarmEvaluator
from rehearsal.cloud.cloudwatch.monitoring import MonitoringLoop
from rehearsal.cloud.config_mounts import Endpoints
from rehearsal.cloud.controller import Controller, ImageMap
from rehearsal.cloud.faults.injection import FaultInjector, parse_fault
from rehearsal.cloud.instances import ContainerInstances, InstanceHost, Instances, NullInstances
from rehearsal.cloud.load_balancer_emulators import LoadBalancerControl, NullLoadBalancer, SyncedLoadBalancer
from rehearsal.cloud.metadata import MetadataServer
from rehearsal.cloud.server import AwsServer, ControlResponse
from rehearsal.cloud.sns_message import SnsMessage

MESSAGES_PATH = re.compile(r"messages(/\d{1,9})?")
CONTROLS = (
    "GET state, GET gaps, GET messages, GET messages/NUMBER (those after it), POST boots, POST boots {instances}, "
    "POST images {ami, image}, POST time-scale {alarms}, "
    "POST zones {failed}, GET faults, DELETE faults, POST faults {service, mode, seconds, addresses, color}"
)


@dataclass(frozen=True, kw_only=True)
class EmulatorOptions:
    """Options of the command line.

    Without `docker_host` instances have no containers, without `load_balancer` load balancers don't listen.
    """

    listen: str
    state_dir: Path
    port: int = 0
    metadata_port: int = 0
    dns_name: str = ""
    load_balancer: str = ""
    docker_host: str = ""
    network: str = ""
    instance_image: str = ""
    instance_prefix: str = "instance"
    registry: str = ""
    registry_password: str = ""
    registry_certificate: Path | None = None
    hold_hooks: bool = False
    preload: bool = False


class CloudEmulator:
    """Runs in threads from construction until `close`."""

    def __init__(self, options: EmulatorOptions) -> None:
        extend_moto(
            EmulatorContext(
                dns_name=options.dns_name,
                registry=options.registry,
                registry_password=options.registry_password,
                console=lambda instance: self._instances.console(instance),
            )
        )
        self._images = ImageMap(default=options.instance_image)
        self._faults = FaultInjector(color=account.color_at)
        self.aws = AwsServer(options.listen, options.port, self._control, self._faults)
        self.metadata = MetadataServer(options.listen, options.metadata_port, account.metadata_of)
        load_balancer = _load_balancer(options)
        self._alarms = AlarmEvaluator()
        self._monitoring = MonitoringLoop(load_balancer, self._alarms)
        self._instances = self._create_instances(options)
        self._controller = Controller(
            instances=self._instances,
            load_balancer=load_balancer,
            images=self._images,
            answer_hooks=not options.docker_host and not options.hold_hooks,
        )
        self._controller.start()
        self._monitoring.start()
        if options.preload:
            preload.start(self.aws.url)

    def endpoints(self) -> dict[str, str]:
        return {"aws": self.aws.url, "metadata": self.metadata.url, "control": f"{self.aws.url}/_rehearsal"}

    def close(self) -> None:
        self._monitoring.close()
        self._controller.close()
        self.metadata.close()
        self.aws.close()

    def _create_instances(self, options: EmulatorOptions) -> Instances:
        if not options.docker_host:
            return NullInstances()
        endpoints = Endpoints(
            aws=self.aws.url,
            metadata=self.metadata.url,
            registry=options.registry,
            registry_certificate=options.registry_certificate,
        )
        return ContainerInstances(
            InstanceHost(
                docker_host=options.docker_host,
                network=options.network,
                prefix=options.instance_prefix,
                mounts=config_mounts.write(options.state_dir / "config-mounts", endpoints),
                evidence=options.state_dir / "instances",
            )
        )

    def _control(self, method: str, path: str, body: dict[str, Any]) -> ControlResponse:
        match method, path:
            case "GET", "state":
                return HTTPStatus.OK, {**self._controller.state(), "calls": _calls()}
            case "GET", "gaps":
                gaps = (*GAPS, *load_balancers.GAPS, *load_balancer_metrics.GAPS, *self._alarms.gaps())
                return HTTPStatus.OK, {"gaps": [asdict(gap) for gap in gaps]}
            case "POST", "boots":
                self._refresh_boot_records(body.get("instances"))
                return HTTPStatus.OK, {}
            case "POST", "images" if {"ami", "image"} <= body.keys():
                self._images.by_ami[str(body["ami"])] = str(body["image"])
                return HTTPStatus.OK, {"images": self._images.by_ami}
            case "POST", "zones" if isinstance(body.get("failed"), list):
                FAILED_ZONES.clear()
                FAILED_ZONES.update(map(str, body["failed"]))
                return HTTPStatus.OK, {"failed": sorted(FAILED_ZONES)}
            case "GET", _ if MESSAGES_PATH.fullmatch(path):
                after = int(path.partition("/")[2] or 0)
                rows = [_message_row(message) for message in list(MESSAGES) if message.number > after]
                return HTTPStatus.OK, {"messages": rows}
            case "POST", "time-scale" if body.keys() == {"alarms"}:
                self._alarms.set_scale(body["alarms"])
                return HTTPStatus.OK, {"alarms": self._alarms.scale}
            case "GET" | "POST" | "DELETE", "faults":
                return self._control_faults(method, body)
        return HTTPStatus.NOT_FOUND, {"error": f"{method} {path} with {sorted(body)}: allowed are {CONTROLS}"}

    def _refresh_boot_records(self, instances: Any) -> None:
        """Of all instances, and wait for it; or of these, without waiting."""
        if isinstance(instances, list):
            self._controller.refresh_boot_records(list(map(str, instances)))
        else:
            self._controller.refresh_all_boot_records()

    def _control_faults(self, method: str, body: dict[str, Any]) -> ControlResponse:
        if method == "POST":
            self._faults.set(parse_fault(body))
        elif method == "DELETE":
            self._faults.clear()
        return HTTPStatus.OK, {"faults": self._faults.as_rows()}


def _calls() -> list[dict[str, Any]]:
    return [{**asdict(call), "writes": call.writes, "count": count} for call, count in list(CALLS.items())]


def _message_row(message: SnsMessage) -> dict[str, Any]:
    return asdict(message) | {"time": message.time.isoformat()}


def _load_balancer(options: EmulatorOptions) -> LoadBalancerControl:
    if not options.load_balancer:
        return NullLoadBalancer()
    folder = options.state_dir / "haproxy"
    folder.mkdir(parents=True, exist_ok=True)
    return SyncedLoadBalancer(folder, options.load_balancer)

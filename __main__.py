"""One stack: network, bucket, role, load balancer, and a blue and a green fleet of which one serves the users."""

import pulumi

import composition as compose
import settings as config
from checks.gates import live_rule_hooks
from components.alerts import Alerts
from components.artifact_bucket import ArtifactBucket
from components.instance_role import InstanceRole
from components.load_balancer import LoadBalancer
from components.logs import Logs
from components.machine_access import MachineAccess
from components.machine_events import MachineEvents
from components.network import Network
from components.traffic_guard import TrafficGuard


async def main() -> None:
    settings = config.load()
    compose.warn(settings)
    place = compose.place(settings)
    change = await compose.change(settings, place)
    compose.begin(change)
    TrafficGuard("traffic-guard", [change.refusal] if change.refusal else [])

    network = Network("network", compose.network(settings))
    artifacts = ArtifactBucket("artifacts", compose.artifact_bucket(settings, place))
    alerts = Alerts("alerts", compose.alerts(settings, place))
    MachineEvents("machine-events", compose.machine_events(settings, place, alerts))
    logs = Logs("logs", compose.logs(settings))
    archive = compose.log_archive(settings, place, logs, alerts)
    base_image = compose.base_image(settings)
    role = InstanceRole("machine", compose.instance_role(settings, place, artifacts, alerts, base_image))

    targets = compose.targets(settings, network)
    balancer = LoadBalancer("web", compose.load_balancer(settings, network, artifacts, alerts, targets))
    access = MachineAccess("machines", compose.machine_access(settings, network, balancer))
    dns = compose.dns_name(settings, balancer)
    vpn = compose.vpn(settings, network, alerts)
    watch = compose.watch(settings, alerts, targets, balancer)

    shared = compose.Shared(network=network, role=role, alerts=alerts, logs=logs, base_image=base_image, access=access)
    fleets = compose.fleets(settings, shared, targets, balancer, compose.fleet_hooks(settings))
    gates = live_rule_hooks(compose.gate(settings, change))
    live_rule = compose.live_rule(settings, balancer, targets, fleets, dns, gates)

    outputs = compose.outputs(
        settings, change, shared, artifacts, balancer, targets, fleets, live_rule, vpn, watch, archive
    )
    for name, value in outputs.items():
        pulumi.export(name, value)
    compose.require(change)
    compose.end(change, live_rule)


pulumi.run(main)

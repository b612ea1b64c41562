"""One stack: network, bucket, role, load balancer, and a blue and a green fleet of which one has the traffic."""

import pulumi

import composition as compose
from components.alerts import Alerts
from components.artifact_bucket import ArtifactBucket
from components.color import Targets
from components.instance_role import InstanceRole
from components.load_balancer import LoadBalancer, LoadBalancerArgs
from components.logs import Logs
from components.machine_access import MachineAccess
from components.machine_events import MachineEvents
from components.network import Network
from components.traffic_guard import TrafficGuard
from config import settings as config
from fleet.colors import Color


async def main() -> None:
    settings = config.load()
    compose.warn(settings)
    context = compose.context(settings)
    change = await compose.change(settings, context)
    compose.begin(change)
    TrafficGuard("traffic-guard", change.refusals)

    network = Network("network", context, settings.network, settings.logs, compose.zone_ranges(settings.network))
    artifacts = ArtifactBucket("artifacts", context, access_logs=settings.load_balancer.access_logs)
    alerts = Alerts("alerts", context, settings.alerts)
    MachineEvents("machine-events", context, alerts.topic)
    logs = Logs("logs", context, settings.logs)
    archive = compose.log_archive(settings, context, logs, alerts)
    base_image = compose.base_image(settings, context)
    repository_arn = base_image.repository_arn
    role = InstanceRole("machine", context, bucket_arn=artifacts.arn, topic=alerts.topic, repository_arn=repository_arn)

    targets = {color: Targets(color, context, settings.app, color, network.vpc_id) for color in Color}
    balancer_args = LoadBalancerArgs(
        vpc_id=network.vpc_id,
        subnet_ids=network.public_subnet_ids,
        target_groups=compose.arns(targets),
        log_bucket=artifacts.log_bucket,
        tags=compose.by_tags(settings, artifacts, alerts),
    )
    balancer = LoadBalancer("web", context, settings.load_balancer, balancer_args)
    access = MachineAccess(
        "machines", context, settings.app, settings.vpn, vpc_id=network.vpc_id, balancer=balancer.security_group_id
    )
    dns = compose.dns_name(settings, balancer)
    vpn = compose.vpn(settings, context, network, alerts)
    watch = compose.watch(settings, context, alerts, targets, balancer)

    shared = compose.Shared(
        network=network,
        artifacts=artifacts,
        alerts=alerts,
        logs=logs,
        role=role,
        base_image=base_image,
        balancer=balancer,
        access=access,
    )
    fleets = compose.fleets(settings, context, shared, targets)
    live_rule = compose.live_rule(settings, context, change, balancer, targets, fleets, dns)
    outputs = compose.outputs(settings, context, change, shared, targets, fleets, live_rule, vpn, watch, archive)
    for name, value in outputs.items():
        pulumi.export(name, value)
    compose.require(change)
    compose.end(change, live_rule)


pulumi.run(main)

"""Pulumi program of one stack: network, bucket, role, load balancer, and a blue and a green fleet."""

import pulumi

import composition as compose
from components.alerts import Alerts
from components.artifact_bucket import ArtifactBucket
from components.color import Targets
from components.instance_access import InstanceAccess
from components.instance_events import InstanceEvents
from components.instance_role import InstanceRole
from components.load_balancer import LoadBalancer, LoadBalancerArgs
from components.logs import Logs
from components.network import Network
from components.traffic_guard import TrafficGuard
from config import settings as config
from fleet.colors import Color


async def main() -> None:
    settings = config.load()
    compose.warn(settings)
    context = compose.context(settings)
    update = await compose.update(settings, context)
    compose.begin(update)
    TrafficGuard("traffic-guard", update.refusals)

    network = Network("network", context, settings.network, settings.logs, compose.zone_ranges(settings.network))
    artifacts = ArtifactBucket("artifacts", context, access_logs=settings.load_balancer.access_logs)
    alerts = Alerts("alerts", context, settings.alerts)
    InstanceEvents("machine-events", context, alerts.topic)
    logs = Logs("logs", context, settings.logs)
    archive = compose.log_archive(settings, context, logs, alerts)
    base_image = compose.base_image(settings, context)
    repository_arn = base_image.repository_arn
    role = InstanceRole("machine", context, bucket_arn=artifacts.arn, topic=alerts.topic, repository_arn=repository_arn)

    targets = {color: Targets(color, context, settings.app, color, network.vpc_id) for color in Color}
    load_balancer_args = LoadBalancerArgs(
        vpc_id=network.vpc_id,
        subnet_ids=network.public_subnet_ids,
        target_groups=compose.arns(targets),
        log_bucket=artifacts.log_bucket,
        tags=compose.load_balancer_tags(settings, artifacts, alerts),
    )
    load_balancer = LoadBalancer("web", context, settings.load_balancer, load_balancer_args)
    access = InstanceAccess(
        "machines",
        context,
        settings.app,
        settings.vpn,
        vpc_id=network.vpc_id,
        load_balancer_group=load_balancer.security_group_id,
    )
    dns = compose.dns_name(settings, load_balancer)
    vpn = compose.vpn(settings, context, network, alerts)
    monitoring = compose.monitoring(settings, context, alerts, targets, load_balancer)

    shared = compose.Shared(
        network=network,
        artifacts=artifacts,
        alerts=alerts,
        logs=logs,
        role=role,
        base_image=base_image,
        load_balancer=load_balancer,
        access=access,
    )
    fleets = compose.fleets(settings, context, shared, targets)
    live_rule = compose.live_rule(settings, context, update, load_balancer, targets, fleets, dns)
    outputs = compose.outputs(settings, context, update, shared, targets, fleets, live_rule, vpn, monitoring, archive)
    for name, value in outputs.items():
        pulumi.export(name, value)
    compose.require(update)
    compose.end(update, live_rule)


pulumi.run(main)

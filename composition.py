"""Composition of a stack: components that depend on settings or exist per color, and the update's begin and end.

`__main__.py` creates them in order.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws

from ami.boot.user_data import LogGroups, UserData
from components.alarms import CapacityAlarm, ColorAlarms, LoadBalancerAlarm
from components.alerts import Alerts
from components.artifact_bucket import ArtifactBucket
from components.base_image import BaseImage
from components.cidr_plan import ZoneRanges, plan
from components.color import ColorFleet, FleetArgs, FleetHooks, Targets
from components.dashboard import Dashboard
from components.dns_name import DnsName
from components.instance_access import InstanceAccess
from components.instance_role import InstanceRole
from components.live_rule import LiveRule, LiveRuleArgs
from components.load_balancer import PREVIEW_HEADER, LoadBalancer
from components.log_archive import LogArchive
from components.logs import Logs
from components.network import Network
from components.vpn import Vpn, VpnArgs
from config.alerts import without_subscribers
from config.context import PROJECT, StackContext
from config.settings import NetworkSettings, Settings
from fleet import deployments
from fleet.colors import Color
from fleet.command_lines import bluegreen
from fleet.deployments import Deployment, StackUpdate
from fleet.gates import GateArgs, capacity_wait, live_rule_hooks, lost_traffic, release_guard
from fleet.state import ADDRESS_TAG, BUCKET_TAG, TOPIC_TAG
from scripts.stack.config_file import StackFileError, read_config, write_config

# Minimum wait for the instances of a new group; and the time for AWS to launch one, before its boot timeout starts.
MIN_CAPACITY_WAIT_S, LAUNCH_RESERVE_S = 600.0, 300.0


@dataclass(frozen=True, kw_only=True)
class MirroredImage:
    """Outputs of the base image; empty without one."""

    reference: pulumi.Input[str] = ""
    repository_arn: pulumi.Input[str] = ""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Components that both colors use."""

    network: Network
    artifacts: ArtifactBucket
    alerts: Alerts
    logs: Logs
    role: InstanceRole
    base_image: MirroredImage
    load_balancer: LoadBalancer
    access: InstanceAccess


@dataclass(frozen=True, kw_only=True)
class Monitoring:
    """Alarms of colors and load balancer, and the dashboard."""

    colors: Mapping[Color, ColorAlarms]
    load_balancer: LoadBalancerAlarm
    dashboard: Dashboard


def context(settings: Settings) -> StackContext:
    """The stack's context, with the account of the credentials."""
    return settings.stack.context(aws.get_caller_identity().account_id, aws.get_partition().partition)


def warn(settings: Settings) -> None:
    if settings.lacks_subscribers:
        pulumi.log.warn(without_subscribers(settings.stack.name))


def begin(update: StackUpdate) -> None:
    """Raise RunError unless this run may change the stack; else write the next revision to the checkout's config.

    A preview runs to its end, so that it shows all changes.
    """
    if not pulumi.runtime.is_dry_run():
        require(update)
        _write_revision(update, update.revision_at_begin)


def require(update: StackUpdate) -> None:
    """Raise RunError unless this run may change the stack."""
    if update.refusal:
        raise pulumi.RunError(update.refusal)


def end(update: StackUpdate, live_rule: LiveRule | None) -> None:
    """Update the checkout's config, once the traffic has changed."""
    if not pulumi.runtime.is_dry_run():
        done = live_rule.arn if live_rule else pulumi.Output.from_input("")
        done.apply(lambda _: _write_revision(update, update.revision_at_end))


def withdraw(update: StackUpdate) -> None:
    """Take the begun revision out of the checkout's config again: a gate refused, and no traffic was moved."""
    if not pulumi.runtime.is_dry_run() and update.revision_at_begin != update.desired.revision:
        _write(update, update.desired.revision)


def _write_revision(update: StackUpdate, revision: str) -> None:
    if revision != update.desired.revision:
        _write(update, revision)


def _write(update: StackUpdate, revision: str) -> None:
    file = Path(f"Pulumi.{update.stack}.yaml")  # Pulumi runs programs in the project's folder
    try:
        # With --config-file another file was used, and this one may be old.
        if not _is_requested_by_file(update.desired, read_config(file)):
            raise StackFileError("the config was taken from another file")
        write_config(file, {f"{PROJECT}:revision": revision})
    except StackFileError as error:
        pulumi.log.warn(
            f"{file} could not be brought up to date ({error}): before the next update from here, run "
            f"{bluegreen('sync-config', stack=update.stack)}"
        )


def _is_requested_by_file(desired: Deployment, config: Mapping[str, Any]) -> bool:
    """Whether a stack's file requests this deployment, and so is the file of this run's config."""
    traffic = all(
        str(config.get(f"{PROJECT}:{key}") or default) == str(desired.traffic[key])
        for key, default in Deployment().traffic.items()
    )
    colors = {color: config.get(f"{PROJECT}:{color}") or {} for color in Color}
    releases = {color: str(values.get("release") or "") for color, values in colors.items()}
    return traffic and releases == {color: settings.version for color, settings in desired.colors.items()}


async def update(settings: Settings, context: StackContext) -> StackUpdate:
    """The update of this run; reads the traffic in AWS only if a fleet would be replaced or deleted."""
    last, desired = await last_deployment(), settings.deployment(context.account)
    refusal = deployments.refusal(context.stack, last, desired, os.environ)
    if refusal is None and last.serves and desired.serves and deployments.outgoing(last, desired):
        refusal = await asyncio.to_thread(_lost_traffic, context, last, desired)
    return StackUpdate(stack=context.stack, last=last, desired=desired, refusal=refusal or "")


async def last_deployment() -> Deployment:
    """The stack's last deployment, from its own outputs: a failed update leaves them unchanged."""
    name = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    own = pulumi.StackReference("last-update", stack_name=name)
    outputs = {key: (await own.get_output_details(key)).value for key in deployments.OUTPUTS}
    return Deployment.from_outputs(outputs)


def _lost_traffic(context: StackContext, last: Deployment, desired: Deployment) -> str | None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return lost_traffic(context.stack, sessions(context.region), last, desired)
    except (BotoCoreError, ClientError) as error:
        unknown = f"which color has the traffic is unknown, so that no fleet can be replaced or deleted: {error}"
        if not pulumi.runtime.is_dry_run():
            return unknown
        pulumi.log.warn(unknown)
        return None


def zone_ranges(settings: NetworkSettings) -> dict[str, ZoneRanges]:
    """Ranges by zone: configured, or planned for the configured zones, or for the region's first ones."""
    if settings.subnet_cidrs:
        return dict(settings.subnet_cidrs)
    return plan(settings.vpc_cidr, settings.zones or _first_zones(settings.zone_count))


def _first_zones(count: int) -> list[str]:
    # Local and wavelength zones support no load balancer, and need an opt-in.
    regular = aws.GetAvailabilityZonesFilterArgs(name="opt-in-status", values=["opt-in-not-required"])
    names = sorted(aws.get_availability_zones(state="available", filters=[regular]).names)
    if len(names) < count:
        raise pulumi.RunError(f"zoneCount: {count}: allowed is at most {len(names)}, as many as the region has")
    return names[:count]


def log_archive(settings: Settings, context: StackContext, logs: Logs, alerts: Alerts) -> LogArchive | None:
    if not settings.logs.archive_days:
        return None
    return LogArchive("log-archive", context, settings.logs, groups=logs.groups, topic_arn=alerts.topic.arn)


def base_image(settings: Settings, context: StackContext) -> MirroredImage:
    if not settings.instances.base_image:
        return MirroredImage()
    image = BaseImage("base", context, settings.instances.base_image)
    return MirroredImage(reference=image.reference, repository_arn=image.repository_arn)


def load_balancer_tags(settings: Settings, artifacts: ArtifactBucket, alerts: Alerts) -> dict[str, pulumi.Input[str]]:
    """Tags that name other resources of the stack, for commands that can't read its state."""
    url = settings.load_balancer.own_url
    return {
        BUCKET_TAG: artifacts.bucket,
        TOPIC_TAG: alerts.topic.arn,
        **({ADDRESS_TAG: url} if url else {}),
    }


def dns_name(settings: Settings, load_balancer: LoadBalancer) -> DnsName | None:
    if not settings.load_balancer.hosted_zone_id:
        return None
    own = settings.load_balancer
    return DnsName(
        "domain", own, load_balancer_dns_name=load_balancer.dns_name, load_balancer_zone_id=load_balancer.zone_id
    )


def vpn(settings: Settings, context: StackContext, network: Network, alerts: Alerts) -> Vpn | None:
    if settings.vpn is None:
        return None
    args = VpnArgs(
        vpc_id=network.vpc_id,
        subnet_ids=network.instance_subnet_ids,
        route_tables={zone: table.id for zone, table in network.instance_route_tables.items()},
        topic_arn=alerts.topic.arn,
    )
    return Vpn("vpn", context, settings.vpn, settings.logs, args)


def monitoring(
    settings: Settings,
    context: StackContext,
    alerts: Alerts,
    targets: Mapping[Color, Targets],
    load_balancer: LoadBalancer,
) -> Monitoring:
    """Both colors always have alarms, so that no deploy and no cutover changes those of a bad release."""
    suffix, topic_arn = load_balancer.arn_suffix, alerts.topic.arn
    groups = {color: target.arn_suffix for color, target in targets.items()}
    colors = {
        color: ColorAlarms(
            f"{color}-alarms",
            context,
            settings.alarms,
            color,
            load_balancer=suffix,
            target_group=groups[color],
            topic_arn=topic_arn,
        )
        for color in Color
    }
    errors = LoadBalancerAlarm("web-alarms", context, settings.alarms, load_balancer=suffix, topic_arn=topic_arn)
    capacity = [  # only colors with a release must have instances
        CapacityAlarm(
            f"{color}-capacity",
            context,
            color,
            own,
            settings.app,
            load_balancer=suffix,
            target_group=groups[color],
            topic_arn=topic_arn,
        )
        for color, own in settings.colors.items()
        if own.is_on
    ]
    alarms = [*(each.arn for each in colors.values()), errors.arn, *(each.arn for each in capacity)]
    dashboard = Dashboard(
        "dashboard",
        context,
        settings.alarms,
        settings.colors,
        load_balancer=suffix,
        target_groups=groups,
        alarms=alarms,
    )
    return Monitoring(colors=colors, load_balancer=errors, dashboard=dashboard)


def sessions(region: str) -> Callable[[], Any]:
    """A factory of boto3 sessions, for hooks."""

    def session() -> Any:
        import boto3  # takes 0.2 s, which an unchanged program does not need

        return boto3.Session(region_name=region)

    return session


def fleets(
    settings: Settings, context: StackContext, shared: Shared, targets: Mapping[Color, Targets]
) -> dict[Color, ColorFleet]:
    """The instances of each color that has a release."""
    factory = sessions(context.region)
    deadline_s = max(MIN_CAPACITY_WAIT_S, settings.app.boot_timeout + LAUNCH_RESERVE_S)
    hooks = FleetHooks(guard=release_guard(context.stack, factory), capacity=capacity_wait(factory, deadline_s))
    return {
        color: ColorFleet(
            f"{color}-fleet",
            context,
            color,
            own,
            settings.app,
            settings.instances,
            FleetArgs(
                user_data=_user_data(settings, context, color, shared),
                target_group_arn=targets[color].arn,
                subnet_ids=shared.network.instance_subnet_ids,
                security_group_id=shared.access.security_group_id,
                profile_arn=shared.role.profile_arn,
                hooks=hooks,
                preview_rules=list(shared.load_balancer.preview_rules.values()),
            ),
        )
        for color, own in settings.colors.items()
        if own.is_on
    }


def _user_data(settings: Settings, context: StackContext, color: Color, shared: Shared) -> pulumi.Output[UserData]:
    def data(topic_arn: str, log_groups: LogGroups, base_image: str) -> UserData:
        return UserData(
            stack=context.stack,
            color=color,
            release=settings.colors[color].release,
            app=settings.app.on_instance,
            parameter_path=context.parameter_path,
            alerts_topic_arn=topic_arn,
            log_groups=log_groups,
            base_image=base_image,
        )

    known = pulumi.Output.all(shared.alerts.topic.arn, shared.logs.groups, shared.base_image.reference)
    return known.apply(lambda values: data(*values))


def live_rule(
    settings: Settings,
    context: StackContext,
    update: StackUpdate,
    load_balancer: LoadBalancer,
    targets: Mapping[Color, Targets],
    fleets: Mapping[Color, ColorFleet],
    dns: DnsName | None,
) -> LiveRule | None:
    """None before the first release: the listener's default action responds with 503."""
    gate = GateArgs(
        recorded=update.recorded(os.environ),
        stack=context.stack,
        region=context.region,
        colors=settings.colors,
        health_path=settings.app.health_path,
        base_url=settings.load_balancer.own_url,
    )
    hooks = live_rule_hooks(gate, refused=lambda: withdraw(update))
    if not update.desired.serves:
        return None
    args = LiveRuleArgs(
        listener_arn=load_balancer.listener_arn,
        target_groups=arns(targets),
        weights=update.desired.weights,
        depends_on=[*(fleet.group for fleet in fleets.values()), *([dns.record] if dns else [])],
        gates=hooks,
    )
    return LiveRule("live", context, args)


def outputs(
    settings: Settings,
    context: StackContext,
    update: StackUpdate,
    shared: Shared,
    targets: Mapping[Color, Targets],
    fleets: Mapping[Color, ColorFleet],
    live_rule: LiveRule | None,
    vpn: Vpn | None,
    monitoring: Monitoring,
    archive: LogArchive | None,
) -> dict[str, Any]:
    """Stack outputs, for commands and operators."""
    load_balancer, address = shared.load_balancer, settings.load_balancer
    return {
        **update.desired.traffic,
        "revision": update.revision,
        "committed": update.committed,
        "account": context.account,
        "url": address.own_url or load_balancer.dns_name.apply(address.url_of),
        "loadBalancerArn": load_balancer.arn,
        "loadBalancerArnSuffix": load_balancer.arn_suffix,
        "loadBalancerDnsName": load_balancer.dns_name,
        "loadBalancerAlarm": monitoring.load_balancer.name,
        "previewHeader": PREVIEW_HEADER,
        "previewToken": load_balancer.preview_token,
        "artifactsBucket": shared.artifacts.bucket,
        "alertsTopicArn": shared.alerts.topic.arn,
        "dashboard": monitoring.dashboard.name,
        "logArchiveBucket": archive.bucket if archive else "",
        "parameterPath": context.parameter_path,
        "healthPath": settings.app.health_path,
        "region": context.region,
        "baseImage": shared.base_image.reference,
        "colors": {
            color.value: {
                **settings.colors[color].deployed,
                "targetGroupArn": targets[color].arn,
                "targetGroupArnSuffix": targets[color].arn_suffix,
                "alarm": monitoring.colors[color].name,
                "asgName": fleets[color].group_name if color in fleets else "",
                "launchTemplateId": fleets[color].launch_template_id if color in fleets else "",
            }
            for color in Color
        },
        "liveRuleArn": live_rule.arn if live_rule else "",
        "vpcId": shared.network.vpc_id,
        "instanceSubnetIds": shared.network.instance_subnet_ids,
        "instanceSecurityGroupId": shared.access.security_group_id,
        **_vpn_output(settings, vpn),
    }


def _vpn_output(settings: Settings, vpn: Vpn | None) -> dict[str, Any]:
    """Parameters for the remote side's configuration, without the keys; empty without a VPN."""
    if vpn is None or settings.vpn is None:
        return {}
    values = {
        "connectionId": vpn.connection_id,
        "customerGatewayId": vpn.customer_gateway_id,
        "tunnelAddresses": vpn.tunnel_addresses,
        "insideCidrs": list(settings.vpn.inside_cidrs),
        "remoteCidrs": list(settings.vpn.remote_cidrs),
        "vpcCidr": settings.network.vpc_cidr,
        "routing": settings.vpn.routing.value,
        "remoteAsn": settings.vpn.bgp_asn,
        "amazonAsn": settings.vpn.amazon_asn,
    }
    return {"vpn": values}


def arns(targets: Mapping[Color, Targets]) -> dict[Color, pulumi.Input[str]]:
    return {color: target.arn for color, target in targets.items()}

"""Parts of a stack that depend on its settings or come once a color, and the update's begin and end.

`__main__.py` puts them in order.
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
from components.alerts import Alerts
from components.artifact_bucket import ArtifactBucket
from components.balancer_alarm import BalancerAlarm
from components.base_image import BaseImage
from components.cidr_plan import ZoneRanges, plan
from components.color import Fleet, FleetArgs, FleetHooks, Targets
from components.color_alarms import ColorAlarms
from components.dashboard import Dashboard
from components.dns_name import DnsName
from components.instance_role import InstanceRole
from components.live_rule import LiveRule, LiveRuleArgs
from components.load_balancer import PREVIEW_HEADER, LoadBalancer
from components.log_archive import LogArchive
from components.logs import Logs
from components.machine_access import MachineAccess
from components.machines_alarm import MachinesAlarm
from components.network import Network
from components.vpn import Vpn, VpnArgs
from config.alerts import without_subscribers
from config.context import PROJECT, StackContext
from config.settings import NetworkSettings, Settings
from fleet import deployments
from fleet.colors import Color
from fleet.command_lines import bluegreen
from fleet.deployments import Change, Deployment
from fleet.gates import GateArgs, arrival, live_rule_hooks, lost_traffic, release_guard
from fleet.state import ADDRESS_TAG, BUCKET_TAG, TOPIC_TAG
from scripts.stack.config_file import StackFileError, read_config, write_config

# Seconds that the instances of a new group get at least, and for AWS to start them before their boot timeout begins.
MIN_ARRIVAL_S, LAUNCH_RESERVE_S = 600.0, 300.0


@dataclass(frozen=True, kw_only=True)
class MirroredImage:
    """What others need of the base image; empty without one."""

    reference: pulumi.Input[str] = ""
    repository_arn: pulumi.Input[str] = ""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What both colors use."""

    network: Network
    artifacts: ArtifactBucket
    alerts: Alerts
    logs: Logs
    role: InstanceRole
    base_image: MirroredImage
    balancer: LoadBalancer
    access: MachineAccess


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What watches the colors and the load balancer before them."""

    colors: Mapping[Color, ColorAlarms]
    balancer: BalancerAlarm
    dashboard: Dashboard


def context(settings: Settings) -> StackContext:
    """Where the credentials lead to."""
    return settings.stack.context(aws.get_caller_identity().account_id, aws.get_partition().partition)


def warn(settings: Settings) -> None:
    if settings.notifies_nobody:
        pulumi.log.warn(without_subscribers(settings.stack.name))


def begin(change: Change) -> None:
    """Raise RunError unless this run may change the stack; else let the checkout's config know of the change.

    A preview goes on to its end, so that it shows all that would change.
    """
    if not pulumi.runtime.is_dry_run():
        require(change)
        _write_revision(change, change.revision_at_begin)


def require(change: Change) -> None:
    """Raise RunError unless this run may change the stack."""
    if change.refusal:
        raise pulumi.RunError(change.refusal)


def end(change: Change, live_rule: LiveRule | None) -> None:
    """Bring the checkout's config up to date, once the traffic is as it should be."""
    if not pulumi.runtime.is_dry_run():
        done = live_rule.arn if live_rule else pulumi.Output.from_input("")
        done.apply(lambda _: _write_revision(change, change.revision_at_end))


def _write_revision(change: Change, revision: str) -> None:
    if revision == change.desired.revision:
        return
    file = Path(f"Pulumi.{change.stack}.yaml")  # Pulumi runs programs in the project's folder
    try:
        # With --config-file the config was another one, and this file may be old.
        if not _is_asked(change.desired, read_config(file)):
            raise StackFileError("the config was taken from another file")
        write_config(file, {f"{PROJECT}:revision": revision})
    except StackFileError as error:
        pulumi.log.warn(
            f"{file} could not be brought up to date ({error}): before the next update from here, run "
            f"{bluegreen('sync-config', stack=change.stack)}"
        )


def _is_asked(desired: Deployment, config: Mapping[str, Any]) -> bool:
    """Whether a stack's file asks for this, and so is the one that the config was taken from."""
    traffic = all(
        str(config.get(f"{PROJECT}:{key}") or usual) == str(desired.traffic[key])
        for key, usual in Deployment().traffic.items()
    )
    held = {color: config.get(f"{PROJECT}:{color}") or {} for color in Color}
    releases = {color: str(each.get("release") or "") for color, each in held.items()}
    return traffic and releases == {color: each.version for color, each in desired.colors.items()}


async def change(settings: Settings, context: StackContext) -> Change:
    """What this run would change of what users get; AWS is asked only where a fleet would go."""
    last, desired = await last_deployment(), settings.deployment(context.account)
    refusal = deployments.refusal(context.stack, last, desired, os.environ)
    if refusal is None and last.serves and desired.serves and deployments.outgoing(last, desired):
        refusal = await asyncio.to_thread(_lost_traffic, context, last, desired)
    return Change(stack=context.stack, last=last, desired=desired, refusal=refusal or "")


async def last_deployment() -> Deployment:
    """What the stack's last update left, from its own outputs: a failed update leaves them as they were."""
    name = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    own = pulumi.StackReference("last-update", stack_name=name)
    found = {key: (await own.get_output_details(key)).value for key in deployments.OUTPUTS}
    return Deployment.from_outputs(found)


def _lost_traffic(context: StackContext, last: Deployment, desired: Deployment) -> str | None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return lost_traffic(context.stack, sessions(context.region), last, desired)
    except (BotoCoreError, ClientError) as error:
        unknown = f"AWS does not say which color has the traffic, so that no fleet can be replaced or deleted: {error}"
        if not pulumi.runtime.is_dry_run():
            return unknown
        pulumi.log.warn(unknown)
        return None


def zone_ranges(settings: NetworkSettings) -> dict[str, ZoneRanges]:
    """Ranges by zone: given by hand, or planned for the named zones, or for the region's first ones."""
    if settings.subnet_cidrs:
        return dict(settings.subnet_cidrs)
    return plan(settings.vpc_cidr, settings.zones or _first_zones(settings.zone_count))


def _first_zones(count: int) -> list[str]:
    # Local and wavelength zones take no load balancer, and must be opted in.
    usual = aws.GetAvailabilityZonesFilterArgs(name="opt-in-status", values=["opt-in-not-required"])
    names = sorted(aws.get_availability_zones(state="available", filters=[usual]).names)
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


def by_tags(settings: Settings, artifacts: ArtifactBucket, alerts: Alerts) -> dict[str, pulumi.Input[str]]:
    """Where scripts find the rest of the stack when its state can't be read."""
    url = settings.load_balancer.own_url
    return {
        BUCKET_TAG: artifacts.bucket,
        TOPIC_TAG: alerts.topic.arn,
        **({ADDRESS_TAG: url} if url else {}),
    }


def dns_name(settings: Settings, balancer: LoadBalancer) -> DnsName | None:
    if not settings.load_balancer.hosted_zone_id:
        return None
    own = settings.load_balancer
    return DnsName("domain", own, balancer_dns_name=balancer.dns_name, balancer_zone_id=balancer.zone_id)


def vpn(settings: Settings, context: StackContext, network: Network, alerts: Alerts) -> Vpn | None:
    if settings.vpn is None:
        return None
    args = VpnArgs(
        vpc_id=network.vpc_id,
        subnet_ids=network.machine_subnet_ids,
        tables={zone: table.id for zone, table in network.machine_tables.items()},
        topic_arn=alerts.topic.arn,
    )
    return Vpn("vpn", context, settings.vpn, settings.logs, args)


def watch(
    settings: Settings, context: StackContext, alerts: Alerts, targets: Mapping[Color, Targets], balancer: LoadBalancer
) -> Watch:
    """Of both colors always, so that no deploy and no cutover changes what says that a release is bad."""
    suffix, topic_arn = balancer.arn_suffix, alerts.topic.arn
    groups = {color: target.arn_suffix for color, target in targets.items()}
    colors = {
        color: ColorAlarms(
            f"{color}-alarms",
            context,
            settings.alarms,
            color,
            balancer=suffix,
            target_group=groups[color],
            topic_arn=topic_arn,
        )
        for color in Color
    }
    of_balancer = BalancerAlarm("web-alarms", context, settings.alarms, balancer=suffix, topic_arn=topic_arn)
    # Only colors that have a release are to have instances.
    of_machines = [
        MachinesAlarm(
            f"{color}-capacity",
            context,
            color,
            own,
            settings.app,
            balancer=suffix,
            target_group=groups[color],
            topic_arn=topic_arn,
        )
        for color, own in settings.colors.items()
        if own.is_on
    ]
    arns = [*(each.arn for each in colors.values()), of_balancer.arn, *(each.arn for each in of_machines)]
    dashboard = Dashboard(
        "dashboard", context, settings.alarms, settings.colors, balancer=suffix, target_groups=groups, alarms=arns
    )
    return Watch(colors=colors, balancer=of_balancer, dashboard=dashboard)


def sessions(region: str) -> Callable[[], Any]:
    """Makes boto3 sessions, when a hook needs one."""

    def session() -> Any:
        import boto3  # 0.2 s that an unchanged program need not pay

        return boto3.Session(region_name=region)

    return session


def fleets(
    settings: Settings, context: StackContext, shared: Shared, targets: Mapping[Color, Targets]
) -> dict[Color, Fleet]:
    """The instances of each color that has a release."""
    made = sessions(context.region)
    # What keeps the release of the color that serves, and what waits for the instances of a new group.
    seconds = max(MIN_ARRIVAL_S, settings.app.boot_timeout + LAUNCH_RESERVE_S)
    hooks = FleetHooks(guard=release_guard(context.stack, made), arrival=arrival(made, seconds))
    return {
        color: Fleet(
            f"{color}-fleet",
            context,
            color,
            own,
            settings.app,
            settings.instances,
            FleetArgs(
                user_data=_user_data(settings, context, color, shared),
                target_group_arn=targets[color].arn,
                subnet_ids=shared.network.machine_subnet_ids,
                security_group_id=shared.access.security_group_id,
                profile_arn=shared.role.profile_arn,
                hooks=hooks,
                preview_rules=list(shared.balancer.preview_rules.values()),
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
    change: Change,
    balancer: LoadBalancer,
    targets: Mapping[Color, Targets],
    fleets: Mapping[Color, Fleet],
    dns: DnsName | None,
) -> LiveRule | None:
    """None before the first release: the listener's own answer is all there is to say."""
    gate = GateArgs(
        recorded=change.recorded(os.environ),
        stack=context.stack,
        region=context.region,
        colors=settings.colors,
        health_path=settings.app.health_path,
        base_url=settings.load_balancer.own_url,
    )
    hooks = live_rule_hooks(gate)
    if not change.desired.serves:
        return None
    args = LiveRuleArgs(
        listener_arn=balancer.listener_arn,
        target_groups=arns(targets),
        weights=change.desired.weights,
        judged_by=[*(fleet.group for fleet in fleets.values()), *([dns.record] if dns else [])],
        gates=hooks,
    )
    return LiveRule("live", context, args)


def outputs(
    settings: Settings,
    context: StackContext,
    change: Change,
    shared: Shared,
    targets: Mapping[Color, Targets],
    fleets: Mapping[Color, Fleet],
    live_rule: LiveRule | None,
    vpn: Vpn | None,
    watch: Watch,
    archive: LogArchive | None,
) -> dict[str, Any]:
    """What scripts and people ask a stack for."""
    balancer, address = shared.balancer, settings.load_balancer
    return {
        **change.desired.traffic,
        "revision": change.revision,
        "committed": change.committed,
        "account": context.account,
        "url": address.own_url or balancer.dns_name.apply(address.url_of),
        "loadBalancerArn": balancer.arn,
        "loadBalancerArnSuffix": balancer.arn_suffix,
        "loadBalancerDnsName": balancer.dns_name,
        "loadBalancerAlarm": watch.balancer.name,
        "previewHeader": PREVIEW_HEADER,
        "previewToken": balancer.preview_token,
        "artifactsBucket": shared.artifacts.bucket,
        "alertsTopicArn": shared.alerts.topic.arn,
        "dashboard": watch.dashboard.name,
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
                "alarm": watch.colors[color].name,
                "asgName": fleets[color].group_name if color in fleets else "",
                "launchTemplateId": fleets[color].launch_template_id if color in fleets else "",
            }
            for color in Color
        },
        "liveRuleArn": live_rule.arn if live_rule else "",
        "vpcId": shared.network.vpc_id,
        "instanceSubnetIds": shared.network.machine_subnet_ids,
        "instanceSecurityGroupId": shared.access.security_group_id,
        **_vpn_output(settings, vpn),
    }


def _vpn_output(settings: Settings, vpn: Vpn | None) -> dict[str, Any]:
    """What the remote end is made of, without the keys; nothing without a VPN."""
    if vpn is None or settings.vpn is None:
        return {}
    told = {
        "connectionId": vpn.connection_id,
        "customerGatewayId": vpn.customer_gateway_id,
        "tunnelAddresses": vpn.tunnel_addresses,
        "insideCidrs": list(settings.vpn.inside_cidrs),
        "officeCidrs": list(settings.vpn.remote_cidrs),
        "vpcCidr": settings.network.vpc_cidr,
        "routing": settings.vpn.routing.value,
        "officeAsn": settings.vpn.bgp_asn,
        "amazonAsn": settings.vpn.amazon_asn,
    }
    return {"vpn": told}


def arns(targets: Mapping[Color, Targets]) -> dict[Color, pulumi.Input[str]]:
    return {color: target.arn for color, target in targets.items()}

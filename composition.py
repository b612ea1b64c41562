"""What each component gets from the settings and from the others; `__main__.py` puts them in order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws

from alert_settings import without_subscribers
from checks import deployments
from checks.colors import Color
from checks.deployments import Change, Deployment
from checks.fleet import ADDRESS_TAG, BUCKET_TAG, TOPIC_TAG
from checks.gates import GateArgs, arrival, lost_traffic, release_guard
from checks.hints import bluegreen
from components.alerts import Alerts, AlertsArgs
from components.artifact_bucket import ArtifactBucket, ArtifactBucketArgs
from components.balancer_alarm import BalancerAlarm, BalancerAlarmArgs
from components.base_image import BaseImage, BaseImageArgs
from components.cidr_plan import ZoneRanges, plan
from components.color import DRAIN_RESERVE, Fleet, FleetArgs, FleetHooks, Targets, TargetsArgs
from components.color_alarms import ColorAlarms, ColorAlarmsArgs
from components.dashboard import Dashboard, DashboardArgs
from components.dns_name import DnsName, DnsNameArgs
from components.instance_role import InstanceRole, InstanceRoleArgs
from components.live_rule import LiveRule, LiveRuleArgs
from components.load_balancer import PREVIEW_HEADER, LoadBalancer, LoadBalancerArgs
from components.log_archive import LogArchive, LogArchiveArgs
from components.logs import Logs, LogsArgs
from components.machine_access import MachineAccess, MachineAccessArgs
from components.machine_events import MachineEventsArgs
from components.machines_alarm import MachinesAlarm, MachinesAlarmArgs
from components.network import Network, NetworkArgs
from components.policy_documents import Place
from components.user_data import LogGroups, UserData
from components.vpn import Vpn, VpnArgs
from scripts.stack_file import StackFileError, read_config, write_config
from settings import NAMESPACE, Settings

USUAL_PORT = 80
# Seconds that the machines of a new group get at least, and for AWS to start them before their boot timeout begins.
LEAST_ARRIVAL_S, LAUNCH_RESERVE_S = 600.0, 300.0


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What both colors use."""

    network: Network
    role: InstanceRole
    alerts: Alerts
    logs: Logs
    base_image: BaseImage | None
    access: MachineAccess


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What watches the colors and the load balancer before them."""

    colors: Mapping[Color, ColorAlarms]
    balancer: BalancerAlarm
    dashboard: Dashboard


def warn(settings: Settings) -> None:
    if settings.notifies_nobody:
        pulumi.log.warn(without_subscribers(settings.stack))


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
        write_config(file, {f"{NAMESPACE}:revision": revision})
    except StackFileError as error:
        pulumi.log.warn(
            f"{file} could not be brought up to date ({error}): before the next update from here, run "
            f"{bluegreen('sync-config', stack=change.stack)}"
        )


def _is_asked(desired: Deployment, config: Mapping[str, Any]) -> bool:
    """Whether a stack's file asks for this, and so is the one that the config was taken from."""
    found: dict[str, Any] = {key: config.get(f"{NAMESPACE}:{key}") for key in ("activeColor", "canaryPercent", *Color)}
    releases = {color: str((found[color] or {}).get("release") or "") for color in Color}
    return (
        releases == {color: held.release for color, held in desired.colors.items()}
        and (found["activeColor"] or Color.BLUE) == desired.active
        and int(found["canaryPercent"] or 0) == desired.canary_percent
    )


async def change(settings: Settings, place: Place) -> Change:
    """What this run would change of what users get; AWS is asked only where a fleet would go."""
    last, desired = await last_deployment(), settings.deployment(place.account)
    refusal = deployments.refusal(settings.stack, last, desired, os.environ)
    if refusal is None and last.serves and desired.serves and deployments.outgoing(last, desired):
        refusal = await asyncio.to_thread(_lost_traffic, settings, last, desired)
    return Change(stack=settings.stack, last=last, desired=desired, refusal=refusal or "")


async def last_deployment() -> Deployment:
    """What the stack's last update left, from its own outputs: a failed update leaves them as they were."""
    name = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    own = pulumi.StackReference("last-update", stack_name=name)
    found = {key: (await own.get_output_details(key)).value for key in deployments.OUTPUTS}
    return Deployment.from_outputs(found)


def _lost_traffic(settings: Settings, last: Deployment, desired: Deployment) -> str | None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return lost_traffic(settings.stack, sessions(settings), last, desired)
    except (BotoCoreError, ClientError) as error:
        unknown = f"AWS does not say which color has the traffic, so that no fleet can be replaced or deleted: {error}"
        if not pulumi.runtime.is_dry_run():
            return unknown
        pulumi.log.warn(unknown)
        return None


def place(settings: Settings) -> Place:
    account = aws.get_caller_identity().account_id
    return Place(partition=aws.get_partition().partition, region=settings.region, account=account, stack=settings.stack)


def zone_ranges(settings: Settings) -> dict[str, ZoneRanges]:
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


def network(settings: Settings) -> NetworkArgs:
    return NetworkArgs(
        stack=settings.stack,
        region=settings.region,
        vpc_cidr=settings.vpc_cidr,
        ranges=zone_ranges(settings),
        nat_gateways=settings.nat_gateways,
        flow_logs=settings.flow_logs,
        log_retention_days=settings.log_retention_days,
        boundary=settings.permissions_boundary,
        protect=settings.protect,
    )


def artifact_bucket(settings: Settings, place: Place) -> ArtifactBucketArgs:
    return ArtifactBucketArgs(
        stack=settings.stack,
        account=place.account,
        access_logs=settings.access_logs,
        force_destroy=settings.force_destroy,
        protect=settings.protect,
    )


def alerts(settings: Settings, place: Place) -> AlertsArgs:
    return AlertsArgs(place=place, emails=settings.alert_emails, webhooks=settings.alert_webhooks)


def machine_events(settings: Settings, place: Place, alerts: Alerts) -> MachineEventsArgs:
    return MachineEventsArgs(
        place=place, topic_arn=alerts.topic_arn, key_arn=alerts.key_arn, boundary=settings.permissions_boundary
    )


def logs(settings: Settings) -> LogsArgs:
    return LogsArgs(stack=settings.stack, retention_days=settings.log_retention_days)


def log_archive(settings: Settings, place: Place, logs: Logs, alerts: Alerts) -> LogArchive | None:
    if not settings.log_archive_days:
        return None
    args = LogArchiveArgs(
        place=place,
        groups=logs.groups,
        days=settings.log_archive_days,
        topic_arn=alerts.topic_arn,
        boundary=settings.permissions_boundary,
        force_destroy=settings.force_destroy,
        protect=settings.protect,
    )
    return LogArchive("log-archive", args)


def base_image(settings: Settings) -> BaseImage | None:
    if not settings.base_image:
        return None
    return BaseImage("base", BaseImageArgs(stack=settings.stack, source=settings.base_image))


def instance_role(
    settings: Settings, place: Place, artifacts: ArtifactBucket, alerts: Alerts, base_image: BaseImage | None
) -> InstanceRoleArgs:
    return InstanceRoleArgs(
        place=place,
        bucket_arn=artifacts.arn,
        topic_arn=alerts.topic_arn,
        key_arn=alerts.key_arn,
        repository_arn=base_image.repository_arn if base_image else None,
        boundary=settings.permissions_boundary,
    )


def targets(settings: Settings, network: Network) -> dict[Color, Targets]:
    return {
        color: Targets(
            color,
            TargetsArgs(
                stack=settings.stack,
                color=color,
                vpc_id=network.vpc_id,
                port=settings.container_port,
                health_path=settings.health_path,
                health_check_interval=settings.health_check_interval,
                deregistration_delay=settings.deregistration_delay,
            ),
        )
        for color in Color
    }


def load_balancer(
    settings: Settings,
    network: Network,
    artifacts: ArtifactBucket,
    alerts: Alerts,
    targets: Mapping[Color, Targets],
) -> LoadBalancerArgs:
    address = _own_address(settings)
    return LoadBalancerArgs(
        stack=settings.stack,
        vpc_id=network.vpc_id,
        subnet_ids=network.public_subnet_ids,
        target_groups=_arns(targets),
        ingress_cidrs=settings.ingress_cidrs,
        http_port=settings.http_port,
        certificate_arn=settings.certificate_arn,
        access_logs=settings.access_logs,
        log_bucket=artifacts.log_bucket,
        tags={
            BUCKET_TAG: artifacts.bucket,
            TOPIC_TAG: alerts.topic_arn,
            **({ADDRESS_TAG: address} if address else {}),
        },
        protect=settings.protect,
    )


def machine_access(settings: Settings, network: Network, balancer: LoadBalancer) -> MachineAccessArgs:
    return MachineAccessArgs(
        stack=settings.stack,
        vpc_id=network.vpc_id,
        balancer_group_id=balancer.security_group_id,
        port=settings.container_port,
        office_cidrs=settings.vpn.office_cidrs if settings.vpn else (),
        office_allows=settings.vpn.allow if settings.vpn else (),
    )


def vpn(settings: Settings, network: Network, alerts: Alerts) -> Vpn | None:
    if settings.vpn is None:
        return None
    args = VpnArgs(
        stack=settings.stack,
        options=settings.vpn,
        vpc_id=network.vpc_id,
        subnet_ids=network.machine_subnet_ids,
        tables={zone: table.id for zone, table in network.machine_tables.items()},
        preshared_keys=[pulumi.Output.secret(key) for key in settings.vpn.preshared_keys],
        topic_arn=alerts.topic_arn,
        log_retention_days=settings.log_retention_days,
        protect=settings.protect,
    )
    return Vpn("vpn", args)


def dns_name(settings: Settings, balancer: LoadBalancer) -> DnsName | None:
    if not settings.hosted_zone_id:
        return None
    args = DnsNameArgs(
        domain=settings.domain,
        hosted_zone_id=settings.hosted_zone_id,
        balancer_dns_name=balancer.dns_name,
        balancer_zone_id=balancer.zone_id,
    )
    return DnsName("domain", args)


def watch(settings: Settings, alerts: Alerts, targets: Mapping[Color, Targets], balancer: LoadBalancer) -> Watch:
    """Of both colors always, so that no delivery and no cutover changes what says that a release is bad."""
    colors = {
        color: ColorAlarms(
            f"{color}-alarms",
            ColorAlarmsArgs(
                stack=settings.stack,
                color=color,
                options=settings.alarms,
                balancer=balancer.arn_suffix,
                target_group=targets[color].arn_suffix,
                topic_arn=alerts.topic_arn,
            ),
        )
        for color in Color
    }
    of_balancer = BalancerAlarm(
        "web-alarms",
        BalancerAlarmArgs(
            stack=settings.stack,
            options=settings.alarms,
            balancer=balancer.arn_suffix,
            topic_arn=alerts.topic_arn,
        ),
    )
    of_machines = _machines_alarms(settings, alerts, targets, balancer)
    arns = [*(each.arn for each in colors.values()), of_balancer.arn, *(each.arn for each in of_machines)]
    dashboard = Dashboard("dashboard", _dashboard(settings, targets, balancer, arns))
    return Watch(colors=colors, balancer=of_balancer, dashboard=dashboard)


def _machines_alarms(
    settings: Settings, alerts: Alerts, targets: Mapping[Color, Targets], balancer: LoadBalancer
) -> list[MachinesAlarm]:
    """Of the colors that have a release, as only they are to have machines."""
    return [
        MachinesAlarm(
            f"{color}-capacity",
            MachinesAlarmArgs(
                stack=settings.stack,
                color=color,
                least=own.min_size,
                replacing=settings.drain_timeout + DRAIN_RESERVE + settings.boot_timeout,
                balancer=balancer.arn_suffix,
                target_group=targets[color].arn_suffix,
                topic_arn=alerts.topic_arn,
            ),
        )
        for color, own in settings.colors.items()
        if own.is_on
    ]


def _dashboard(
    settings: Settings,
    targets: Mapping[Color, Targets],
    balancer: LoadBalancer,
    alarms: Sequence[pulumi.Output[str]],
) -> DashboardArgs:
    return DashboardArgs(
        stack=settings.stack,
        region=settings.region,
        options=settings.alarms,
        releases={color: own.release for color, own in settings.colors.items()},
        balancer=balancer.arn_suffix,
        target_groups={color: group.arn_suffix for color, group in targets.items()},
        alarms=alarms,
    )


def sessions(settings: Settings) -> Callable[[], Any]:
    """Makes boto3 sessions for the stack's region, when a hook needs one."""

    def session() -> Any:
        import boto3  # 0.2 s that an unchanged program need not pay

        return boto3.Session(region_name=settings.region)

    return session


def fleet_hooks(settings: Settings) -> FleetHooks:
    """What keeps the release of the color that serves, and what waits for the machines of a new group."""
    made = sessions(settings)
    seconds = max(LEAST_ARRIVAL_S, settings.boot_timeout + LAUNCH_RESERVE_S)
    return FleetHooks(guard=release_guard(settings.stack, made), arrival=arrival(made, seconds))


def fleets(
    settings: Settings,
    shared: Shared,
    targets: Mapping[Color, Targets],
    balancer: LoadBalancer,
    hooks: FleetHooks,
) -> dict[Color, Fleet]:
    """The machines of each color that has a release."""
    return {
        color: Fleet(f"{color}-fleet", _fleet(settings, color, shared, targets[color], balancer, hooks))
        for color in Color
        if settings.colors[color].is_on
    }


def _fleet(
    settings: Settings,
    color: Color,
    shared: Shared,
    targets: Targets,
    balancer: LoadBalancer,
    hooks: FleetHooks,
) -> FleetArgs:
    own = settings.colors[color]
    return FleetArgs(
        stack=settings.stack,
        color=color,
        common_tags=dict(sorted(settings.default_tags.items())),  # engines read config in different orders
        release=own.release,
        release_url=own.release_url,
        ami_id=own.ami_id,
        min_size=own.min_size,
        max_size=own.max_size,
        user_data=_user_data(settings, color, shared),
        target_group_arn=targets.arn,
        subnet_ids=shared.network.machine_subnet_ids,
        security_group_id=shared.access.security_group_id,
        profile_arn=shared.role.profile_arn,
        instance_type=settings.instance_type,
        root_volume_gib=settings.root_volume_gib,
        boot_timeout=settings.boot_timeout,
        drain_timeout=settings.drain_timeout,
        target_cpu_percent=settings.target_cpu_percent,
        hooks=hooks,
        preview_rules=list(balancer.preview_rules.values()),
    )


def parameter_path(settings: Settings) -> str:
    """Below it, each parameter's name is an environment variable of the app."""
    return f"/bluegreen/{settings.stack}/app/"


def _user_data(settings: Settings, color: Color, shared: Shared) -> pulumi.Output[UserData]:
    own = settings.colors[color]

    def data(topic_arn: str, log_groups: LogGroups, base_image: str) -> UserData:
        return UserData(
            stack=settings.stack,
            color=color,
            release=own.release,
            release_url=own.release_url,
            sha256=own.sha256,
            port=settings.container_port,
            health_path=settings.health_path,
            parameter_path=parameter_path(settings),
            boot_timeout=settings.boot_timeout,
            drain_timeout=settings.drain_timeout,
            alerts_topic_arn=topic_arn,
            log_groups=log_groups,
            base_image=base_image,
        )

    known = pulumi.Output.all(shared.alerts.topic_arn, shared.logs.groups, _reference(shared.base_image))
    return known.apply(lambda values: data(*values))


def gate(settings: Settings, change: Change) -> GateArgs:
    return GateArgs(
        recorded=change.recorded(os.environ),
        stack=settings.stack,
        region=settings.region,
        releases={color: own.release for color, own in settings.colors.items()},
        min_sizes={color: own.min_size for color, own in settings.colors.items()},
        health_path=settings.health_path,
        base_url=_own_address(settings),
    )


def live_rule(
    settings: Settings,
    balancer: LoadBalancer,
    targets: Mapping[Color, Targets],
    fleets: Mapping[Color, Fleet],
    dns: DnsName | None,
    gates: pulumi.ResourceHookBinding,
) -> LiveRule | None:
    """None before the first release: the listener's own answer is all there is to say."""
    if not settings.serves:
        return None
    args = LiveRuleArgs(
        stack=settings.stack,
        listener_arn=balancer.listener_arn,
        target_groups=_arns(targets),
        weights=settings.weights,
        judged_by=[*(fleet.group for fleet in fleets.values()), *([dns.record] if dns else [])],
        gates=gates,
    )
    return LiveRule("live", args)


def outputs(
    settings: Settings,
    change: Change,
    shared: Shared,
    artifacts: ArtifactBucket,
    balancer: LoadBalancer,
    targets: Mapping[Color, Targets],
    fleets: Mapping[Color, Fleet],
    live_rule: LiveRule | None,
    vpn: Vpn | None,
    watch: Watch,
    archive: LogArchive | None,
) -> dict[str, Any]:
    """What scripts and people ask a stack for."""
    return {
        "activeColor": settings.active_color.value,
        "canaryPercent": settings.canary_percent,
        "revision": change.revision,
        "committed": change.committed,
        "account": change.desired.account,
        "url": _own_address(settings) or balancer.dns_name.apply(lambda name: _plain_address(settings, name)),
        "loadBalancerDnsName": balancer.dns_name,
        "previewHeader": PREVIEW_HEADER,
        "previewToken": balancer.preview_token,
        "artifactsBucket": artifacts.bucket,
        "alertsTopicArn": shared.alerts.topic_arn,
        "balancerAlarm": watch.balancer.name,
        "dashboard": watch.dashboard.name,
        "logArchiveBucket": archive.bucket if archive else "",
        "parameterPath": parameter_path(settings),
        "healthPath": settings.health_path,
        "region": settings.region,
        "baseImage": _reference(shared.base_image),
        "colors": {color.value: _color_output(settings, color, targets, fleets, watch) for color in Color},
        "liveRuleArn": live_rule.arn if live_rule else "",
        "vpcId": shared.network.vpc_id,
        "instanceSubnetIds": shared.network.machine_subnet_ids,
        "instanceSecurityGroupId": shared.access.security_group_id,
        **_vpn_output(settings, vpn),
    }


def _vpn_output(settings: Settings, vpn: Vpn | None) -> dict[str, Any]:
    """What the office's end is made of, without the keys; nothing without a VPN."""
    if vpn is None or settings.vpn is None:
        return {}
    told = {
        "connectionId": vpn.connection_id,
        "customerGatewayId": vpn.customer_gateway_id,
        "tunnelAddresses": vpn.tunnel_addresses,
        "insideCidrs": list(settings.vpn.inside_cidrs),
        "officeCidrs": list(settings.vpn.office_cidrs),
        "vpcCidr": settings.vpc_cidr,
        "routing": settings.vpn.routing.value,
        "officeAsn": settings.vpn.bgp_asn,
        "amazonAsn": settings.vpn.amazon_asn,
    }
    return {"vpn": told}


def _color_output(
    settings: Settings, color: Color, targets: Mapping[Color, Targets], fleets: Mapping[Color, Fleet], watch: Watch
) -> dict[str, Any]:
    own, fleet = settings.colors[color], fleets.get(color)
    return {
        "release": own.release,
        "releaseUrl": own.release_url,
        "sha256": own.sha256,
        "amiId": own.ami_id,
        "targetGroupArn": targets[color].arn,
        "alarm": watch.colors[color].name,
        "asgName": fleet.group_name if fleet else "",
        "launchTemplateId": fleet.launch_template_id if fleet else "",
    }


def _own_address(settings: Settings) -> str:
    """The address by name where there is one; else the load balancer's own has to do, known only when it exists."""
    if not settings.domain:
        return ""
    return f"https://{settings.domain}" if settings.certificate_arn else _plain_address(settings, settings.domain)


def _plain_address(settings: Settings, host: str) -> str:
    scheme = "https" if settings.certificate_arn else "http"
    port = "" if settings.certificate_arn or settings.http_port == USUAL_PORT else f":{settings.http_port}"
    return f"{scheme}://{host}{port}"


def _arns(targets: Mapping[Color, Targets]) -> dict[Color, pulumi.Input[str]]:
    return {color: group.arn for color, group in targets.items()}


def _reference(base_image: BaseImage | None) -> pulumi.Input[str]:
    return base_image.reference if base_image else ""

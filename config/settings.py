"""Settings of a stack: its config as nested frozen objects, which are the components' arguments.

A setting is a field: its type is the rule, its key in the config the field's name in camel case. `python -m
config.reference` writes Pulumi.yaml's config section and docs/reference/config.md from here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import Field

from ami.boot.user_data import HEALTH_PATH, HEALTH_PATH_ALLOWED, MAX_BOOT, MAX_DRAIN, MIN_BOOT, App
from components.cidr_plan import MAX_ZONES, ZoneRanges, slot_of, subnet_problems, vpc_problem
from config.alerts import AlarmSettings, AlertSettings
from config.colors import ColorSettings, color_problems
from config.context import PROJECT, StackContext
from config.errors import SettingsError, refuse
from config.reader import Reader, own_keys
from config.values import (
    Checked,
    Choice,
    Entries,
    Flag,
    Mapped,
    Model,
    OneOf,
    Ranges,
    Region,
    Text,
    ValueRule,
    WholeNumber,
    from_json,
    is_text,
)
from config.vpn import VpnSettings, vpn_problems
from fleet.colors import Color
from fleet.deployments import DIGITS, Deployment

MIN_ZONES = 2  # an Application Load Balancer takes subnets of two zones at least
MAX_CANARY = 99  # percent; 100 would be a cutover, which has its own gates
HTTP_PORT, HTTPS_PORT = 80, 443
# What CloudWatch Logs takes as a retention, in days (PutRetentionPolicy).
RETENTION_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip
MAX_ARCHIVE = 3653  # days, as the longest retention
MAX_STACK = 40

# ECR repositories take lower-case names only, with single separators inside. No color in it: Auto Scaling groups of a
# stack dev-blue would have the same name prefix as those of dev's blue.
STACK = re.compile(rf"(?=.{{1,{MAX_STACK}}}$)(?!.*-(blue|green)(-|$))[a-z0-9]+([-_][a-z0-9]+)*")
STACK_ALLOWED = f"a-z, 0-9, and single - or _ inside, at most {MAX_STACK}, without -blue or -green"
IMAGE_BY_DIGEST = re.compile(r"[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}")
CERTIFICATE = re.compile(r"arn:aws[a-z-]*:acm:(?P<region>[a-z0-9-]+):\d{12}:certificate/[0-9A-Za-z-]+")
DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
HOSTED_ZONE = re.compile(r"Z[A-Z0-9]{1,31}")
BOUNDARY = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy/[\w+=,.@/-]{1,512}")
# Written by the program and by `bluegreen sync-config` (fleet/deployments.py).
REVISION = re.compile(rf"[0-9a-f]{{{DIGITS}}}(/[0-9a-f]{{{DIGITS}}})?")
TAG = re.compile(r"[0-9A-Za-z+=.,_:@-]{1,128}")
INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")


class _Tags(ValueRule):
    """The tags in the provider's defaultTags."""

    description = "an object with tags, an object of strings"

    def read(self, value: Any) -> dict[str, str]:
        raw = value or {}
        tags = (raw.get("tags") or {}) if isinstance(raw, dict) else None
        if not isinstance(tags, dict) or not all(isinstance(text, str) for text in tags.values()):
            raise self.refusal(value)
        # Instances read their tags from the metadata service, and start with no other names.
        for tag in tags:
            Text(TAG, "a tag's name of letters, digits and + - = . , _ : @").read(tag)
        return tags


class _Subnets(Mapped):
    """Configured ranges by zone."""

    def read(self, value: Any) -> dict[str, ZoneRanges]:
        return {
            zone: ZoneRanges(**{kind: str(text) for kind, text in x.items()}) for zone, x in super().read(value).items()
        }


def _is_pair_of_ranges(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"public", "private"}


class StackSettings(Model):
    """Settings of the entire stack."""

    name: Annotated[str, Text(STACK, STACK_ALLOWED)] = Field(default="", validation_alias="stack")
    region: Region = Field(default="", validation_alias="aws:region")
    tags: Annotated[Mapping[str, str], _Tags()] = Field(default_factory=dict, validation_alias="aws:defaultTags")
    boundary: Annotated[str, Text(BOUNDARY, "the ARN of an IAM policy", optional=True)] = Field(
        default="", validation_alias="permissionsBoundary"
    )
    """ARN of the permissions boundary of every role of the stack. A CI role of bootstrap/ may create no others. Empty
    sets none."""
    protect: Flag = False
    """Whether VPC, buckets and load balancer are protected from deletion."""
    force_destroy: Flag = False
    """Whether `pulumi destroy` may delete buckets that hold objects."""

    def context(self, account: str, partition: str) -> StackContext:
        return StackContext(
            stack=self.name,
            region=self.region,
            account=account,
            partition=partition,
            boundary=self.boundary,
            protect=self.protect,
            force_destroy=self.force_destroy,
            tags=dict(sorted(self.tags.items())),  # engines read config in different orders
        )


class DeploymentSettings(Model):
    """The live color and the canary, and what deploys wrote so that an update by an older config is refused."""

    active_color: Annotated[Color, Choice(Color)] = Color.BLUE
    """The live color, blue or green. Changing it and `pulumi up` is the cutover."""
    canary_percent: Annotated[int, WholeNumber(0, MAX_CANARY)] = 0
    """Percentage of the traffic sent to the idle color, 0 to 99; all of it is a change of activeColor."""
    revision: Annotated[
        str, Text(REVISION, "what the program wrote; `bluegreen sync-config` updates it", optional=True)
    ] = ""
    """The stack's revision that this config is based on. Written by the program and by `bluegreen sync-config`, never
    manually: an update by older config that would change traffic or a live release is refused."""
    committed: Annotated[
        Mapping[str, str], Mapped(is_text, "what `bluegreen sync-config --git` wrote, an object of strings")
    ] = Field(default_factory=dict)
    """The values of the stack's own keys in Git when CI last applied a commit. Written by `bluegreen sync-config
    --git`."""


class NetworkSettings(Model):
    """The VPC, its zones and NAT gateways. Without `zones` the region's first `zone_count` are used."""

    vpc_cidr: Annotated[str, Checked(vpc_problem)] = "10.20.0.0/16"
    """Range of the VPC, /16 to /24, of which each subnet gets a sixteenth."""
    zones: Annotated[
        tuple[str, ...],
        Entries(Text(lambda zone: slot_of(zone) is not None, "a zone's name, which ends in a letter from a to h")),
    ] = ()
    """Names of the availability zones, 2 to 8. Empty uses the first zoneCount of the region."""
    zone_count: Annotated[int, WholeNumber(MIN_ZONES, MAX_ZONES)] = MIN_ZONES
    """Number of availability zones, 2 to 8, while zones is empty."""
    subnet_cidrs: Annotated[
        Mapping[str, ZoneRanges],
        _Subnets(_is_pair_of_ranges, "an object with an object of public and private for each zone"),
    ] = Field(default_factory=dict)
    """Your own ranges instead of the planned ones: for each of zones, an object with public and private."""
    nat_gateways: Annotated[str, Choice(("none", "single", "per-zone"))] = "single"
    """none, single or per-zone. With none, instances get public addresses in the public subnets, closed to all but
    the load balancer."""
    flow_logs: Flag = True
    """Whether the VPC's flow logs are written to a log group."""


class LogSettings(Model):
    """Retention in days: of log groups, and of the log archive (0 for none)."""

    retention_days: Annotated[int, OneOf(RETENTION_DAYS)] = Field(default=30, validation_alias="logRetentionDays")
    """Retention of log groups, in days that CloudWatch allows."""
    archive_days: Annotated[int, WholeNumber(0, MAX_ARCHIVE)] = Field(default=0, validation_alias="logArchiveDays")
    """Retention of an archive of the app, boot and system logs in a bucket, in days, longer than the log groups'. 0
    creates no archive."""


class InstanceSettings(Model):
    """Instance type, root volume, autoscaling target, and the base image of the releases."""

    type: Annotated[str, Text(INSTANCE_TYPE, "an instance type, such as t3.small")] = Field(
        default="t3.small", validation_alias="instanceType"
    )
    """Type of the instances."""
    root_volume_gib: Annotated[int, WholeNumber(8, 1024)] = Field(default=16, validation_alias="rootVolumeGiB")
    """Size of an instance's encrypted root volume in GiB, 8 to 1024."""
    target_cpu_percent: Annotated[int, WholeNumber(10, 90)] = 60
    """Mean CPU utilization in percent that autoscaling targets, 10 to 90."""
    base_image: Annotated[str, Text(IMAGE_BY_DIGEST, "name@sha256:<64 hexadecimal digits>", optional=True)] = ""
    """Image by digest (name@sha256:…) that is mirrored into the account's ECR by the Docker of whoever runs `pulumi
    up`, so that builds at boot need no public registry. Empty mirrors none."""


class AppSettings(Model):
    """The app's port, health checks and timeouts, in seconds."""

    health_path: Annotated[str, Text(HEALTH_PATH, HEALTH_PATH_ALLOWED)] = "/health"
    """Path that returns 200 when the app is healthy, and with ?deep=1 also checks its dependencies."""
    port: Annotated[int, WholeNumber(1, 65535)] = Field(default=8080, validation_alias="containerPort")
    """Port of the app on an instance. It can't be changed while a release is live."""
    health_check_interval: Annotated[int, WholeNumber(5, 300)] = 5
    """Seconds between two health checks of an instance, 5 to 300."""
    deregistration_delay: Annotated[int, WholeNumber(0, 3600)] = 30
    """Seconds that an instance gets to finish its requests before it is terminated, 0 to 3600."""
    drain_timeout: Annotated[int, WholeNumber(0, MAX_DRAIN)] = 30
    """Seconds that the app gets between SIGTERM and SIGKILL, 0 to 900."""
    boot_timeout: Annotated[int, WholeNumber(MIN_BOOT, MAX_BOOT)] = 300
    """Seconds within which an instance must be ready, 60 to 1740, or it is replaced."""

    @property
    def on_instance(self) -> App:
        """The part that goes into the instances' user data."""
        return App(**{name: getattr(self, name) for name in App.__dataclass_fields__})


class LoadBalancerSettings(Model):
    """The load balancer's listeners, address and allowed clients."""

    http_port: Annotated[int, WholeNumber(1, 65535)] = HTTP_PORT
    """Port of the plain HTTP listener."""
    domain: Annotated[str, Text(DOMAIN, "a domain name in lower case", optional=True)] = ""
    """Domain name of the app. Empty uses the load balancer's own name."""
    hosted_zone_id: Annotated[str, Text(HOSTED_ZONE, "a Route 53 zone id", optional=True)] = ""
    """Route 53 zone that gets an alias record for domain. Empty leaves DNS to you, before the first release, since
    the gates send requests to domain."""
    certificate_arn: Annotated[str, Text(CERTIFICATE, "the ARN of an ACM certificate", optional=True)] = ""
    """ACM certificate of the stack's region, for domain. When set, the app is on 443 and HTTP redirects there."""
    ingress_cidrs: Ranges = ("0.0.0.0/0",)
    """Ranges that may reach the load balancer. They must include the host that runs `pulumi up`, since its gates send
    requests to the app."""
    access_logs: Flag = True
    """Whether access logs of load balancer and bucket are written to a log bucket."""

    @property
    def own_url(self) -> str:
        """The URL of `domain`; empty without one: the load balancer's name is known only once it exists."""
        return self.url_of(self.domain) if self.domain else ""

    def url_of(self, host: str) -> str:
        if self.certificate_arn:
            return f"https://{host}"
        return f"http://{host}" + ("" if self.http_port == HTTP_PORT else f":{self.http_port}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of one stack."""

    stack: StackSettings
    deployed: DeploymentSettings
    colors: Mapping[Color, ColorSettings]
    network: NetworkSettings
    vpn: VpnSettings | None
    logs: LogSettings
    instances: InstanceSettings
    app: AppSettings
    load_balancer: LoadBalancerSettings
    alerts: AlertSettings
    alarms: AlarmSettings

    @property
    def lacks_subscribers(self) -> bool:
        """Whether a stack that has traffic, or is protected, has no subscribers to its alerts."""
        return (self.deployment().serves or self.stack.protect) and self.alerts.has_no_subscribers

    def deployment(self, account: str = "") -> Deployment:
        """The deployment that this config requests, in the account of the credentials."""
        return Deployment(
            active=self.deployed.active_color,
            canary_percent=self.deployed.canary_percent,
            colors=self.colors,
            revision=self.deployed.revision,
            account=account,
            region=self.stack.region,
            committed=self.deployed.committed,
        )


# Values from outside the program's own config namespace.
ELSEWHERE = ("stack", "aws:region", "aws:defaultTags")


def load() -> Settings:
    """The settings of the program that Pulumi runs. Raises RunError, which names every bad value."""
    import pulumi  # half a second, which a command that only reads config need not pay
    from pulumi.runtime.config import CONFIG

    try:
        return parse(pulumi.get_stack(), CONFIG.get())
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None


def parse(stack: str, config: Mapping[str, Any]) -> Settings:
    """Parse a stack's entire config, by full keys: strings as Pulumi passes them, JSON for lists and objects.

    Raises SettingsError, which names every problem.
    """
    settings, reader = read(stack, config)
    refuse(reader.problems)
    return settings


def read(stack: str, config: Mapping[str, Any]) -> tuple[Settings, Reader]:
    """As `parse`, but with a default for each invalid value; the reader lists the problems."""
    reader = Reader(own_keys(PROJECT, config))
    region, tags = config.get("aws:region", ""), from_json(config.get("aws:defaultTags"))
    elsewhere = dict(zip(ELSEWHERE, (stack, region, tags), strict=True))
    deployed = reader.section(DeploymentSettings)
    colors = {color: _color(reader, color) for color in Color}
    settings = Settings(
        deployed=deployed,
        colors=colors,
        network=reader.section(NetworkSettings),
        vpn=reader.object("vpn", VpnSettings),
        logs=reader.section(LogSettings),
        instances=reader.section(InstanceSettings),
        app=reader.section(AppSettings),
        load_balancer=reader.section(LoadBalancerSettings),
        alerts=reader.section(AlertSettings),
        alarms=reader.object("alarms", AlarmSettings) or AlarmSettings(),
        stack=reader.section(StackSettings, elsewhere),
    )
    reader.refuse_unknown()
    for rule, needs in _CROSS_CHECKS.items():
        reader.add(rule(settings), needs)
    if settings.vpn:
        vpc_cidr = "" if "vpcCidr" in reader.bad else settings.network.vpc_cidr
        ignore = {"vpn.bgpAsn"} if "vpn.amazonAsn" in reader.bad else set[str]()
        reader.add(vpn_problems(settings.vpn, vpc_cidr), ignore=ignore)
    reader.problems += _namespace_problems(config)
    return settings, reader


def _color(reader: Reader, color: Color) -> ColorSettings:
    settings = reader.object(color, ColorSettings) or ColorSettings()
    reader.add(color_problems(color, settings))
    return settings


def _namespace_problems(full_keys: Iterable[str]) -> list[str]:
    """Keys whose namespace is almost the program's; others belong to providers, which check them. No values."""
    problems = []
    for full in sorted(full_keys):
        namespace, _, key = full.partition(":")
        if namespace != PROJECT and get_close_matches(namespace.lower(), [PROJECT], cutoff=0.8):
            problems.append(f"{full}: nothing reads this key; did you mean {PROJECT}:{key}?")
    return problems


def _traffic_problems(settings: Settings) -> list[str]:
    desired = settings.deployment()
    active, idle = desired.active, desired.colors[desired.active.other]
    problems = []
    if idle.is_on and not desired.serves:
        problems.append(
            f"activeColor: {active}: the live color has no release; "
            f"allowed is a color with one ({active.other} has {idle.version})"
        )
    elif desired.canary_percent and not (desired.serves and idle.is_on):
        problems.append(
            f"canaryPercent: {desired.canary_percent}: allowed is 0 until {active} and {active.other} both have a "
            "release"
        )
    return problems


def _zone_problems(settings: Settings) -> list[str]:
    zones, ranges = settings.network.zones, settings.network.subnet_cidrs
    letters = [slot_of(zone) for zone in zones]
    problems = []
    if zones and not MIN_ZONES <= len(zones) <= MAX_ZONES:
        problems.append(f"zones: {', '.join(zones)}: allowed are {MIN_ZONES} to {MAX_ZONES} zones")
    if foreign := [zone for zone in zones if not zone.startswith(settings.stack.region)]:
        problems.append(f"zones: {', '.join(foreign)}: allowed are zones of {settings.stack.region}")
    if len(set(letters)) != len(letters):
        problems.append(f"zones: {', '.join(zones)}: allowed are zones that end in different letters")
    if ranges and set(ranges) != set(zones):
        problems.append(
            f"subnetCidrs: {', '.join(ranges)}: allowed are exactly the zones of `zones` ({', '.join(zones)})"
        )
    return problems + [f"subnetCidrs: {reason}" for reason in subnet_problems(settings.network.vpc_cidr, ranges)]


def _certificate_problems(settings: Settings) -> list[str]:
    arn, found = settings.load_balancer.certificate_arn, CERTIFICATE.fullmatch(settings.load_balancer.certificate_arn)
    problems = []
    if found and found["region"] != settings.stack.region:
        problems.append(
            f"certificateArn: {arn}: the certificate is of {found['region']}; "
            f"allowed is one of the stack's region {settings.stack.region}"
        )
    if found and not settings.load_balancer.domain:
        problems.append(f"certificateArn: {arn}: allowed only together with domain, a name of the certificate")
    return problems


def _dns_problems(settings: Settings) -> list[str]:
    if settings.load_balancer.hosted_zone_id and not settings.load_balancer.domain:
        return [f"hostedZoneId: {settings.load_balancer.hosted_zone_id}: allowed only together with domain"]
    return []


def _listener_problems(settings: Settings) -> list[str]:
    problems = []
    if settings.load_balancer.certificate_arn and settings.load_balancer.http_port == HTTPS_PORT:
        problems.append(f"httpPort: {HTTPS_PORT}: allowed is another port, this one serves HTTPS with certificateArn")
    if not settings.load_balancer.ingress_cidrs:
        problems.append("ingressCidrs: []: allowed is at least one range, else nobody reaches the app")
    return problems


def _health_problems(settings: Settings) -> list[str]:
    minimum = 3 * settings.app.health_check_interval
    if settings.app.boot_timeout < minimum:
        return [f"bootTimeout: {settings.app.boot_timeout}: allowed is {minimum} or more, three health checks"]
    return []


def _archive_problems(settings: Settings) -> list[str]:
    days, retention = settings.logs.archive_days, settings.logs.retention_days
    if 0 < days <= retention:
        return [f"logArchiveDays: {days}: allowed is 0, or more than logRetentionDays, which is {retention}"]
    return []


# Checks of combinations of values, and the keys that they need.
_CROSS_CHECKS: Mapping[Callable[[Settings], list[str]], set[str]] = {
    _traffic_problems: {"activeColor", "canaryPercent", *Color, *(f"{color}.release" for color in Color)},
    _zone_problems: {"zones", "subnetCidrs", "vpcCidr", "aws:region"},
    _certificate_problems: {"certificateArn", "domain", "aws:region"},
    _dns_problems: {"domain", "hostedZoneId"},
    _listener_problems: {"httpPort", "ingressCidrs"},
    _health_problems: {"bootTimeout", "healthCheckInterval"},
    _archive_problems: {"logArchiveDays", "logRetentionDays"},
}

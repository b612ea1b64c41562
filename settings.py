"""The stack's config, read once and checked whole: one frozen object, or one message that names every bad value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Network
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG

from alert_settings import AlertReader
from checks.colors import ALL_USERS, Color
from checks.deployments import DIGITS, ColorRelease, Deployment
from components.alarm_options import AlarmOptions
from components.cidr_plan import MOST_ZONES, ZoneRanges, slot_of, subnet_problems, vpc_problem
from components.vpn_options import VpnOptions
from components.vpn_options import problems as vpn_problems
from config_reader import EMAIL, EMAIL_ALLOWED, REGION, refuse
from vpn_settings import VPN_KEYS, VpnReader, read_vpn

NAMESPACE = "bluegreen"
NAT_MODES = ("none", "single", "per-zone")
FEWEST_ZONES = 2  # an Application Load Balancer takes subnets of two zones at least
MAX_CANARY = 99  # percent; all of the traffic is a cutover, which has gates of its own
HTTPS_PORT = 443
# What CloudWatch Logs takes as a retention, in days (PutRetentionPolicy).
RETENTION_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip
LONGEST_ARCHIVE = 3653  # days, as the longest retention
COLOR_KEYS = ("release", "releaseUrl", "sha256", "amiId", "minSize", "maxSize")
MOST_MACHINES = 100
LONGEST_BOOT = 1740  # seconds; the boot's own unit allows no more
# "{stack}-{color}-{release}-" begins a launch template's name: 128 characters, of which the provider adds 26.
LONGEST_STACK, LONGEST_RELEASE = 40, 40
LONGEST_URL = 256  # it is a tag's value

# What publish_release takes as a version; it stands in names, tags, object keys and as a Docker tag.
RELEASE = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_RELEASE - 1}}}")
# ECR repositories take lower-case names only, with single separators inside. A color in it could be another stack's:
# by their names alone, groups of a stack dev-blue could not be told from those of dev's blue.
STACK = re.compile(rf"(?=.{{1,{LONGEST_STACK}}}$)(?!.*-(blue|green)(-|$))[a-z0-9]+([-_][a-z0-9]+)*")
STACK_ALLOWED = f"a-z, 0-9, and single - or _ inside, at most {LONGEST_STACK}, without -blue or -green"
AMI = re.compile(r"ami-[0-9a-f]{8}([0-9a-f]{9})?")
SHA256 = re.compile(r"[0-9a-f]{64}")
RELEASE_URL = re.compile(
    rf"(?=.{{1,{LONGEST_URL}}}$)(s3://[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9]/(?P<key>\S+)|https://[^\s/@]+/\S+)"
)
IMAGE_BY_DIGEST = re.compile(r"[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}")
CERTIFICATE = re.compile(r"arn:aws[a-z-]*:acm:(?P<region>[a-z0-9-]+):\d{12}:certificate/[0-9A-Za-z-]+")
DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
HEALTH_PATH = re.compile(r"/[\w./-]{0,1000}")
HOSTED_ZONE = re.compile(r"Z[A-Z0-9]{1,31}")
BOUNDARY = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy/[\w+=,.@/-]{1,512}")
# Written by the program and by `bluegreen sync-config` (checks/deployments.py).
REVISION = re.compile(rf"[0-9a-f]{{{DIGITS}}}(/[0-9a-f]{{{DIGITS}}})?")
TAG = re.compile(r"[0-9A-Za-z+=.,_:@-]{1,128}")
INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")


@dataclass(frozen=True, kw_only=True)
class ColorSettings:
    """What one color runs. Without a release the color is off."""

    release: str = ""
    release_url: str = ""
    sha256: str = ""
    ami_id: str = ""
    min_size: int = 1
    max_size: int = 2

    @property
    def is_on(self) -> bool:
        return bool(self.release)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that one stack's environment decides. Times in seconds, volumes in GiB."""

    stack: str
    region: str
    active_color: Color
    canary_percent: int
    colors: Mapping[Color, ColorSettings]
    vpc_cidr: str
    zones: tuple[str, ...]
    zone_count: int
    subnet_cidrs: Mapping[str, ZoneRanges]
    nat_gateways: str
    flow_logs: bool
    vpn: VpnOptions | None
    log_retention_days: int
    log_archive_days: int
    instance_type: str
    root_volume_gib: int
    health_path: str
    container_port: int
    http_port: int
    health_check_interval: int
    deregistration_delay: int
    drain_timeout: int
    boot_timeout: int
    domain: str
    hosted_zone_id: str
    certificate_arn: str
    ingress_cidrs: tuple[str, ...]
    alert_emails: tuple[str, ...]
    alert_webhooks: tuple[str, ...]
    alarms: AlarmOptions
    base_image: str
    access_logs: bool
    target_cpu_percent: int
    permissions_boundary: str
    protect: bool
    force_destroy: bool
    revision: str
    committed: Mapping[str, str]
    default_tags: Mapping[str, str]

    @property
    def weights(self) -> dict[Color, int]:
        """Each color's share of the users, in percent."""
        idle = self.active_color.other
        return {self.active_color: ALL_USERS - self.canary_percent, idle: self.canary_percent}

    @property
    def serves(self) -> bool:
        """False before the first release: the load balancer answers 503 then."""
        return self.colors[self.active_color].is_on

    @property
    def notifies_nobody(self) -> bool:
        """Whether a stack that has traffic, or is protected, has no subscriber to its alerts."""
        return (self.serves or self.protect) and not (self.alert_emails or self.alert_webhooks)

    def deployment(self, account: str) -> Deployment:
        """What this config asks for, in the account that the credentials lead to."""
        return Deployment(
            active=self.active_color,
            canary_percent=self.canary_percent,
            colors={
                color: ColorRelease(release=own.release, release_url=own.release_url, sha256=own.sha256, ami=own.ami_id)
                for color, own in self.colors.items()
            },
            revision=self.revision,
            account=account,
            region=self.region,
            committed=self.committed,
        )


def load() -> Settings:
    """Read the stack's config through Pulumi. Raises SettingsError before any resource is registered."""
    config = pulumi.Config(NAMESPACE)
    # Config only answers for keys that one knows; a mistyped one would go unnoticed.
    every = CONFIG.get()
    given = [key.partition(":")[2] for key in every if key.startswith(f"{NAMESPACE}:")]
    raw = {key: value for key in (*KEYS, *given) if (value := config.get(key)) is not None}
    aws = pulumi.Config("aws")
    return parse(
        raw,
        stack=pulumi.get_stack(),
        region=aws.get("region") or "",
        provider_tags=aws.get_object("defaultTags"),
        full_keys=every,
    )


def parse(
    raw: Mapping[str, Any], *, stack: str, region: str, provider_tags: Any = None, full_keys: Iterable[str] = ()
) -> Settings:
    """Check values by their config key: texts as Pulumi hands them over, JSON for lists and objects.

    `provider_tags` is aws:defaultTags, read already: an object with tags. `full_keys`: those of all namespaces.
    """
    reader = _Reader(raw)
    settings = Settings(
        stack=reader.given("stack", stack, STACK, STACK_ALLOWED),
        region=reader.given("aws:region", region, REGION, "a region, such as eu-central-1"),
        active_color=Color(reader.choice("activeColor", "blue", tuple(Color))),
        canary_percent=reader.number("canaryPercent", 0, (0, MAX_CANARY)),
        colors={color: reader.color(color) for color in Color},
        vpc_cidr=reader.checked("vpcCidr", "10.20.0.0/16", vpc_problem),
        zones=reader.texts("zones", (), _is_zone, "a zone's name, which ends in a letter from a to h"),
        zone_count=reader.number("zoneCount", FEWEST_ZONES, (FEWEST_ZONES, MOST_ZONES)),
        subnet_cidrs=reader.ranges("subnetCidrs"),
        nat_gateways=reader.choice("natGateways", "single", NAT_MODES),
        flow_logs=reader.flag("flowLogs", True),
        vpn=reader.vpn("vpn"),
        log_retention_days=reader.one_of("logRetentionDays", 30, RETENTION_DAYS),
        log_archive_days=reader.number("logArchiveDays", 0, (0, LONGEST_ARCHIVE)),
        instance_type=reader.text("instanceType", "t3.small", INSTANCE_TYPE, "an instance type, such as t3.small"),
        root_volume_gib=reader.number("rootVolumeGiB", 16, (8, 1024)),
        health_path=reader.text("healthPath", "/health", HEALTH_PATH, "a path from / on, without a query"),
        container_port=reader.number("containerPort", 8080, (1, 65535)),
        http_port=reader.number("httpPort", 80, (1, 65535)),
        health_check_interval=reader.number("healthCheckInterval", 5, (5, 300)),
        deregistration_delay=reader.number("deregistrationDelay", 30, (0, 3600)),
        drain_timeout=reader.number("drainTimeout", 30, (0, 900)),
        boot_timeout=reader.number("bootTimeout", 300, (60, LONGEST_BOOT)),
        domain=reader.text("domain", "", DOMAIN, "a domain name in lower case", empty=True),
        hosted_zone_id=reader.text("hostedZoneId", "", HOSTED_ZONE, "a Route 53 zone id", empty=True),
        certificate_arn=reader.text("certificateArn", "", CERTIFICATE, "the ARN of an ACM certificate", empty=True),
        ingress_cidrs=reader.texts("ingressCidrs", ("0.0.0.0/0",), _is_range, "an IPv4 range"),
        alert_emails=reader.texts("alertEmails", (), lambda text: bool(EMAIL.fullmatch(text)), EMAIL_ALLOWED),
        alert_webhooks=reader.webhooks("alertWebhooks"),
        alarms=reader.alarms("alarms"),
        base_image=reader.text("baseImage", "", IMAGE_BY_DIGEST, "name@sha256:<64 hexadecimal digits>", empty=True),
        access_logs=reader.flag("accessLogs", True),
        target_cpu_percent=reader.number("targetCpuPercent", 60, (10, 90)),
        permissions_boundary=reader.text("permissionsBoundary", "", BOUNDARY, "the ARN of an IAM policy", empty=True),
        protect=reader.flag("protect", False),
        force_destroy=reader.flag("forceDestroy", False),
        revision=reader.text("revision", "", REVISION, "what the program wrote; `bluegreen sync-config` renews it",
                             empty=True),
        committed=reader.committed("committed"),
        default_tags=reader.tags("aws:defaultTags", provider_tags),
    )  # fmt: skip
    reader.refuse_unknown()
    refuse(reader.problems + _together(settings, reader.bad) + _namespace_problems(full_keys))
    return settings


def _namespace_problems(full_keys: Iterable[str]) -> list[str]:
    """Keys whose namespace is nearly the program's; other ones belong to providers, which check them. No values."""
    problems = []
    for full in sorted(full_keys):
        namespace, _, key = full.partition(":")
        if namespace != NAMESPACE and get_close_matches(namespace.lower(), [NAMESPACE], cutoff=0.8):
            problems.append(f"{full}: nothing reads this key; did you mean {NAMESPACE}:{key}?")
    return problems


def _together(settings: Settings, bad: set[str]) -> list[str]:
    """What is wrong between values that are each allowed; those already told are left out."""
    rules: dict[Callable[[Settings], list[str]], set[str]] = {
        _serving_problems: {"activeColor", "canaryPercent", "blue", "green"},
        _zone_problems: {"zones", "subnetCidrs", "vpcCidr", "aws:region"},
        _certificate_problems: {"certificateArn", "domain", "aws:region"},
        _dns_problems: {"domain", "hostedZoneId"},
        _listener_problems: {"httpPort", "ingressCidrs"},
        _health_problems: {"bootTimeout", "healthCheckInterval"},
        _archive_problems: {"logArchiveDays", "logRetentionDays"},
    }
    found = [problem for rule, needs in rules.items() if not needs & bad for problem in rule(settings)]
    return found if "vpcCidr" in bad else found + _vpn_problems(settings, bad)


def _serving_problems(settings: Settings) -> list[str]:
    active, idle = settings.active_color, settings.active_color.other
    problems = []
    if settings.colors[idle].is_on and not settings.serves:
        problems.append(
            f"activeColor: {active}: the serving color has no release; "
            f"allowed is a color with one ({idle} has {settings.colors[idle].release})"
        )
    elif settings.canary_percent and not (settings.serves and settings.colors[idle].is_on):
        problems.append(
            f"canaryPercent: {settings.canary_percent}: allowed is 0 until {active} and {idle} both have a release"
        )
    return problems


def _zone_problems(settings: Settings) -> list[str]:
    zones, given = settings.zones, settings.subnet_cidrs
    letters = [slot_of(zone) for zone in zones]
    problems = []
    if zones and not FEWEST_ZONES <= len(zones) <= MOST_ZONES:
        problems.append(f"zones: {', '.join(zones)}: allowed are {FEWEST_ZONES} to {MOST_ZONES} zones")
    if foreign := [zone for zone in zones if not zone.startswith(settings.region)]:
        problems.append(f"zones: {', '.join(foreign)}: allowed are zones of {settings.region}")
    if len(set(letters)) != len(letters):
        problems.append(f"zones: {', '.join(zones)}: allowed are zones that end in different letters")
    if given and set(given) != set(zones):
        problems.append(
            f"subnetCidrs: {', '.join(given)}: allowed are exactly the zones of `zones` ({', '.join(zones)})"
        )
    return problems + [f"subnetCidrs: {reason}" for reason in subnet_problems(settings.vpc_cidr, given)]


def _certificate_problems(settings: Settings) -> list[str]:
    arn, found = settings.certificate_arn, CERTIFICATE.fullmatch(settings.certificate_arn)
    problems = []
    if found and found["region"] != settings.region:
        problems.append(
            f"certificateArn: {arn}: the certificate is of {found['region']}; "
            f"allowed is one of the stack's region {settings.region}"
        )
    if found and not settings.domain:
        problems.append(f"certificateArn: {arn}: allowed only together with domain, a name that the certificate holds")
    return problems


def _dns_problems(settings: Settings) -> list[str]:
    if settings.hosted_zone_id and not settings.domain:
        return [f"hostedZoneId: {settings.hosted_zone_id}: allowed only together with domain"]
    return []


def _listener_problems(settings: Settings) -> list[str]:
    problems = []
    if settings.certificate_arn and settings.http_port == HTTPS_PORT:
        problems.append(f"httpPort: {HTTPS_PORT}: allowed is another port, this one serves HTTPS with certificateArn")
    if not settings.ingress_cidrs:
        problems.append("ingressCidrs: []: allowed is at least one range, else nobody reaches the app")
    return problems


def _health_problems(settings: Settings) -> list[str]:
    least = 3 * settings.health_check_interval
    if settings.boot_timeout < least:
        return [f"bootTimeout: {settings.boot_timeout}: allowed is {least} or more, three health checks"]
    return []


def _vpn_problems(settings: Settings, bad: set[str]) -> list[str]:
    """Without those about a key that is bad itself: it has been told of, and a default stands in for it."""
    found = vpn_problems(settings.vpn, settings.vpc_cidr) if settings.vpn else []
    without = bad | ({"vpn.bgpAsn"} if "vpn.amazonAsn" in bad else set())
    told = tuple(f"{key}:" for key in without)
    return [problem for each in found if not (problem := f"vpn.{each}").startswith(told)]


def _archive_problems(settings: Settings) -> list[str]:
    days, kept = settings.log_archive_days, settings.log_retention_days
    if 0 < days <= kept:
        return [f"logArchiveDays: {days}: allowed is 0, or more than logRetentionDays, which is {kept}"]
    return []


def _is_zone(text: str) -> bool:
    return slot_of(text) is not None


def _is_range(text: str) -> bool:
    try:
        IPv4Network(text)
    except ValueError:
        return False
    return True


class _Reader(AlertReader):
    """Knows also the shapes that only this program has."""

    def ranges(self, key: str) -> dict[str, ZoneRanges]:
        value = self._json(key, {})
        allowed = "an object that gives each zone an object with public and private"
        if not isinstance(value, dict) or not all(_is_pair_of_ranges(entry) for entry in value.values()):
            return self._refuse(key, value, allowed, {})
        return {
            zone: ZoneRanges(public=str(entry["public"]), private=str(entry["private"]))
            for zone, entry in value.items()
        }

    def committed(self, key: str) -> dict[str, str]:
        value = self._json(key, {})
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            return self._refuse(key, value, "what `bluegreen sync-config --git` wrote, an object of texts", {})
        return value

    def tags(self, key: str, given: Any) -> dict[str, str]:
        """The provider's default tags, from elsewhere than the program's own config."""
        settings = given or {}
        tags = (settings.get("tags") or {}) if isinstance(settings, dict) else None
        if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
            return self._refuse(key, given, "an object with tags, an object of texts", {})
        # Machines read their tags from the metadata service, and start with no other names.
        if bad := [tag for tag in tags if not TAG.fullmatch(tag)]:
            return self._refuse(key, bad[0], "a tag's name of letters, digits and + - = . , _ : @", {})
        return tags

    def vpn(self, key: str) -> VpnOptions | None:
        value = self._json(key, {})
        if not isinstance(value, dict):
            # Without the value: there may be keys in it.
            return self._refuse(key, "(hidden)", f"an object with {', '.join(VPN_KEYS)}", None)
        if not value:
            return None
        inner = VpnReader({name: given for name, given in value.items() if given is not None}, f"{key}.")
        options = read_vpn(inner)
        self.problems += inner.problems
        self.bad |= {f"{key}.{name}" for name in inner.bad}
        return options

    def color(self, color: Color) -> ColorSettings:
        value = self._json(color, {})
        if not isinstance(value, dict):
            return self._refuse(color, value, f"an object with {', '.join(COLOR_KEYS)}", ColorSettings())
        inner = _Reader({key: text for key, text in value.items() if text is not None}, f"{color}.")
        settings = _color(inner)
        inner.refuse_unknown()
        told = tuple(f"{color}.{key}:" for key in inner.bad)
        self.problems += inner.problems
        self.problems += [problem for problem in _color_problems(color, settings) if not problem.startswith(told)]
        self.bad |= {str(color)} if "release" in inner.bad else set()
        return settings


def _is_pair_of_ranges(entry: Any) -> bool:
    return isinstance(entry, dict) and set(entry) == {"public", "private"}


def _color(reader: _Reader) -> ColorSettings:
    return ColorSettings(
        release=reader.text("release", "", RELEASE, f"letters, digits, . _ -, at most {LONGEST_RELEASE}", empty=True),
        release_url=reader.text("releaseUrl", "", RELEASE_URL, "s3://bucket/key or https://host/path", empty=True),
        sha256=reader.text("sha256", "", SHA256, "64 lower-case hexadecimal digits", empty=True),
        ami_id=reader.text("amiId", "", AMI, "an image id, such as ami-0123456789abcdef0", empty=True),
        min_size=reader.number("minSize", 1, (1, MOST_MACHINES)),
        max_size=reader.number("maxSize", 2, (1, MOST_MACHINES)),
    )  # fmt: skip


def _color_problems(color: Color, settings: ColorSettings) -> list[str]:
    problems = []
    if settings.min_size > settings.max_size:
        problems.append(
            f"{color}.minSize: {settings.min_size}: allowed is at most {color}.maxSize, which is {settings.max_size}"
        )
    if not settings.is_on:
        return problems
    for key, value, allowed in (
        ("releaseUrl", settings.release_url, "s3://bucket/key or https://host/path"),
        ("amiId", settings.ami_id, "an image id, such as ami-0123456789abcdef0"),
    ):
        if not value:
            problems.append(f"{color}.{key}: (not set): release {settings.release} needs it; allowed is {allowed}")
    return problems + _bundle_problems(color, settings)


def _bundle_problems(color: Color, settings: ColorSettings) -> list[str]:
    found = RELEASE_URL.fullmatch(settings.release_url)
    if found is None or found["key"] is None:
        return []
    problems = []
    if not settings.sha256:
        problems.append(
            f"{color}.sha256: (not set): {settings.release_url} is in S3; allowed is its sha256, 64 hexadecimal digits"
        )
    # The machines' role reads nothing else, and a release under another's name would deceive everybody.
    if found["key"] != (key := f"releases/{settings.release}/bundle.tar.gz"):
        problems.append(
            f"{color}.releaseUrl: {settings.release_url}: release {settings.release} is published as s3://<bucket>/{key}"
        )
    return problems


KEYS = (
    "activeColor", "canaryPercent", "blue", "green", "vpcCidr", "zones", "zoneCount", "subnetCidrs", "natGateways",
    "flowLogs", "vpn", "logRetentionDays", "logArchiveDays", "instanceType", "rootVolumeGiB", "healthPath",
    "containerPort", "httpPort", "healthCheckInterval", "deregistrationDelay", "drainTimeout", "bootTimeout", "domain",
    "hostedZoneId", "certificateArn", "ingressCidrs", "alertEmails", "alertWebhooks", "alarms", "baseImage",
    "accessLogs", "targetCpuPercent", "permissionsBoundary", "protect", "forceDestroy", "revision", "committed",
)  # fmt: skip

from __future__ import annotations

import json
import re
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pulumi
import pytest
import yaml

from ami.boot import user_data
from ami.boot.user_data import UserData
from components.cidr_plan import ZoneRanges
from config import settings as program_settings
from config.colors import ColorSettings
from config.errors import SettingsError
from config.settings import Settings, parse
from config.vpn import AllowedPort, Gateway, Routing, VpnSettings
from fleet.colors import Color
from tests.declared import ROOT, STACK_TYPE, Declaration, declare, stack_config

REGION = "eu-central-1"
DIGEST = "0123456789abcdef" * 4
CERTIFICATE = f"arn:aws:acm:{REGION}:123456789012:certificate/1a2b"
BLUE = {
    "release": "v1",
    "releaseUrl": "s3://artifacts-1a2b/releases/v1/bundle.tar.gz",
    "sha256": DIGEST,
    "amiId": "ami-0123456789abcdef0",
}
GREEN = BLUE | {"release": "v2", "releaseUrl": "https://host/v2.tar.gz"}

pytestmark = pytest.mark.usefixtures("offline")


def read(stack: str = "dev", region: str = REGION, **raw: Any) -> Settings:
    return parse(stack, {"aws:region": region, **{f"bluegreen:{key}": value for key, value in raw.items()}})


def problems(stack: str = "dev", region: str = REGION, **raw: Any) -> list[str]:
    """Each line below the headline."""
    with pytest.raises(SettingsError) as caught:
        read(stack, region, **raw)
    headline, *lines = str(caught.value).splitlines()
    assert headline == "The stack's config can't be used:"
    assert all(line.startswith("  ") for line in lines)
    return [line.strip() for line in lines]


def test_a_fresh_stack_needs_nothing() -> None:
    settings = read()
    assert not settings.deployment().serves
    assert settings.deployment().weights == {Color.BLUE: 0, Color.GREEN: 0}
    assert settings.colors == {Color.BLUE: ColorSettings(), Color.GREEN: ColorSettings()}


VPN: dict[str, Any] = {"customerGatewayIp": "198.51.100.7", "remoteCidrs": ["192.168.0.0/24"]}


def test_without_a_vpn_there_is_none() -> None:
    assert read().vpn is None
    assert read(vpn="{}").vpn is None


def test_a_vpn_needs_to_know_the_remote_network_only() -> None:
    assert read(vpn=json.dumps(VPN)).vpn == VpnSettings(
        customer_gateway_ip="198.51.100.7", remote_cidrs=("192.168.0.0/24",)
    )


def test_all_of_a_vpn_is_read() -> None:
    given = VPN | {
        "routing": "bgp",
        "bgpAsn": 65010,
        "amazonAsn": 64600,
        "insideCidrs": ["169.254.44.0/30", "169.254.45.0/30"],
        "gateway": "tgw",
        "startupAction": "add",
        "allow": [{"port": 22}, {"port": 53, "protocol": "udp"}],
        "presharedKeys": ["first.key_1", "second.key_2"],
    }
    assert read(vpn=json.dumps(given)).vpn == VpnSettings(
        customer_gateway_ip="198.51.100.7",
        remote_cidrs=("192.168.0.0/24",),
        routing=Routing.BGP,
        bgp_asn=65010,
        amazon_asn=64600,
        inside_cidrs=("169.254.44.0/30", "169.254.45.0/30"),
        gateway=Gateway.TGW,
        startup_action="add",
        allow=(AllowedPort(port=22), AllowedPort(port=53, protocol="udp")),
        preshared_keys=("first.key_1", "second.key_2"),
    )


BAD_VPNS = [
    ({"customerGatewayIp": None}, "customerGatewayIp: (not set): allowed is a public IPv4 address"),
    ({"customerGatewayIp": "192.168.0.1"}, "customerGatewayIp: 192.168.0.1: allowed is a public IPv4 address"),
    ({"remoteCidrs": None}, "remoteCidrs: []: allowed is at least one range, else no traffic uses the tunnels"),
    (
        {"remoteCidrs": ["192.168.0.1/24"]},
        "remoteCidrs: 192.168.0.1/24: allowed is an IPv4 range, none of 169.254.0.0/16",
    ),
    (
        {"remoteCidrs": ["10.20.8.0/24"]},
        "remoteCidrs: 10.20.8.0/24: overlaps the VPC's 10.20.0.0/16; allowed are ranges outside of it",
    ),
    (
        {"remoteCidrs": ["192.168.0.0/16", "192.168.7.0/24"]},
        "remoteCidrs: 192.168.7.0/24: overlaps 192.168.0.0/16; allowed are ranges that do not overlap",
    ),
    ({"routing": "ospf"}, "routing: ospf: allowed is static or bgp"),
    ({"bgpAsn": 0}, "bgpAsn: 0: allowed is a whole number from 1 to 4294967294"),
    ({"bgpAsn": 23456}, "bgpAsn: 23456: allowed is another number, 23456 is reserved"),
    ({"bgpAsn": 64512}, "bgpAsn: 64512: allowed is another number than amazonAsn"),
    (
        {"amazonAsn": 7224},
        "amazonAsn: 7224: allowed is a private number, 64512 to 65534 or 4200000000 to 4294967294",
    ),
    (
        {"insideCidrs": ["169.254.169.252/30", "169.254.9.0/30"]},
        "insideCidrs: 169.254.169.252/30: allowed is a /30 of 169.254.0.0/16 that AWS does not reserve",
    ),
    ({"insideCidrs": ["169.254.9.0/30"]}, "insideCidrs: 1 entries: allowed are 2, one for each tunnel"),
    ({"gateway": "igw"}, "gateway: igw: allowed is vgw or tgw"),
    ({"startupAction": "wait"}, "startupAction: wait: allowed is add or start"),
    (
        {"allow": [{"port": 0}]},
        'allow: {"port": 0}: allowed is an object with port, 1 to 65535, and protocol, tcp or udp',
    ),
    (
        {"allow": [{"port": 22, "protocol": "icmp"}]},
        'allow: {"port": 22, "protocol": "icmp"}: allowed is an object with port, 1 to 65535, and protocol, tcp or udp',
    ),
    (
        {"allow": [{"port": 22, "cidr": "::/0"}]},
        'allow: {"port": 22, "cidr": "::/0"}: allowed is an object with port, 1 to 65535, and protocol, tcp or udp',
    ),
    (
        {"allow": [{"port": 22}, {"port": 22, "protocol": "tcp"}]},
        'allow: {"port": 22, "protocol": "tcp"}: allowed is an object with port, 1 to 65535, and protocol, tcp or udp, '
        "each only once",
    ),
    ({"presharedKeys": ["first.key_1"]}, "presharedKeys: 1 entries: allowed are 2, one for each tunnel"),
    (
        {"presharedKeys": ["0secret.key", "second.key_2"]},
        "presharedKeys: (hidden): allowed is 8 to 64 letters, digits, . and _, the first not 0",
    ),
    (
        {"presharedKey": "first.key_1"},
        "presharedKey: (hidden): there is no such key; did you mean presharedKeys?",
    ),
    (
        {"secrets": ["first.key_1"]},
        "secrets: (hidden): there is no such key; allowed are allow, amazonAsn, bgpAsn, customerGatewayIp, "
        "gateway, insideCidrs, presharedKeys, remoteCidrs, routing, startupAction",
    ),
    ({"officeCidrs": ["192.168.0.0/24"]}, "officeCidrs: (hidden): this key is called remoteCidrs now"),
]


@pytest.mark.parametrize(("changes", "told"), BAD_VPNS, ids=lambda value: next(iter(value), "") if value else "")
def test_a_bad_value_of_a_vpn_is_told_with_what_is_allowed(changes: dict[str, Any], told: str) -> None:
    assert problems(vpn=json.dumps(VPN | changes)) == [f"vpn.{told}"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"remoteCidrs": ["10.20.8.0/24"], "gateway": "igw"},
            [
                "gateway: igw: allowed is vgw or tgw",
                "remoteCidrs: 10.20.8.0/24: overlaps the VPC's 10.20.0.0/16; allowed are ranges outside of it",
            ],
        ),
        (
            {"remoteCidrs": "office", "presharedKeys": ["first.key_1"]},
            [
                "remoteCidrs: office: allowed is a list, each entry an IPv4 range, none of 169.254.0.0/16",
                "presharedKeys: 1 entries: allowed are 2, one for each tunnel",
            ],
        ),
        # The number that stands in for a bad one is nobody's wish, and collides with nothing.
        (
            {"bgpAsn": 64512, "amazonAsn": 7224},
            ["amazonAsn: 7224: allowed is a private number, 64512 to 65534 or 4200000000 to 4294967294"],
        ),
    ],
)
def test_what_is_wrong_between_values_of_a_vpn_is_told_beside_a_bad_value(
    changes: dict[str, Any], told: list[str]
) -> None:
    assert problems(vpn=json.dumps(VPN | changes)) == [f"vpn.{each}" for each in told]


def test_a_vpn_that_is_no_object_is_refused_without_being_shown() -> None:
    assert "first.key_1" not in problems(vpn='"first.key_1"')[0]


def test_nobody_else_reads_the_config() -> None:
    readers = [
        str(path.relative_to(ROOT))
        for folder in (".", "components", "config")
        for path in sorted((ROOT / folder).glob("*.py"))
        if re.search(r"pulumi\.Config\b|runtime\.config\b", path.read_text())
    ]
    assert readers == ["config/settings.py"]


def test_the_providers_tags_are_known_to_the_program() -> None:
    tags = json.dumps({"tags": {"Team": "a b"}})
    assert parse("dev", {"aws:region": REGION, "aws:defaultTags": tags}).stack.tags == {"Team": "a b"}
    assert read().stack.tags == {}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["x"], 'aws:defaultTags: ["x"]: allowed is an object with tags, an object of strings'),
        (
            {"tags": {"Cost": 7}},
            'aws:defaultTags: {"tags": {"Cost": 7}}: allowed is an object with tags, an object of strings',
        ),
        (
            {"tags": {"Cost center": "7"}},
            "aws:defaultTags: Cost center: allowed is a tag's name of letters, digits and + - = . , _ : @",
        ),
    ],
)
def test_tags_that_machines_could_not_bear_are_refused(given: Any, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse("dev", {"aws:region": REGION, "aws:defaultTags": json.dumps(given)})
    assert str(caught.value).splitlines()[1:] == [f"  {problem}"]


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_stacks_files_are_good(stack: str) -> None:
    given = stack_config(stack)
    assert parse(stack, given).stack.name == stack


def test_both_colors_are_read() -> None:
    settings = read(blue=json.dumps(BLUE), green=GREEN | {"minSize": 3, "maxSize": "5"}, activeColor="green")
    assert settings.deployed.active_color is Color.GREEN
    assert settings.deployment().serves
    assert settings.colors[Color.BLUE] == ColorSettings(
        version="v1",
        url="s3://artifacts-1a2b/releases/v1/bundle.tar.gz",
        sha256=DIGEST,
        ami="ami-0123456789abcdef0",
    )
    assert (settings.colors[Color.GREEN].min_size, settings.colors[Color.GREEN].max_size) == (3, 5)


@pytest.mark.parametrize(
    ("active", "canary", "weights"), [("blue", 0, (100, 0)), ("green", 0, (0, 100)), ("blue", "10", (90, 10))]
)
def test_weights_follow_the_active_color_and_the_canary(
    active: str, canary: int | str, weights: tuple[int, int]
) -> None:
    found = read(activeColor=active, canaryPercent=canary, blue=BLUE, green=GREEN).deployment().weights
    assert (found[Color.BLUE], found[Color.GREEN]) == weights


def test_a_release_of_digits_stays_a_name() -> None:
    assert (
        read(blue=BLUE | {"release": 20260101, "releaseUrl": "https://host/x"}).colors[Color.BLUE].version == "20260101"
    )


def test_own_ranges_are_taken_for_the_named_zones() -> None:
    own = {
        "eu-central-1a": {"public": "10.20.0.0/24", "private": "10.20.1.0/24"},
        "eu-central-1b": {"public": "10.20.2.0/24", "private": "10.20.3.0/24"},
    }
    settings = read(zones=["eu-central-1a", "eu-central-1b"], subnetCidrs=json.dumps(own))
    assert settings.network.subnet_cidrs["eu-central-1b"] == ZoneRanges(public="10.20.2.0/24", private="10.20.3.0/24")


BAD_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"activeColor": "red"}, "activeColor: red: allowed is blue or green"),
    ({"activeColor": ["blue"]}, 'activeColor: ["blue"]: allowed is blue or green'),
    ({"canaryPercent": 100}, "canaryPercent: 100: allowed is a whole number from 0 to 99"),
    ({"canaryPercent": "-1"}, "canaryPercent: -1: allowed is a whole number from 0 to 99"),
    ({"canaryPercent": True}, "canaryPercent: true: allowed is a whole number from 0 to 99"),
    ({"canaryPercent": "1e1"}, "canaryPercent: 1e1: allowed is a whole number from 0 to 99"),
    (
        {"vpcCidr": "10.20.0.0/28"},
        "vpcCidr: 10.20.0.0/28: too small for 16 subnets of at least /28; "
        "allowed is an IPv4 range from /16 to /24, such as 10.20.0.0/16",
    ),
    (
        {"vpcCidr": "172.17.0.0/20"},
        "vpcCidr: 172.17.0.0/20: overlaps 172.17.0.0/16, the range of Docker's own bridge on every instance; "
        "allowed is any other range",
    ),
    ({"zones": '["eu-central-1a"]'}, "zones: eu-central-1a: allowed are 2 to 8 zones"),
    (
        {"zones": ["eu-central-1a", "us-east-1b"]},
        "zones: us-east-1b: allowed are zones of eu-central-1",
    ),
    (
        {"zones": ["eu-central-1a", "eu-central-1a"]},
        "zones: eu-central-1a: allowed is a zone's name, which ends in a letter from a to h, each only once",
    ),
    (
        {"zones": ["eu-central-1a", "eu-central-1-fra-1a"]},
        "zones: eu-central-1a, eu-central-1-fra-1a: allowed are zones that end in different letters",
    ),
    ({"zones": [3]}, "zones: 3: allowed is a zone's name, which ends in a letter from a to h"),
    ({"zoneCount": 1}, "zoneCount: 1: allowed is a whole number from 2 to 8"),
    (
        {"subnetCidrs": {"eu-central-1a": "10.20.0.0/24"}},
        'subnetCidrs: {"eu-central-1a": "10.20.0.0/24"}: allowed is an object with an object of '
        "public and private for each zone",
    ),
    ({"natGateways": "two"}, "natGateways: two: allowed is none or single or per-zone"),
    ({"flowLogs": "yes"}, "flowLogs: yes: allowed is true or false"),
    ({"instanceType": "large"}, "instanceType: large: allowed is an instance type, such as t3.small"),
    ({"rootVolumeGiB": 4}, "rootVolumeGiB: 4: allowed is a whole number from 8 to 1024"),
    ({"healthPath": "health"}, "healthPath: health: allowed is a path from / on, without a query"),
    ({"healthPath": "/health?x=1"}, "healthPath: /health?x=1: allowed is a path from / on, without a query"),
    ({"containerPort": 70000}, "containerPort: 70000: allowed is a whole number from 1 to 65535"),
    ({"httpPort": 0}, "httpPort: 0: allowed is a whole number from 1 to 65535"),
    ({"permissionsBoundary": "limit"}, "permissionsBoundary: limit: allowed is the ARN of an IAM policy, or empty"),
    ({"healthCheckInterval": 4}, "healthCheckInterval: 4: allowed is a whole number from 5 to 300"),
    ({"deregistrationDelay": 3601}, "deregistrationDelay: 3601: allowed is a whole number from 0 to 3600"),
    ({"bootTimeout": 59}, "bootTimeout: 59: allowed is a whole number from 60 to 1740"),
    (
        {"bootTimeout": 60, "healthCheckInterval": 30},
        "bootTimeout: 60: allowed is 90 or more, three health checks",
    ),
    ({"drainTimeout": 901}, "drainTimeout: 901: allowed is a whole number from 0 to 900"),
    ({"domain": "App.example"}, "domain: App.example: allowed is a domain name in lower case, or empty"),
    ({"hostedZoneId": "Z1A"}, "hostedZoneId: Z1A: allowed only together with domain"),
    ({"hostedZoneId": "z-1", "domain": "a.example"}, "hostedZoneId: z-1: allowed is a Route 53 zone id, or empty"),
    (
        {"certificateArn": CERTIFICATE.replace(REGION, "us-east-1"), "domain": "a.example"},
        f"certificateArn: {CERTIFICATE.replace(REGION, 'us-east-1')}: the certificate is of us-east-1; "
        "allowed is one of the stack's region eu-central-1",
    ),
    (
        {"certificateArn": CERTIFICATE},
        f"certificateArn: {CERTIFICATE}: allowed only together with domain, a name of the certificate",
    ),
    (
        {"certificateArn": "arn:aws:iam::1:x", "domain": "a.example"},
        "certificateArn: arn:aws:iam::1:x: allowed is the ARN of an ACM certificate, or empty",
    ),
    (
        {"certificateArn": CERTIFICATE, "domain": "a.example", "httpPort": 443},
        "httpPort: 443: allowed is another port, this one serves HTTPS with certificateArn",
    ),
    ({"ingressCidrs": ["10.0.0.1/8"]}, "ingressCidrs: 10.0.0.1/8: allowed is an IPv4 range"),
    ({"ingressCidrs": "everyone"}, "ingressCidrs: everyone: allowed is a list, each entry an IPv4 range"),
    ({"ingressCidrs": []}, "ingressCidrs: []: allowed is at least one range, else nobody reaches the app"),
    ({"alertEmails": ["me"]}, "alertEmails: me: allowed is an e-mail address alone, as ops@example.org"),
    (
        {"baseImage": "python:3.12"},
        "baseImage: python:3.12: allowed is name@sha256:<64 hexadecimal digits>, or empty",
    ),
    (
        {"baseImage": f"python@sha256:{DIGEST[:-1]}"},
        f"baseImage: python@sha256:{DIGEST[:-1]}: allowed is name@sha256:<64 hexadecimal digits>, or empty",
    ),
    ({"targetCpuPercent": 95}, "targetCpuPercent: 95: allowed is a whole number from 10 to 90"),
    ({"protect": 1}, "protect: 1: allowed is true or false"),
]


@pytest.mark.parametrize(("raw", "told"), BAD_VALUES, ids=lambda value: next(iter(value), "") if value else "")
def test_a_bad_value_is_told_with_what_is_allowed(raw: dict[str, Any], told: str) -> None:
    assert problems(**raw) == [told]


BAD_COLORS: list[tuple[dict[str, Any], str]] = [
    ({"minSize": 3}, "blue.minSize: 3: allowed is at most blue.maxSize, which is 2"),
    ({"minSize": 0}, "blue.minSize: 0: allowed is a whole number from 1 to 100"),
    ({"maxSize": "many"}, "blue.maxSize: many: allowed is a whole number from 1 to 100"),
    (
        {"sha256": None},
        "blue.sha256: (not set): s3://artifacts-1a2b/releases/v1/bundle.tar.gz is in S3; "
        "allowed is its sha256, 64 hexadecimal digits",
    ),
    (
        {"sha256": DIGEST.upper()},
        f"blue.sha256: {DIGEST.upper()}: allowed is 64 lower-case hexadecimal digits, or empty",
    ),
    ({"sha256": DIGEST[1:]}, f"blue.sha256: {DIGEST[1:]}: allowed is 64 lower-case hexadecimal digits, or empty"),
    ({"amiId": "ami-12"}, "blue.amiId: ami-12: allowed is an image id, such as ami-0123456789abcdef0, or empty"),
    (
        {"amiId": ""},
        "blue.amiId: (not set): release v1 needs it; allowed is an image id, such as ami-0123456789abcdef0",
    ),
    (
        {"releaseUrl": ""},
        "blue.releaseUrl: (not set): release v1 needs it; allowed is s3://bucket/key or https://host/path",
    ),
    (
        {"releaseUrl": "http://host/v1.tgz"},
        "blue.releaseUrl: http://host/v1.tgz: allowed is s3://bucket/key or https://host/path, or empty",
    ),
    (
        {"releaseUrl": "https://me:secret@host/v1.tgz"},
        "blue.releaseUrl: https://me:secret@host/v1.tgz: allowed is s3://bucket/key or https://host/path, or empty",
    ),
    (
        {"releaseUrl": "s3://artifacts-1a2b/releases/v2/bundle.tar.gz"},
        "blue.releaseUrl: s3://artifacts-1a2b/releases/v2/bundle.tar.gz: "
        "release v1 is published as s3://<bucket>/releases/v1/bundle.tar.gz",
    ),
    (
        {"size": 3},
        "blue.size: 3: there is no such key; allowed are amiId, maxSize, minSize, release, releaseUrl, sha256",
    ),
]


@pytest.mark.parametrize(("changes", "told"), BAD_COLORS, ids=lambda value: next(iter(value), "") if value else "")
def test_a_bad_value_of_a_color_is_told_with_what_is_allowed(changes: dict[str, Any], told: str) -> None:
    assert problems(blue=BLUE | changes) == [told]


@pytest.mark.parametrize("release", ["v 1", "-v1", "v1/../v2", "v" * 41, "v1\n", "v1=x"])
def test_a_release_must_serve_as_a_name(release: str) -> None:
    (told,) = problems(blue={"release": release})
    assert told.endswith("allowed is letters, digits, . _ -, at most 40, or empty")


def test_a_color_is_an_object() -> None:
    (told,) = problems(blue="v1")
    assert told == "blue: v1: allowed is an object with release, releaseUrl, sha256, amiId, minSize, maxSize"


def test_a_field_is_no_key_by_its_own_name() -> None:
    (told,) = problems(blue=BLUE | {"min_size": 2})
    assert told == "blue.min_size: 2: there is no such key; did you mean minSize?"
    assert problems(vpc_cidr="10.0.0.0/16") == ["vpc_cidr: 10.0.0.0/16: there is no such key; did you mean vpcCidr?"]


def test_the_serving_color_needs_a_release() -> None:
    assert problems(activeColor="green", blue=BLUE) == [
        "activeColor: green: the live color has no release; allowed is a color with one (blue has v1)"
    ]


@pytest.mark.parametrize("colors", [{}, {"blue": BLUE}])
def test_a_canary_needs_two_releases(colors: dict[str, Any]) -> None:
    assert problems(canaryPercent=5, **colors) == [
        "canaryPercent: 5: allowed is 0 until blue and green both have a release"
    ]


def test_overlapping_ranges_are_told() -> None:
    own = {
        "eu-central-1a": {"public": "10.20.0.0/24", "private": "10.20.1.0/24"},
        "eu-central-1b": {"public": "10.20.0.0/25", "private": "10.20.3.0/24"},
    }
    assert problems(zones=list(own), subnetCidrs=own) == [
        "subnetCidrs: eu-central-1a.public 10.20.0.0/24 overlaps eu-central-1b.public 10.20.0.0/25; "
        "each subnet needs a range of its own"
    ]


def test_own_ranges_are_for_named_zones() -> None:
    own = {"eu-central-1a": {"public": "10.20.0.0/24", "private": "10.20.1.0/24"}}
    (told,) = problems(subnetCidrs=own)
    assert told == "subnetCidrs: eu-central-1a: allowed are exactly the zones of `zones` ()"


@pytest.mark.parametrize("days", [0, 2, 31, 4000])
def test_logs_are_kept_as_long_as_cloudwatch_can(days: int) -> None:
    (told,) = problems(logRetentionDays=days)
    assert told.startswith(f"logRetentionDays: {days}: allowed is one of 1, 3, 5, 7, 14, 30,")


def test_an_archive_keeps_lines_longer_than_their_groups() -> None:
    assert (read().logs.archive_days, read(logArchiveDays=31).logs.archive_days) == (0, 31)
    assert problems(logArchiveDays=90, logRetentionDays=90) == [
        "logArchiveDays: 90: allowed is 0, or more than logRetentionDays, which is 90"
    ]
    assert problems(logArchiveDays=-1) == ["logArchiveDays: -1: allowed is a whole number from 0 to 3653"]
    assert problems(logArchiveDays=9999) == ["logArchiveDays: 9999: allowed is a whole number from 0 to 3653"]


def test_a_mistyped_key_is_told() -> None:
    assert problems(activeColour="green") == ["activeColour: green: there is no such key; did you mean activeColor?"]
    (told,) = problems(colour="green")
    assert told.startswith("colour: green: there is no such key; allowed are accessLogs, activeColor,")


@pytest.mark.parametrize("namespace", ["blugreen", "bluegren", "blue-green", "BlueGreen", "bluegreen-"])
def test_a_mistyped_namespace_is_told_without_the_value(namespace: str) -> None:
    with pytest.raises(pulumi.RunError) as refused:
        loaded(stack_config("dev") | {f"{namespace}:alertWebhooks": "https://secret", "bluegreen:httpPort": "0"})
    assert str(refused.value).splitlines()[1:] == [
        "  httpPort: 0: allowed is a whole number from 1 to 65535",
        f"  {namespace}:alertWebhooks: nothing reads this key; did you mean bluegreen:alertWebhooks?",
    ]


def test_other_namespaces_are_their_owners() -> None:
    others = {"aws:profile": "x", "docker:host": "x", "pulumi:tags": "{}", "green:activeColor": "x"}
    assert loaded(stack_config("dev") | others).deployed.active_color is Color.BLUE


@pytest.mark.parametrize("region", ["", "europe"])
def test_a_region_is_needed(region: str) -> None:
    (told,) = problems(region=region)
    assert told == f"aws:region: {region or '(not set)'}: allowed is a region, such as eu-central-1"


@pytest.mark.parametrize("stack", ["Dev", "-dev", "dev-", "d" * 41, "dev.eu", "dev-blue", "dev-green-eu"])
def test_the_stacks_name_must_serve_in_other_names(stack: str) -> None:
    (told,) = problems(stack)
    assert told == (
        f"stack: {stack}: allowed is a-z, 0-9, and single - or _ inside, at most 40, without -blue or -green"
    )


@pytest.mark.parametrize("stack", ["dev-eu", "dev_2", "bluebird", "dev-bluebird", "blue", "evergreen-2"])
def test_a_stack_may_be_called_as_no_others_color_is(stack: str) -> None:
    assert read(stack).stack.name == stack


def test_names_fit_into_awss_limits() -> None:
    longest = f"{'s' * program_settings.MAX_STACK}-green-{'r' * user_data.MAX_VERSION}-"
    assert len(longest) + 26 <= 128  # a launch template's name; the provider adds 26 characters to a prefix


def test_all_is_told_at_once() -> None:
    told = problems(
        activeColor="red",
        canaryPercent=101,
        vpcCidr="10.0.0.0/28",
        blue=BLUE | {"minSize": 5, "sha256": "x"},
        green={"relase": "v2"},
        certificateArn=CERTIFICATE.replace(REGION, "us-east-1"),
        domain="a.example",
        baseImage="python",
        typo=1,
    )
    assert [line.partition(": ")[0] for line in told] == [
        "activeColor",
        "canaryPercent",
        "blue.sha256",
        "blue.minSize",
        "green.relase",
        "vpcCidr",
        "baseImage",
        "typo",
        "certificateArn",
    ]


def test_the_boot_program_takes_what_is_allowed_here() -> None:
    settings = read(
        bootTimeout=user_data.MAX_BOOT,
        drainTimeout=900,
        containerPort=65535,
        healthPath="/" + "h" * 1000,
        blue=BLUE | {"release": "R_1.0-x"} | {"releaseUrl": "https://host/x"},
    )
    data = UserData(
        stack="a" + "_b" * 19,
        color=Color.BLUE,
        release=settings.colors[Color.BLUE].release,
        app=settings.app.on_instance,
        parameter_path="/bluegreen/a_b/app/",
    )
    assert user_data.parse(data.render()).boot_deadline == user_data.MAX_BOOT - 20
    assert user_data.parse(replace(data, app=replace(data.app, boot_timeout=60)).render()).boot_deadline == 40


def loaded(config: dict[str, str], stack: str = "dev") -> Settings:
    found: list[Settings] = []
    declare(lambda: found.append(program_settings.load()), config=config, stack=stack)
    return found[0]


def test_the_config_is_read_through_pulumi() -> None:
    settings = loaded(stack_config("prod", blue=BLUE), "prod")
    assert (settings.stack.name, settings.stack.region, settings.network.zone_count) == ("prod", "eu-central-1", 3)
    assert settings.colors[Color.BLUE].version == "v1"


def test_a_lost_instance_of_prod_leaves_another() -> None:
    colors = loaded(stack_config("prod"), "prod").colors
    assert {color: (own.is_on, own.min_size) for color, own in colors.items()} == dict.fromkeys(Color, (False, 2))


def test_one_office_can_reach_both_stacks() -> None:
    dev, prod = (IPv4Network(loaded(stack_config(stack), stack).network.vpc_cidr) for stack in ("dev", "prod"))
    assert not dev.overlaps(prod)


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_a_stacks_file_is_written_as_pulumi_writes_it_so_that_its_first_change_is_all_that_git_shows(
    stack: str,
) -> None:
    values = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"].values()
    assert [value for value in values if not isinstance(value, str | dict | list)] == []


def test_a_mistyped_key_in_a_stacks_file_is_told() -> None:
    with pytest.raises(pulumi.RunError, match=r"activeColour: green: there is no such key; did you mean activeColor\?"):
        loaded(stack_config("dev", activeColour="green"))


def test_nothing_is_registered_when_the_config_is_bad() -> None:
    declared = Declaration()
    with pytest.raises(pulumi.RunError):
        declare(lambda: program_settings.load(), config=stack_config("dev", canaryPercent=101), into=declared)
    assert [each.type for each in declared.resources] == [STACK_TYPE]

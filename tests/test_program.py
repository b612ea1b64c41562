from __future__ import annotations

import ast
import base64
import copy
import dataclasses
import functools
import inspect
import json
import runpy
from importlib import import_module
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from ami.boot.user_data import parse as parse_user_data
from config.alerts import without_subscribers
from tests.declared import ACCOUNT, REGION, ROOT, STACK_TYPE, ZONES, Declaration, Declared, declare, short, stack_config

BLUE: dict[str, Any] = {
    "release": "v1",
    "releaseUrl": "s3://artifacts-1a2b/releases/v1/bundle.tar.gz",
    "sha256": "0123456789abcdef" * 4,
    "amiId": "ami-0123456789abcdef0",
}
GREEN: dict[str, Any] = BLUE | {
    "release": "v2",
    "releaseUrl": "s3://artifacts-1a2b/releases/v2/bundle.tar.gz",
    "minSize": 2,
}
BOTH: dict[str, Any] = {"blue": BLUE, "green": GREEN}
BASE = f"docker.io/library/python@sha256:{'ab' * 32}"
WITH_NAME: dict[str, Any] = {
    "domain": "app.example.org",
    "certificateArn": f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/1a2b",
    "hostedZoneId": "Z1",
}
STACKS = pytest.mark.parametrize("stack", ["dev", "prod"])
COLORS = pytest.mark.parametrize("color", ["blue", "green"])
OUTPUTS = {
    "activeColor",
    "canaryPercent",
    "url",
    "loadBalancerDnsName",
    "previewHeader",
    "previewToken",
    "artifactsBucket",
    "alertsTopicArn",
    "loadBalancerAlarm",
    "loadBalancerArn",
    "loadBalancerArnSuffix",
    "dashboard",
    "parameterPath",
    "healthPath",
    "region",
    "baseImage",
    "colors",
    "liveRuleArn",
    "revision",
    "committed",
    "account",
    "logArchiveBucket",
    "vpcId",
    "instanceSubnetIds",
    "instanceSecurityGroupId",
}


pytestmark = pytest.mark.usefixtures("offline")


def run(stack: str = "dev", into: Declaration | None = None, **values: Any) -> Declaration:
    """The real `__main__.py` with the stack's real file, and the given values over it."""
    return declare(
        lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"),
        stack=stack,
        config=stack_config(stack, **values),
        into=into,
    )


@functools.cache
def _played(stack: str, values: str) -> Declaration:
    return run(stack, **json.loads(values))


def program(stack: str = "dev", **values: Any) -> Declaration:
    """What the program declares: each test's own copy of the one run with this config."""
    return copy.deepcopy(_played(stack, json.dumps(values, sort_keys=True)))


def by_urn(declared: Declaration) -> dict[str, Declared]:
    return {each.urn: each for each in declared.resources}


def changed(before: Declaration, after: Declaration) -> list[str]:
    """What an update would touch: new, gone or other than before."""
    old, new = by_urn(before), by_urn(after)
    both = {urn for urn in old.keys() & new.keys() if _watched(old[urn]) != _watched(new[urn])}
    touched = [(old | new)[urn] for urn in both | (old.keys() ^ new.keys())]
    return sorted(f"{short(each.type)} {each.name}" for each in touched)


def _watched(each: Declared) -> Declared:
    """Without the inputs whose changes the engine is told to ignore."""
    watched = {key: value for key, value in each.inputs.items() if key not in each.ignore_changes}
    return dataclasses.replace(each, inputs=watched)


def fleet_names(declared: Declaration) -> set[str]:
    return set(declared.all("autoscaling.Group"))


@STACKS
def test_before_the_first_release_nobody_is_served(stack: str) -> None:
    declared = program(stack)
    assert fleet_names(declared) == set()
    assert "live" not in declared.all("lb.ListenerRule")
    assert declared.all("lb.TargetGroup").keys() == {"blue", "green"}
    assert declared.outputs["liveRuleArn"] == ""


@STACKS
@COLORS
def test_one_color_can_stand_alone(stack: str, color: str) -> None:
    declared = program(stack, activeColor=color, **{color: BOTH[color]})
    assert fleet_names(declared) == {f"{color}-fleet"}
    targets = declared.one("lb.ListenerRule", "live").inputs["actions"][0]["forward"]["targetGroups"]
    assert {each["arn"].rpartition("/")[2]: each["weight"] for each in targets} == {
        "blue": 100 if color == "blue" else 0,
        "green": 100 if color == "green" else 0,
    }


@STACKS
@pytest.mark.parametrize("more", [{}, {"baseImage": BASE}, WITH_NAME], ids=["plain", "base image", "name"])
def test_a_cutover_changes_the_live_rule_and_nothing_else(stack: str, more: dict[str, Any]) -> None:
    before = program(stack, activeColor="blue", **BOTH, **more)
    after = program(stack, activeColor="green", **BOTH, **more)
    assert changed(before, after) == ["lb.ListenerRule live"]


def test_a_canary_changes_the_live_rule_and_nothing_else() -> None:
    assert changed(program(**BOTH), program(**BOTH, canaryPercent=10)) == ["lb.ListenerRule live"]


VPN: dict[str, Any] = {
    "customerGatewayIp": "198.51.100.7",
    "remoteCidrs": ["192.168.0.0/24", "192.168.9.0/24"],
    "allow": [{"port": 22}],
    "presharedKeys": ["first.key_1", "second.key_2"],
}


@pytest.mark.parametrize("gateway", ["vgw", "tgw"])
@pytest.mark.parametrize("routing", ["static", "bgp"])
def test_a_cutover_with_a_vpn_changes_the_live_rule_and_nothing_else(gateway: str, routing: str) -> None:
    vpn = VPN | {"gateway": gateway, "routing": routing}
    before, after = program(**BOTH, vpn=vpn), program(activeColor="green", **BOTH, vpn=vpn)
    assert changed(before, after) == ["lb.ListenerRule live"]


def test_a_vpn_adds_to_a_stack_and_changes_nothing_of_it() -> None:
    assert changed(program(**BOTH), program(**BOTH, vpn=VPN)) == [
        "cloudwatch.LogGroup vpn",
        "cloudwatch.MetricAlarm vpn-down",
        "cloudwatch.MetricAlarm vpn-tunnel1-down",
        "cloudwatch.MetricAlarm vpn-tunnel2-down",
        "ec2.CustomerGateway vpn-office",
        "ec2.VpnConnection vpn",
        "ec2.VpnConnectionRoute vpn-192.168.0.0/24",
        "ec2.VpnConnectionRoute vpn-192.168.9.0/24",
        "ec2.VpnGateway vpn",
        "ec2.VpnGatewayRoutePropagation vpn-eu-central-1a",
        "ec2.VpnGatewayRoutePropagation vpn-eu-central-1b",
        "vpc.SecurityGroupIngressRule machines-from-office-tcp-22-192.168.0.0/24",
        "vpc.SecurityGroupIngressRule machines-from-office-tcp-22-192.168.9.0/24",
        "vpn.Vpn vpn",
    ]


@pytest.mark.parametrize(
    ("nat", "tables"),
    [
        ("none", {"network-public"}),
        ("single", {"network-private-eu-central-1a", "network-private-eu-central-1b"}),
        ("per-zone", {"network-private-eu-central-1a", "network-private-eu-central-1b"}),
    ],
)
def test_the_ways_to_the_office_are_where_the_machines_are(nat: str, tables: set[str]) -> None:
    ways = program(vpn=VPN, natGateways=nat).all("ec2.VpnGatewayRoutePropagation").values()
    assert {each.inputs["routeTableId"] for each in ways} == {f"ec2.RouteTable:{table}" for table in tables}


def test_the_office_is_told_all_but_the_keys() -> None:
    outputs = program(**BOTH, vpn=VPN).outputs
    assert outputs.keys() == OUTPUTS | {"vpn"}
    assert outputs["vpn"] == {
        "connectionId": "ec2.VpnConnection:vpn",
        "customerGatewayId": "ec2.CustomerGateway:vpn-office",
        "tunnelAddresses": ["203.0.113.1", "203.0.113.2"],
        "insideCidrs": ["169.254.100.0/30", "169.254.101.0/30"],
        "remoteCidrs": ["192.168.0.0/24", "192.168.9.0/24"],
        "vpcCidr": "10.20.0.0/16",
        "routing": "static",
        "remoteAsn": 65000,
        "amazonAsn": 64512,
    }


def test_an_archive_of_logs_adds_to_a_stack_and_changes_nothing_of_it() -> None:
    archived = program(**BOTH, logArchiveDays=365)
    assert changed(program(**BOTH), archived) == [
        "cloudwatch.LogSubscriptionFilter log-archive-app",
        "cloudwatch.LogSubscriptionFilter log-archive-boot",
        "cloudwatch.LogSubscriptionFilter log-archive-system",
        "cloudwatch.MetricAlarm log-archive-late",
        "iam.Role log-archive",
        "iam.Role log-archive-sender",
        "iam.RolePolicy log-archive",
        "iam.RolePolicy log-archive-sender",
        "kinesis.FirehoseDeliveryStream log-archive",
        "observability.LogArchive log-archive",
        "s3.Bucket log-archive",
        "s3.BucketLifecycleConfiguration log-archive",
        "s3.BucketOwnershipControls log-archive",
        "s3.BucketPolicy log-archive",
        "s3.BucketPublicAccessBlock log-archive",
        "s3.BucketServerSideEncryptionConfiguration log-archive",
    ]
    assert archived.outputs["logArchiveBucket"] == "log-archive-1a2b"


def test_prod_archives_its_logs_and_dev_does_not() -> None:
    buckets = {stack: program(stack).outputs["logArchiveBucket"] for stack in ("dev", "prod")}
    assert buckets == {"dev": "", "prod": "log-archive-1a2b"}


def test_a_program_declares_the_same_twice() -> None:
    assert changed(run(**BOTH, baseImage=BASE), run(**BOTH, baseImage=BASE)) == []


@COLORS
def test_a_delivery_touches_only_the_idle_colors_machines_and_its_name_on_the_dashboard(color: str) -> None:
    other = "green" if color == "blue" else "blue"
    next_release = BOTH[color] | {"release": "v3", "releaseUrl": "s3://artifacts-1a2b/releases/v3/bundle.tar.gz"}
    before, after = program(activeColor=other, **BOTH), program(activeColor=other, **(BOTH | {color: next_release}))
    assert changed(before, after) == [
        f"autoscaling.Group {color}-fleet",
        f"autoscaling.Policy {color}-fleet-cpu",
        "cloudwatch.Dashboard dashboard",
        f"ec2.LaunchTemplate {color}-fleet",
    ]


def test_retiring_a_color_takes_its_machines_and_leaves_its_target_group() -> None:
    assert changed(program(**BOTH), program(blue=BLUE)) == [
        "autoscaling.Group green-fleet",
        "autoscaling.Policy green-fleet-cpu",
        "cloudwatch.Dashboard dashboard",
        "cloudwatch.MetricAlarm green-capacity-machines",
        "color.ColorFleet green-fleet",
        "ec2.LaunchTemplate green-fleet",
        "lb.ListenerRule live",
        "observability.CapacityAlarm green-capacity",
    ]


def test_the_order_of_a_first_release() -> None:
    """Preview rules, then the machines, then the live rule: each waits for the one before."""
    declared = program(**BOTH, **WITH_NAME)
    rules, groups = declared.all("lb.ListenerRule"), declared.all("autoscaling.Group")
    previews = {rules["web-preview-blue"].urn, rules["web-preview-green"].urn}
    assert all(previews <= group.dependencies for group in groups.values())
    assert {group.urn for group in groups.values()} <= rules["live"].dependencies
    assert declared.one("route53.Record").urn in rules["live"].dependencies


@pytest.mark.parametrize("nat", ["none", "single", "per-zone"])
def test_machines_start_when_they_can_reach_aws_and_may(nat: str) -> None:
    declared = program(blue=BLUE, natGateways=nat)
    group, template = declared.one("autoscaling.Group"), declared.one("ec2.LaunchTemplate")
    ways_out = {each.urn for kind in ("ec2.Route", "ec2.VpcEndpoint") for each in declared.all(kind).values()}
    assert ways_out <= group.dependencies
    assert {template.urn} <= group.dependencies
    assert {declared.one("iam.RolePolicy", "machine").urn} <= template.dependencies


@pytest.mark.parametrize("folder", ["", "fleet", "components", "config"])
def test_what_hooks_need_is_imported_while_the_program_runs(folder: str) -> None:
    """Pulumi runs hooks after the program, when the project's folder is no longer where Python looks for modules."""
    own = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    late = [
        f"{path.relative_to(ROOT)}:{each.lineno}"
        for path in (ROOT / folder).glob("*.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        for each in ast.walk(function)
        if isinstance(each, ast.ImportFrom) and str(each.module).partition(".")[0] in own
    ]
    assert "fleet" in own
    assert late == []


def test_the_gates_are_in_place() -> None:
    declared = program(**BOTH)
    moments = {"before_create": 1, "after_create": 1, "before_update": 1, "after_update": 1}
    assert declared.one("lb.ListenerRule", "live").hooks == moments
    assert sorted((each.name, *each.hooks) for each in declared.resources if each.hooks) == [
        ("blue-fleet", "after_create"),
        ("blue-fleet", "before_create"),
        ("green-fleet", "after_create"),
        ("green-fleet", "before_create"),
        ("live", *moments),
    ]


def test_machines_are_told_what_they_need() -> None:
    declared = program(**BOTH, baseImage=BASE, drainTimeout=45)
    text = base64.b64decode(declared.one("ec2.LaunchTemplate", "green-fleet").inputs["userData"]).decode()
    assert json.loads(text) == {
        "format": 1,
        "stack": "dev",
        "color": "green",
        "release": {"version": "v2", "url": GREEN["releaseUrl"], "sha256": GREEN["sha256"]},
        "app": {"port": 8080, "health_path": "/health", "boot_timeout": 300, "drain_timeout": 45},
        "parameter_path": "/bluegreen/dev/app/",
        "alerts_topic_arn": declared.one("sns.Topic").arn,
        "log_groups": {
            "app": "/bluegreen/dev/app",
            "boot": "/bluegreen/dev/boot",
            "system": "/bluegreen/dev/system",
        },
        "base_image": f"{ACCOUNT}.ecr.example/base@sha256:pushed",
    }
    assert parse_user_data(text).release.version == "v2"


def all_dependencies(declared: Declaration, of: Declared) -> set[str]:
    """Short types of all that it waits for, directly or not."""
    known, found, rest = by_urn(declared), set[str](), [*of.dependencies]
    while rest:
        if (urn := rest.pop()) not in found:
            found.add(urn)
            rest += known[urn].dependencies
    return {short(known[urn].type) for urn in found}


@pytest.mark.parametrize("mode", ["none", "single", "per-zone"])
def test_what_needs_the_internet_gateway_waits_for_it(mode: str) -> None:
    declared = program(**BOTH, natGateways=mode)
    kinds = ("ec2.Eip", "ec2.NatGateway", "lb.LoadBalancer", "autoscaling.Group")
    needy = [each for kind in kinds for each in declared.all(kind).values()]
    assert len(needy) == {"none": 3, "single": 5, "per-zone": 7}[mode]
    waits = {each.id: "ec2.InternetGateway" in all_dependencies(declared, each) for each in needy}
    assert waits == dict.fromkeys(waits, True)


def test_what_the_stack_tells_scripts_and_people() -> None:
    declared = program(**BOTH, activeColor="green", canaryPercent=5, httpPort=8099)
    outputs = declared.outputs
    assert outputs.keys() == OUTPUTS
    assert outputs == outputs | {
        "activeColor": "green",
        "canaryPercent": 5,
        "url": "http://web.elb.example:8099",
        "loadBalancerDnsName": "web.elb.example",
        "previewHeader": "X-Bluegreen-Preview",
        "previewToken": "t" * 32,
        "artifactsBucket": "artifacts-1a2b",
        "loadBalancerArn": declared.one("lb.LoadBalancer").arn,
        "loadBalancerArnSuffix": "app/web/1a2b",
        "loadBalancerAlarm": "dev-load-balancer-errors",
        "dashboard": "bluegreen-dev-eu-central-1",
        "parameterPath": "/bluegreen/dev/app/",
        "healthPath": "/health",
        "region": REGION,
        "baseImage": "",
        "liveRuleArn": declared.one("lb.ListenerRule", "live").arn,
        "vpcId": "ec2.Vpc:network",
        "instanceSubnetIds": [f"ec2.Subnet:network-private-{zone}" for zone in ZONES[:2]],
        "instanceSecurityGroupId": "ec2.SecurityGroup:machines",
    }
    assert outputs["colors"]["green"] == {
        "release": "v2",
        "releaseUrl": GREEN["releaseUrl"],
        "sha256": GREEN["sha256"],
        "amiId": GREEN["amiId"],
        "targetGroupArn": declared.one("lb.TargetGroup", "green").arn,
        "targetGroupArnSuffix": "targetgroup/green/1a2b",
        "alarm": "dev-green-bad",
        "asgName": "dev-green-v2-1a2b",
        "launchTemplateId": "ec2.LaunchTemplate:green-fleet",
    }


def test_a_color_that_is_off_has_no_machines_to_tell_of() -> None:
    off = program(blue=BLUE).outputs["colors"]["green"]
    assert off.pop("targetGroupArn").endswith("TargetGroup/green")
    assert off.pop("targetGroupArnSuffix") == "targetgroup/green/1a2b"
    assert off.pop("alarm") == "dev-green-bad"
    assert set(off.values()) == {""}


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "http://web.elb.example"),
        ({"domain": "app.example.org"}, "http://app.example.org"),
        ({"domain": "app.example.org", "httpPort": 8099}, "http://app.example.org:8099"),
        (WITH_NAME, "https://app.example.org"),
    ],
)
def test_the_address_of_the_app(values: dict[str, Any], url: str) -> None:
    assert program(**values).outputs["url"] == url


@pytest.mark.parametrize(
    ("values", "address"), [({}, {}), (WITH_NAME, {"Address": "https://app.example.org"})], ids=["no-name", "name"]
)
def test_the_balancer_leads_to_bucket_topic_and_address_where_the_state_cannot_be_read(
    values: dict[str, Any], address: dict[str, str]
) -> None:
    assert program(**values).one("lb.LoadBalancer").inputs["tags"] == {
        "Stack": "dev",
        "ArtifactsBucket": "artifacts-1a2b",
        "AlertsTopic": f"arn:aws:sns:{REGION}:{ACCOUNT}:Topic/alerts",
        **address,
    }


def test_the_secret_of_the_preview_is_a_secret() -> None:
    assert program(**BOTH).secret_outputs == {"previewToken"}


def taggable(each: Declared) -> bool:
    """Whether the provider's class takes tags. A rule of a security group goes with its group."""
    module, _, name = short(each.type).partition(".")
    if not each.type.startswith("aws:") or (name.startswith("SecurityGroup") and name.endswith("Rule")):
        return False
    cls = getattr(import_module(f"pulumi_aws.{module}"), name)
    return "tags" in inspect.signature(getattr(cls, "_internal_init")).parameters  # noqa: B009


def tags_of(each: Declared) -> dict[str, str]:
    tags = each.inputs.get("tags", {})
    return {tag["key"]: tag["value"] for tag in tags} if isinstance(tags, list) else tags


@STACKS
def test_whatever_can_be_tagged_names_its_stack(stack: str) -> None:
    declared = program(stack, **BOTH, baseImage=BASE, vpn=VPN, **WITH_NAME)
    tagged = [each for each in declared.resources if taggable(each)]
    assert len(tagged) > 30
    assert [each.urn for each in tagged if tags_of(each).get("Stack") != stack] == []


def test_the_providers_default_tags_reach_the_machines() -> None:
    declared = program(**BOTH)
    wanted = {"Project": "bluegreen", "ManagedBy": "pulumi"}.items()
    for group in declared.all("autoscaling.Group").values():
        assert wanted <= tags_of(group).items()
    for template in declared.all("ec2.LaunchTemplate").values():
        kinds = {
            each["resourceType"] for each in template.inputs["tagSpecifications"] if wanted <= each["tags"].items()
        }
        assert kinds == {"instance", "volume", "network-interface"}


@STACKS
def test_names_of_balancers_and_target_groups_fit_with_pulumis_suffix(stack: str) -> None:
    declared = program(stack, **BOTH)
    names = [*declared.all("lb.LoadBalancer"), *declared.all("lb.TargetGroup")]
    assert len(names) == 3
    assert all(len(name) + 8 <= 32 for name in names)


@STACKS
def test_every_role_is_where_a_deploying_role_may_make_it_and_is_bounded(stack: str) -> None:
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/limit"
    declared = program(stack, **BOTH, permissionsBoundary=boundary)
    roles = declared.all("iam.Role")
    assert len(roles) >= 2
    assert {(each.inputs["path"], each.inputs["permissionsBoundary"]) for each in roles.values()} == {
        (f"/bluegreen/{stack}/", boundary)
    }
    assert {each.inputs["path"] for each in declared.all("iam.InstanceProfile").values()} == {f"/bluegreen/{stack}/"}


def test_no_security_group_is_open_but_the_balancers_port() -> None:
    declared = program(**BOTH, vpn=VPN)
    open_rules = [
        each.name
        for each in declared.all("vpc.SecurityGroupIngressRule").values()
        if each.inputs.get("cidrIpv4") == "0.0.0.0/0"
    ]
    assert open_rules == ["web-in-80-0.0.0.0/0"]
    assert all("ingress" not in group.inputs for group in declared.all("ec2.SecurityGroup").values())


def test_prod_is_protected_and_dev_can_be_emptied() -> None:
    protected = {stack: {each.name for each in program(stack).resources if each.protect} for stack in ("dev", "prod")}
    assert protected == {"dev": set(), "prod": {"network", "artifacts", "artifacts-logs", "log-archive", "web"}}
    buckets = {stack: program(stack).one("s3.Bucket", "artifacts").inputs["forceDestroy"] for stack in ("dev", "prod")}
    assert buckets == {"dev": True, "prod": False}


def test_prod_has_a_gateway_in_each_of_three_zones() -> None:
    declared = program("prod")
    assert len(declared.all("ec2.NatGateway")) == len(declared.all("ec2.Subnet")) / 2 == 3


def test_named_zones_ask_nobody() -> None:
    declared = program(zones=["eu-central-1b", "eu-central-1c"])
    assert {each.inputs["availabilityZone"] for each in declared.all("ec2.Subnet").values()} == {
        "eu-central-1b",
        "eu-central-1c",
    }


def test_more_zones_than_the_region_has_are_refused() -> None:
    with pytest.raises(Exception, match="zoneCount: 5: allowed is at most 3, as many as the region has"):
        program(zoneCount=5)


def test_bad_config_stops_the_program_before_it_registers_anything() -> None:
    declared = Declaration()
    with pytest.raises(pulumi.RunError) as caught:
        run(into=declared, canaryPercent=101, vpcCidr="10.0.0.0/28")
    assert "  canaryPercent: 101: allowed is" in str(caught.value)
    assert "  vpcCidr: 10.0.0.0/28: too small" in str(caught.value)
    assert [each.type for each in declared.resources] == [STACK_TYPE]


@STACKS
def test_both_colors_are_watched_before_the_first_release_and_for_ever_after(stack: str) -> None:
    fresh, full = program(stack), program(stack, **BOTH, canaryPercent=10)
    kinds = ("cloudwatch.MetricAlarm", "cloudwatch.CompositeAlarm")
    alarms = [{name: each.inputs for kind in kinds for name, each in one.all(kind).items()} for one in (fresh, full)]
    assert {name: each for name, each in alarms[1].items() if not name.endswith("-capacity-machines")} == alarms[0]
    assert alarms[1].keys() - alarms[0].keys() == {"blue-capacity-machines", "green-capacity-machines"}
    assert len(alarms[0]) == {"dev": 13, "prod": 14}[stack], "prod's archive of logs has one besides"


@STACKS
def test_losses_are_told_of_whatever_release_a_color_runs(stack: str) -> None:
    fresh, full = program(stack), program(stack, activeColor="green", **BOTH, canaryPercent=10)
    rules = [one.all("cloudwatch.EventRule") for one in (fresh, full)]
    targets = [one.all("cloudwatch.EventTarget") for one in (fresh, full)]
    assert rules[0] == rules[1]
    assert targets[0] == targets[1]
    assert len(rules[0]) == len(targets[0]) == 4
    assert {each.inputs["arn"] for each in targets[0].values()} == {full.one("sns.Topic").arn}


def test_other_thresholds_change_alarms_and_the_line_on_the_dashboard() -> None:
    slower, later = {"latencyMilliseconds": 5000}, {"minutes": 5}
    assert changed(program(**BOTH), program(**BOTH, alarms=slower)) == [
        "cloudwatch.Dashboard dashboard",
        "cloudwatch.MetricAlarm blue-alarms-latency",
        "cloudwatch.MetricAlarm green-alarms-latency",
    ]
    assert len(changed(program(**BOTH), program(**BOTH, alarms=later))) == 9


def test_a_webhook_is_kept_as_a_secret() -> None:
    url = "https://hooks.example.org/integration/1a2b3c"
    hook = program(alertWebhooks=[url]).one("sns.TopicSubscription")
    assert (hook.inputs["protocol"], hook.inputs["endpoint"]) == ("https", url)
    assert hook.secrets == frozenset({"endpoint"})
    assert "1a2b3c" not in hook.name


# -- who is live, and whether this config knows it ------------------------------------------------------------------

LAST: dict[str, Any] = {
    "activeColor": "green",
    "canaryPercent": 0,
    "revision": "a" * 12,
    "account": ACCOUNT,
    "region": REGION,
    "colors": {
        "blue": {"release": ""},
        "green": {key: GREEN[key] for key in ("release", "releaseUrl", "sha256", "amiId")},
    },
}
FILE = "# kept\nconfig:\n  aws:region: eu-central-1\n"


def update(
    folder: Path, *, preview: bool = False, last: dict[str, Any] = LAST, into: Declaration | None = None, **values: Any
) -> Declaration:
    """The program as an update of a stack with users, in a checkout of its own."""
    own = {f"bluegreen:{key}": value for key, value in values.items()}
    (folder / "Pulumi.dev.yaml").write_text(FILE + "".join(f"  {key}: {json.dumps(own[key])}\n" for key in own))
    return declare(
        lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"),
        config=stack_config("dev", **values),
        last=last,
        preview=preview,
        folder=folder,
        into=into,
    )


def revision(folder: Path) -> str:
    text = (folder / "Pulumi.dev.yaml").read_text()
    assert text.startswith("# kept\n")
    return str(yaml.safe_load(text)["config"].get("bluegreen:revision", ""))


def test_config_that_does_not_know_the_stack_registers_nothing(tmp_path: Path) -> None:
    seen = Declaration()
    with pytest.raises(
        pulumi.RunError, match=r"older than .* stack dev: green v2 has 100 % .* take all traffic off green"
    ):
        update(tmp_path, into=seen)
    assert [each.type for each in seen.resources] == [STACK_TYPE]
    assert (tmp_path / "Pulumi.dev.yaml").read_text() == FILE


def test_its_preview_shows_everything_and_fails_with_the_same_sentence(tmp_path: Path) -> None:
    seen = Declaration()
    with pytest.raises(pulumi.RunError, match="older than the last change of stack dev") as caught:
        update(tmp_path, preview=True, into=seen)
    (guard,) = [each for each in seen.resources if each.name == "traffic-guard"]
    assert guard.inputs == {"refusals": [str(caught.value)]}
    assert len(seen.table()) > 50
    assert (tmp_path / "Pulumi.dev.yaml").read_text() == FILE


def test_config_that_asks_for_nothing_new_is_brought_up_to_date(tmp_path: Path) -> None:
    declared = update(tmp_path, activeColor="green", green=GREEN)
    assert declared.outputs["revision"] == LAST["revision"]
    assert revision(tmp_path) == LAST["revision"]
    assert [each.inputs for each in declared.resources if each.name == "traffic-guard"] == [{"refusals": []}]


def test_a_change_is_in_the_file_before_it_is_in_the_stack(tmp_path: Path) -> None:
    declared = update(tmp_path, activeColor="green", green=GREEN, blue=BLUE, revision=LAST["revision"])
    assert len(declared.outputs["revision"]) == 12
    assert revision(tmp_path) == f"{LAST['revision']}/{declared.outputs['revision']}"


def test_an_update_that_fails_leaves_the_newest_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise pulumi.RunError("no such zone")

    monkeypatch.setattr("composition.zone_ranges", fail)
    with pytest.raises(pulumi.RunError, match="no such zone"):
        update(tmp_path, activeColor="green", green=GREEN, blue=BLUE, revision=LAST["revision"])
    assert revision(tmp_path).startswith(f"{LAST['revision']}/")


def test_another_account_is_no_place_for_the_stack(tmp_path: Path) -> None:
    with pytest.raises(
        pulumi.RunError, match=f"stack dev is in the AWS account 1{'0' * 11}, and this would .* {ACCOUNT}"
    ):
        update(tmp_path, last=LAST | {"account": f"1{'0' * 11}"}, activeColor="green", green=GREEN)


@pytest.mark.parametrize(
    ("stack", "values", "warned"),
    [
        ("dev", {}, False),
        ("dev", {"blue": BLUE}, True),
        ("dev", {"blue": BLUE, "alertEmails": ["ops@example.org"]}, False),
        ("dev", {"blue": BLUE, "alertWebhooks": ["https://hooks.example.org/1"]}, False),
        ("prod", {}, True),
        ("prod", {"protect": False}, False),
        ("prod", {"alertEmails": ["ops@example.org"]}, False),
    ],
)
def test_a_stack_that_matters_and_notifies_nobody_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, stack: str, values: dict[str, Any], warned: bool
) -> None:
    said: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", said.append)
    run(stack, **values)
    assert [text for text in said if "Pulumi.dev.yaml" not in text] == [without_subscribers(stack)] * warned


def test_a_file_that_the_config_was_not_taken_from_stays_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `pulumi up --config-file`: else the old values in it would look like the newest wish."""
    said: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", said.append)
    (tmp_path / "Pulumi.dev.yaml").write_text(FILE)
    declare(
        lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"),
        config=stack_config("dev", activeColor="green", green=GREEN, blue=BLUE, revision=LAST["revision"]),
        last=LAST,
        folder=tmp_path,
    )
    assert (tmp_path / "Pulumi.dev.yaml").read_text() == FILE
    stale = [text for text in said if text.startswith("Pulumi.dev.yaml")]
    assert stale[0].startswith(
        "Pulumi.dev.yaml could not be brought up to date (the config was taken from another file)"
    )


def test_what_git_held_stays_with_the_stack_until_ci_says_otherwise(tmp_path: Path) -> None:
    last = LAST | {"committed": {"activeColor": "green"}}
    assert update(tmp_path, last=last, activeColor="green", green=GREEN).outputs["committed"] == last["committed"]
    newer = update(tmp_path, last=last, activeColor="green", green=GREEN, committed={"activeColor": "blue"})
    assert newer.outputs["committed"] == {"activeColor": "blue"}

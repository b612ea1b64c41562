from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from components.load_balancer import LoadBalancer, LoadBalancerArgs
from config.settings import LoadBalancerSettings
from fleet.colors import Color
from tests.declared import CONTEXT, Declaration, declare

CERTIFICATE = "arn:aws:acm:eu-central-1:123456789012:certificate/1"
SILENT = {
    "type": "fixed-response",
    "fixedResponse": {"contentType": "text/plain", "messageBody": "No release is live.", "statusCode": "503"},
}
PLAIN = {
    ("ec2.SecurityGroup", "web"),
    ("vpc.SecurityGroupIngressRule", "web-in-80-0.0.0.0/0"),
    ("lb.LoadBalancer", "web"),
    ("lb.Listener", "web-http"),
    ("ssm.Parameter", "web-preview-token"),
    ("lb.ListenerRule", "web-preview-blue"),
    ("lb.ListenerRule", "web-preview-green"),
}


def balancer(
    protect: bool = False, log_bucket: str = "", tags: Mapping[str, str] | None = None, **settings: Any
) -> Declaration:
    args = LoadBalancerArgs(
        vpc_id="vpc-1",
        subnet_ids=["subnet-1", "subnet-2"],
        target_groups={Color.BLUE: "arn:blue", Color.GREEN: "arn:green"},
        log_bucket=log_bucket,
        tags=tags or {},
    )
    own = LoadBalancerSettings(**({"access_logs": False} | settings))
    return declare(lambda: LoadBalancer("web", replace(CONTEXT, protect=protect), own, args))


def test_what_stands_with_plain_http() -> None:
    assert balancer().table() == PLAIN


def test_a_certificate_adds_a_listener() -> None:
    assert balancer(certificate_arn=CERTIFICATE).table() - PLAIN == {
        ("lb.Listener", "web-https"),
        ("vpc.SecurityGroupIngressRule", "web-in-443-0.0.0.0/0"),
    }


def test_the_balancer_stands_in_the_given_subnets() -> None:
    declared = balancer()
    assert declared.one("lb.LoadBalancer").inputs == {
        "dropInvalidHeaderFields": True,
        "enableDeletionProtection": False,
        "loadBalancerType": "application",
        "securityGroups": ["ec2.SecurityGroup:web"],
        "subnets": ["subnet-1", "subnet-2"],
        "tags": {"Stack": "dev"},
    }


def test_further_tags_stand_beside_the_stack_s_which_none_of_them_can_be() -> None:
    declared = balancer(tags={"ArtifactsBucket": "artifacts-1a2b", "Stack": "other"})
    assert declared.one("lb.LoadBalancer").inputs["tags"] == {"ArtifactsBucket": "artifacts-1a2b", "Stack": "dev"}


def test_access_logs_go_below_their_prefix() -> None:
    declared = balancer(access_logs=True, log_bucket="logs")
    expected = {"bucket": "logs", "prefix": "balancer", "enabled": True}
    assert declared.one("lb.LoadBalancer").inputs["accessLogs"] == expected


def test_the_balancer_can_be_protected() -> None:
    declared = balancer(protect=True).one("lb.LoadBalancer")
    assert (declared.protect, declared.inputs["enableDeletionProtection"]) == (True, True)


def test_a_listener_answers_503_until_a_rule_says_otherwise() -> None:
    listener = balancer(http_port=8099).one("lb.Listener").inputs
    assert listener == {
        "defaultActions": [SILENT],
        "loadBalancerArn": balancer().one("lb.LoadBalancer").arn,
        "port": 8099,
        "protocol": "HTTP",
        "tags": {"Stack": "dev"},
    }


def test_with_a_certificate_http_leads_to_https() -> None:
    declared = balancer(certificate_arn=CERTIFICATE)
    assert declared.one("lb.Listener", "web-http").inputs["defaultActions"] == [
        {"type": "redirect", "redirect": {"port": "443", "protocol": "HTTPS", "statusCode": "HTTP_301"}}
    ]
    https = declared.one("lb.Listener", "web-https").inputs
    assert (https["port"], https["protocol"], https["certificateArn"]) == (443, "HTTPS", CERTIFICATE)
    assert (https["sslPolicy"], https["defaultActions"]) == ("ELBSecurityPolicy-TLS13-1-2-2021-06", [SILENT])


@pytest.mark.parametrize(("certificate", "listener"), [("", "web-http"), (CERTIFICATE, "web-https")])
def test_preview_rules_stand_on_the_listener_that_serves(certificate: str, listener: str) -> None:
    declared = balancer(certificate_arn=certificate)
    serving = declared.one("lb.Listener", listener).arn
    assert {rule.inputs["listenerArn"] for rule in declared.all("lb.ListenerRule").values()} == {serving}


@pytest.mark.parametrize(("color", "priority", "weights"), [("blue", 10, (100, 0)), ("green", 11, (0, 100))])
def test_a_secret_header_leads_to_a_color_and_both_groups_are_named(
    color: str, priority: int, weights: tuple[int, int]
) -> None:
    declared = balancer()
    rule = declared.one("lb.ListenerRule", f"web-preview-{color}").inputs
    assert rule["conditions"] == [
        {"httpHeader": {"httpHeaderName": "X-Bluegreen-Preview", "values": [f"{'t' * 32}-{color}"]}}
    ]
    blue, green = weights
    assert rule["actions"] == [
        {
            "type": "forward",
            "forward": {"targetGroups": [{"arn": "arn:blue", "weight": blue}, {"arn": "arn:green", "weight": green}]},
        }
    ]
    assert (rule["priority"], rule["tags"]) == (priority, {"Stack": "dev", "Role": "preview"})


def test_a_token_is_drawn_and_later_ones_ignored() -> None:
    first, second = (balancer().one("ssm.Parameter") for _ in range(2))
    drawn = {"value": first.inputs["value"]}
    assert re.fullmatch("[0-9a-f]{32}", drawn["value"])
    assert first.inputs == drawn | {
        "name": "/bluegreen/dev/preview-token",
        "description": "Before a color's name in X-Bluegreen-Preview: routes a request to that color, live or idle",
        "type": "SecureString",
        "overwrite": True,
        "tags": {"Stack": "dev"},
    }
    assert second.inputs["value"] != drawn["value"]
    assert first.ignore_changes == ("value",)


def test_only_the_given_ranges_come_in() -> None:
    declared = balancer(ingress_cidrs=["192.0.2.0/24", "198.51.100.0/24"], certificate_arn=CERTIFICATE)
    rules = declared.all("vpc.SecurityGroupIngressRule").values()
    assert {(rule.inputs["cidrIpv4"], rule.inputs["fromPort"], rule.inputs["toPort"]) for rule in rules} == {
        (cidr, port, port) for cidr in ("192.0.2.0/24", "198.51.100.0/24") for port in (80, 443)
    }
    assert {rule.inputs["ipProtocol"] for rule in rules} == {"tcp"}
    assert "ingress" not in declared.one("ec2.SecurityGroup").inputs


def test_names_leave_room_for_pulumis_suffix() -> None:
    assert all(len(name) + 8 <= 32 for name in balancer().all("lb.LoadBalancer"))

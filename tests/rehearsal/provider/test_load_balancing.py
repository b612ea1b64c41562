"""Load balancers, target groups, listeners, rules, and DNS alias records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .client import CallError, Client, Resource
from .conftest import Traffic

Aws = Callable[[str], Any]
CHECK = {"path": "/health", "interval": 5, "timeout": 4, "matcher": "200"}
UNAVAILABLE = {"contentType": "text/plain", "statusCode": "503", "messageBody": "No release is live."}


@pytest.fixture
def load_balancer(provider: Client, vpc: Resource, gateway: Resource, subnet: Resource, aws: Aws) -> Resource:
    second = provider.create(
        "aws:ec2:Subnet", "b", vpcId=vpc.id, cidrBlock="10.0.2.0/24", availabilityZone="us-east-1b"
    )
    group = provider.create("aws:ec2:SecurityGroup", "web", vpcId=vpc.id)
    aws("s3").create_bucket(Bucket="access-logs")
    return provider.create(
        "aws:lb:LoadBalancer",
        "web",
        subnets=[subnet.id, second.id],
        securityGroups=[group.id],
        dropInvalidHeaderFields=True,
        accessLogs={"bucket": "access-logs", "enabled": True},
    )


def test_a_load_balancer_without_an_internet_gateway_is_refused(
    provider: Client, aws: Aws, vpc: Resource, subnet: Resource
) -> None:
    with pytest.raises(CallError, match=f"InvalidSubnet.*: VPC {vpc.id} has no internet gateway$"):
        provider.create("aws:lb:LoadBalancer", "web", subnets=[subnet.id])
    assert aws("elbv2").describe_load_balancers()["LoadBalancers"] == []


@pytest.fixture
def colors(provider: Client, vpc: Resource) -> dict[str, Resource]:
    return {
        color: provider.create(
            "aws:lb:TargetGroup",
            color,
            port=8080,
            protocol="HTTP",
            vpcId=vpc.id,
            deregistrationDelay=20,
            healthCheck=CHECK,
        )
        for color in ("blue", "green")
    }


@pytest.fixture
def listener(provider: Client, load_balancer: Resource) -> Resource:
    return provider.create(
        "aws:lb:Listener",
        "http",
        loadBalancerArn=load_balancer.id,
        port=80,
        defaultActions=[{"type": "fixed-response", "fixedResponse": UNAVAILABLE}],
    )


def forward(colors: dict[str, Resource], blue: int, green: int) -> list[dict[str, Any]]:
    weights = {"blue": blue, "green": green}
    groups = [{"arn": colors[color].id, "weight": weight} for color, weight in weights.items()]
    return [{"type": "forward", "forward": {"targetGroups": groups}}]


@pytest.fixture
def live(provider: Client, listener: Resource, colors: dict[str, Resource]) -> Resource:
    return provider.create(
        "aws:lb:ListenerRule",
        "live",
        listenerArn=listener.id,
        priority=100,
        conditions=[{"pathPattern": {"values": ["/*"]}}],
        actions=forward(colors, 100, 0),
    )


def weights(aws: Aws, rule: Resource, colors: dict[str, Resource]) -> dict[str, int]:
    names = {each.id: color for color, each in colors.items()}
    (found,) = aws("elbv2").describe_rules(RuleArns=[rule.id])["Rules"]
    groups = found["Actions"][0]["ForwardConfig"]["TargetGroups"]
    return {names[each["TargetGroupArn"]]: int(each["Weight"]) for each in groups}


def test_a_load_balancer_is_created_updated_and_deleted(provider: Client, aws: Aws, load_balancer: Resource) -> None:
    (found,) = aws("elbv2").describe_load_balancers()["LoadBalancers"]
    assert (load_balancer["dnsName"], load_balancer["arnSuffix"]) == (
        found["DNSName"],
        found["LoadBalancerArn"].partition(":loadbalancer/")[2],
    )
    assert provider.update(load_balancer, enableDeletionProtection=True) == {"enableDeletionProtection": "add"}
    attributes = aws("elbv2").describe_load_balancer_attributes(LoadBalancerArn=load_balancer.id)["Attributes"]
    assert {"Key": "deletion_protection.enabled", "Value": "true"} in attributes
    provider.delete(load_balancer)
    assert provider.refresh(load_balancer) is None


def test_manual_changes_to_a_load_balancer_are_reverted(provider: Client, aws: Aws, load_balancer: Resource) -> None:
    assert provider.refresh(load_balancer) == {}
    off = ("routing.http.drop_invalid_header_fields.enabled", "access_logs.s3.enabled")
    attributes = [{"Key": key, "Value": "false"} for key in off]
    aws("elbv2").modify_load_balancer_attributes(LoadBalancerArn=load_balancer.id, Attributes=attributes)
    assert provider.refresh(load_balancer) == {"accessLogs.enabled": "update", "dropInvalidHeaderFields": "update"}
    provider.update(load_balancer)
    assert provider.refresh(load_balancer) == {}


def test_a_target_group_is_created_updated_and_deleted(provider: Client, aws: Aws, colors: dict[str, Resource]) -> None:
    blue = colors["blue"]
    assert (blue["arn"], blue["arnSuffix"]) == (blue.id, blue.id.rpartition(":")[2])
    assert provider.update(blue, deregistrationDelay=10) == {"deregistrationDelay": "update"}
    attributes = aws("elbv2").describe_target_group_attributes(TargetGroupArn=blue.id)["Attributes"]
    assert {"Key": "deregistration_delay.timeout_seconds", "Value": "10"} in attributes
    assert provider.update(blue, port=8081) == {"port": "update-replace"}
    found = aws("elbv2").describe_target_groups()["TargetGroups"]
    assert {each["TargetGroupArn"]: each["Port"] for each in found} == {blue.id: 8081, colors["green"].id: 8080}


def test_manual_changes_to_a_target_group_are_reverted(provider: Client, aws: Aws, colors: dict[str, Resource]) -> None:
    green, elb = colors["green"], aws("elbv2")
    assert provider.refresh(green) == {}
    delay = {"Key": "deregistration_delay.timeout_seconds", "Value": "300"}
    elb.modify_target_group_attributes(TargetGroupArn=green.id, Attributes=[delay])
    elb.modify_target_group(TargetGroupArn=green.id, HealthCheckPath="/elsewhere")
    assert provider.refresh(green) == {"deregistrationDelay": "update", "healthCheck.path": "update"}
    provider.update(green)
    assert provider.refresh(green) == {}


def test_manual_changes_to_a_listener_are_reverted(provider: Client, aws: Aws, listener: Resource) -> None:
    assert provider.refresh(listener) == {}
    answer = {"StatusCode": "200", "ContentType": "text/plain", "MessageBody": "No release is live."}
    action = {"Type": "fixed-response", "FixedResponseConfig": answer}
    aws("elbv2").modify_listener(ListenerArn=listener.id, DefaultActions=[action])
    assert provider.refresh(listener) == {"defaultActions[0].fixedResponse.statusCode": "update"}
    provider.update(listener)
    assert provider.refresh(listener) == {}
    provider.delete(listener)
    assert provider.refresh(listener) is None


def test_a_rules_weights_change_by_one_call(
    provider: Client, aws: Aws, live: Resource, colors: dict[str, Resource], traffic: Traffic
) -> None:
    assert weights(aws, live, colors) == {"blue": 100, "green": 0}
    traffic.forget()
    assert provider.update(live, actions=forward(colors, 0, 100)) == {
        "actions[0].forward.targetGroups[0].weight": "update",
        "actions[0].forward.targetGroups[1].weight": "update",
    }
    assert traffic.writes == ["ModifyRule"]
    assert weights(aws, live, colors) == {"blue": 0, "green": 100}
    assert provider.update(live, priority=101) == {"priority": "update"}
    assert (live["priority"], provider.refresh(live)) == (101, {})


def test_manual_changes_to_a_rule_are_reverted(
    provider: Client, aws: Aws, live: Resource, colors: dict[str, Resource]
) -> None:
    assert provider.refresh(live) == {}
    groups = [{"TargetGroupArn": colors[color].id, "Weight": 50} for color in ("green", "blue")]
    action = {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}
    aws("elbv2").modify_rule(RuleArn=live.id, Actions=[action])
    assert provider.refresh(live) == {f"actions[0].forward.targetGroups[{index}].weight": "update" for index in (0, 1)}
    provider.update(live)
    assert weights(aws, live, colors) == {"blue": 100, "green": 0}


def test_manual_changes_to_a_previews_header_are_reverted(
    provider: Client, aws: Aws, listener: Resource, colors: dict[str, Resource]
) -> None:
    preview = provider.create(
        "aws:lb:ListenerRule",
        "preview",
        listenerArn=listener.id,
        priority=10,
        conditions=[{"httpHeader": {"httpHeaderName": "X-Preview", "values": ["token-green"]}}],
        actions=forward(colors, 0, 1),
    )
    assert provider.refresh(preview) == {}
    condition = {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-Preview", "Values": ["guessed"]}}
    aws("elbv2").modify_rule(RuleArn=preview.id, Conditions=[condition])
    assert provider.refresh(preview) == {"conditions[0].httpHeader.values[0]": "update"}
    provider.update(preview)
    provider.delete(preview)
    assert provider.refresh(preview) is None


def test_an_alias_record_of_a_load_balancer_is_created_updated_and_deleted(
    provider: Client, aws: Aws, load_balancer: Resource
) -> None:
    zone = aws("route53").create_hosted_zone(Name="example.org", CallerReference="it")["HostedZone"]
    alias = {"name": load_balancer["dnsName"], "zoneId": load_balancer["zoneId"], "evaluateTargetHealth": True}
    record = provider.create(
        "aws:route53:Record",
        "www",
        zoneId=zone["Id"].rpartition("/")[2],
        name="www.example.org",
        type="A",
        aliases=[alias],
    )
    assert (record["fqdn"], provider.refresh(record)) == ("www.example.org", {})
    changes = provider.update(record, aliases=[alias | {"evaluateTargetHealth": False}])
    assert changes == {"aliases[0].evaluateTargetHealth": "update"}
    assert provider.refresh(record) == {}
    provider.delete(record)
    assert provider.refresh(record) is None

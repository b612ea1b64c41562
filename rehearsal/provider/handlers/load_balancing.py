"""Application load balancers, target groups, listeners and their rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .base import (
    AwsClients,
    Client,
    Created,
    Handler,
    Naming,
    Props,
    describe_one,
    differs,
    first,
    from_response,
    rename_keys,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
    to_aws_keys,
    to_pulumi_keys,
    until,
)

_MAX_NAME_LENGTH = 32  # AWS's, for load balancers and target groups
_ACTIVE_TIMEOUT_S = 600.0


def _tags(new: Props) -> dict[str, Any]:
    tags = tags_of(new)
    return {"Tags": tag_list(tags)} if tags else {}


def _update_tags(elb: Client, arn: str, old: Props, new: Props) -> None:
    removed, updated = tag_changes(old, new)
    if removed:
        elb.remove_tags(ResourceArns=[arn], TagKeys=removed)
    if updated:
        elb.add_tags(ResourceArns=[arn], Tags=tag_list(updated))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _attributes(new: Props, names: Mapping[str, str]) -> dict[str, str]:
    return {theirs: _text(new[ours]) for ours, theirs in names.items() if new.get(ours) is not None}


def _current_attributes(response: Mapping[str, Any]) -> dict[str, str]:
    return {attribute["Key"]: attribute["Value"] for attribute in response["Attributes"]}


def _current_tags(elb: Client, arn: str) -> Props:
    return {"tags": tag_map(elb.describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"])}


def _pairs(attributes: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in attributes.items()]


class LoadBalancerHandler(Handler):
    pulumi_type = "aws:lb/loadBalancer:LoadBalancer"
    naming = Naming(max_length=_MAX_NAME_LENGTH)
    tagged = True
    force_new = frozenset({"name", "loadBalancerType"})
    _NAMES: ClassVar = {
        "enableDeletionProtection": "deletion_protection.enabled",
        "dropInvalidHeaderFields": "routing.http.drop_invalid_header_fields.enabled",
    }
    _LOGS: ClassVar = {
        "enabled": "access_logs.s3.enabled",
        "bucket": "access_logs.s3.bucket",
        "prefix": "access_logs.s3.prefix",
    }

    def create(self, aws: AwsClients, new: Props) -> Created:
        elb = aws.client("elbv2")
        names = {
            "name": "Name",
            "subnets": "Subnets",
            "securityGroups": "SecurityGroups",
            "loadBalancerType": "Type",
        }
        created = elb.create_load_balancer(**rename_keys(new, names), Scheme="internet-facing", **_tags(new))
        return Created(id=created["LoadBalancers"][0]["LoadBalancerArn"])

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        elb = aws.client("elbv2")
        self._attribute(elb, id, {}, new)
        until(lambda: self._not_active(elb, id), what=f"load balancer {new['name']}", timeout_s=_ACTIVE_TIMEOUT_S)

    def _not_active(self, elb: Client, arn: str) -> str | None:
        state = elb.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"][0]["State"]["Code"]
        return None if state in ("active", "active_impaired") else f"it is {state}"

    def _desired(self, new: Props) -> dict[str, str]:
        logs = new.get("accessLogs") or {}
        enabled = _attributes(logs, self._LOGS) if logs.get("enabled") else {self._LOGS["enabled"]: "false"}
        return _attributes(new, self._NAMES) | (enabled if logs else {})

    def _attribute(self, elb: Client, arn: str, old: Props, new: Props) -> None:
        was, now = self._desired(old), self._desired(new)
        if old.get("accessLogs") and not new.get("accessLogs"):
            now[self._LOGS["enabled"]] = "false"
        if changes := {key: value for key, value in now.items() if was.get(key) != value}:
            elb.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=_pairs(changes))

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = describe_one(aws.client("elbv2").describe_load_balancers, "LoadBalancers", LoadBalancerArns=[id])
        if actual is None:
            return None
        return {
            "arn": id,
            "arnSuffix": id.partition("loadbalancer/")[2],
            "dnsName": actual["DNSName"],
            "zoneId": actual.get("CanonicalHostedZoneId"),
        }

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        elb = aws.client("elbv2")
        actual = elb.describe_load_balancers(LoadBalancerArns=[id])["LoadBalancers"][0]
        attributes = _current_attributes(elb.describe_load_balancer_attributes(LoadBalancerArn=id))
        return {
            "loadBalancerType": actual["Type"],
            "subnets": [zone["SubnetId"] for zone in actual.get("AvailabilityZones", [])],
            "securityGroups": actual.get("SecurityGroups"),
            "accessLogs": from_response(attributes, self._LOGS),
            **from_response(attributes, self._NAMES),
            **_current_tags(elb, id),
        }

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        elb = aws.client("elbv2")
        if differs(old, new, "securityGroups"):
            elb.set_security_groups(LoadBalancerArn=id, SecurityGroups=new.get("securityGroups") or [])
        if differs(old, new, "subnets"):
            elb.set_subnets(LoadBalancerArn=id, Subnets=new["subnets"])
        self._attribute(elb, id, old, new)
        _update_tags(elb, id, old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("elbv2").delete_load_balancer(LoadBalancerArn=id)


class TargetGroupHandler(Handler):
    pulumi_type = "aws:lb/targetGroup:TargetGroup"
    naming = Naming(max_length=_MAX_NAME_LENGTH)
    tagged = True
    force_new = frozenset({"name", "port", "protocol", "targetType", "vpcId"})
    _NAMES: ClassVar = {"deregistrationDelay": "deregistration_delay.timeout_seconds"}
    _FIXED: ClassVar = {"port": "Port", "protocol": "Protocol", "targetType": "TargetType", "vpcId": "VpcId"}
    _CHECK: ClassVar = {
        "path": "HealthCheckPath",
        "interval": "HealthCheckIntervalSeconds",
        "timeout": "HealthCheckTimeoutSeconds",
        "healthyThreshold": "HealthyThresholdCount",
        "unhealthyThreshold": "UnhealthyThresholdCount",
    }

    def _check(self, new: Props) -> dict[str, Any]:
        check = new.get("healthCheck") or {}
        matcher = {"Matcher": {"HttpCode": check["matcher"]}} if check.get("matcher") else {}
        return rename_keys(check, self._CHECK) | matcher

    def create(self, aws: AwsClients, new: Props) -> Created:
        elb = aws.client("elbv2")
        created = elb.create_target_group(
            Name=new["name"], **rename_keys(new, self._FIXED), **self._check(new), **_tags(new)
        )
        return Created(id=created["TargetGroups"][0]["TargetGroupArn"])

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        self._attribute(aws.client("elbv2"), id, {}, new)

    def _attribute(self, elb: Client, arn: str, old: Props, new: Props) -> None:
        if differs(old, new, *self._NAMES):
            attributes = _pairs(_attributes(new, self._NAMES))
            elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=attributes)

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = describe_one(aws.client("elbv2").describe_target_groups, "TargetGroups", TargetGroupArns=[id])
        if actual is None:
            return None
        return {"arn": id, "arnSuffix": id.rpartition(":")[2]}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        elb = aws.client("elbv2")
        actual = elb.describe_target_groups(TargetGroupArns=[id])["TargetGroups"][0]
        attributes = _current_attributes(elb.describe_target_group_attributes(TargetGroupArn=id))
        check = from_response(actual, self._CHECK) | {"matcher": (actual.get("Matcher") or {}).get("HttpCode")}
        return {
            **from_response(actual, self._FIXED),
            **from_response(attributes, self._NAMES),
            "healthCheck": check,
            **_current_tags(elb, id),
        }

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        elb = aws.client("elbv2")
        if differs(old, new, "healthCheck"):
            elb.modify_target_group(TargetGroupArn=id, **self._check(new))
        self._attribute(elb, id, old, new)
        _update_tags(elb, id, old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("elbv2").delete_target_group(TargetGroupArn=id)


def _action(action: Props) -> dict[str, Any]:
    request: dict[str, Any] = {"Type": action["type"]}
    if forward := action.get("forward"):
        groups = [rename_keys(group, _TARGETS) for group in forward["targetGroups"]]
        request["ForwardConfig"] = {"TargetGroups": groups}
    if redirect := action.get("redirect"):
        request["RedirectConfig"] = to_aws_keys(redirect)
    if response := action.get("fixedResponse"):
        request["FixedResponseConfig"] = to_aws_keys(response)
    return request


_TARGETS = {"arn": "TargetGroupArn", "weight": "Weight"}


def _actions(actions: list[Props]) -> list[dict[str, Any]]:
    return [_action(action) for action in actions]


def _current_actions(actions: list[dict[str, Any]]) -> list[Props]:
    return [_current_action(action) for action in sorted(actions, key=lambda action: int(action.get("Order") or 0))]


def _current_action(action: Mapping[str, Any]) -> Props:
    """AWS returns a forward to one target group in two formats, of which it may leave out ForwardConfig."""
    groups = (action.get("ForwardConfig") or {}).get("TargetGroups") or [action]
    targets = [from_response(group, _TARGETS) for group in groups if group.get("TargetGroupArn")]
    return {
        "type": action["Type"],
        "forward": {"targetGroups": targets} if targets else None,
        "redirect": to_pulumi_keys(action.get("RedirectConfig")),
        "fixedResponse": to_pulumi_keys(action.get("FixedResponseConfig")),
    }


class ListenerHandler(Handler):
    pulumi_type = "aws:lb/listener:Listener"
    tagged = True
    force_new = frozenset({"loadBalancerArn"})
    delete_before_replace = True  # a load balancer has one listener per port

    def _arguments(self, new: Props) -> dict[str, Any]:
        names = {"port": "Port", "protocol": "Protocol", "sslPolicy": "SslPolicy"}
        certificate = rename_keys(new, {"certificateArn": "CertificateArn"})
        return {
            "Protocol": "HTTP",  # the provider's default for Application Load Balancers
            **rename_keys(new, names),
            "DefaultActions": _actions(new["defaultActions"]),
            **({"Certificates": [certificate]} if certificate else {}),
        }

    def create(self, aws: AwsClients, new: Props) -> Created:
        created = aws.client("elbv2").create_listener(
            LoadBalancerArn=new["loadBalancerArn"], **self._arguments(new), **_tags(new)
        )
        return Created(id=created["Listeners"][0]["ListenerArn"])

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = describe_one(aws.client("elbv2").describe_listeners, "Listeners", ListenerArns=[id])
        return None if actual is None else {"arn": id, "protocol": actual["Protocol"]}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        elb = aws.client("elbv2")
        actual = elb.describe_listeners(ListenerArns=[id])["Listeners"][0]
        certificate = first(actual.get("Certificates") or []) or {}
        return {
            "port": actual.get("Port"),
            "protocol": actual.get("Protocol"),
            "sslPolicy": actual.get("SslPolicy"),
            "certificateArn": certificate.get("CertificateArn"),
            "defaultActions": _current_actions(actual["DefaultActions"]),
            **_current_tags(elb, id),
        }

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        elb = aws.client("elbv2")
        if self._arguments(old) != self._arguments(new):
            elb.modify_listener(ListenerArn=id, **self._arguments(new))
        _update_tags(elb, id, old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("elbv2").delete_listener(ListenerArn=id)


_CONDITIONS = {
    "pathPattern": ("path-pattern", "PathPatternConfig"),
    "httpHeader": ("http-header", "HttpHeaderConfig"),
}


def _condition(condition: Props) -> dict[str, Any]:
    ours = next(key for key in _CONDITIONS if condition.get(key))
    field, config = _CONDITIONS[ours]
    return {"Field": field, config: to_aws_keys(condition[ours])}


def _current_condition(condition: Mapping[str, Any]) -> Props:
    for ours, (field, config) in _CONDITIONS.items():
        if condition["Field"] == field:
            return {ours: to_pulumi_keys(condition.get(config)) or {"values": condition.get("Values", [])}}
    return {}


class ListenerRuleHandler(Handler):
    pulumi_type = "aws:lb/listenerRule:ListenerRule"
    tagged = True
    force_new = frozenset({"listenerArn"})
    delete_before_replace = True  # a listener has one rule per priority

    def create(self, aws: AwsClients, new: Props) -> Created:
        created = aws.client("elbv2").create_rule(
            ListenerArn=new["listenerArn"],
            Priority=new["priority"],
            Conditions=[_condition(condition) for condition in new["conditions"]],
            Actions=_actions(new["actions"]),
            **_tags(new),
        )
        return Created(id=created["Rules"][0]["RuleArn"])

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = describe_one(aws.client("elbv2").describe_rules, "Rules", RuleArns=[id])
        return None if actual is None else {"arn": id, "priority": int(actual["Priority"])}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        elb = aws.client("elbv2")
        actual = elb.describe_rules(RuleArns=[id])["Rules"][0]
        return {
            "priority": actual["Priority"],
            "conditions": [_current_condition(condition) for condition in actual["Conditions"]],
            "actions": _current_actions(actual["Actions"]),
            **_current_tags(elb, id),
        }

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        elb = aws.client("elbv2")
        if differs(old, new, "priority"):
            elb.set_rule_priorities(RulePriorities=[{"RuleArn": id, "Priority": new["priority"]}])
        changes: dict[str, Any] = {}
        if differs(old, new, "conditions"):
            changes["Conditions"] = [_condition(condition) for condition in new["conditions"]]
        if differs(old, new, "actions"):
            changes["Actions"] = _actions(new["actions"])
        if changes:
            elb.modify_rule(RuleArn=id, **changes)
        _update_tags(elb, id, old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("elbv2").delete_rule(RuleArn=id)

"""Application load balancers: balancers, target groups, listeners and their rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .base import (
    Client,
    Cloud,
    Created,
    Handler,
    Naming,
    Props,
    capitalized,
    differs,
    first,
    given,
    is_gone,
    looked_up,
    lowered,
    picked,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
    taken,
    until,
)

_NAME_LIMIT = 32  # AWS's, for balancers and target groups
_BALANCER_S = 600.0


def _tags(new: Props) -> dict[str, Any]:
    tags = tags_of(new)
    return {"Tags": tag_list(tags)} if tags else {}


def _update_tags(elb: Client, arn: str, old: Props, new: Props) -> None:
    gone, present = tag_changes(old, new)
    if gone:
        elb.remove_tags(ResourceArns=[arn], TagKeys=gone)
    if present:
        elb.add_tags(ResourceArns=[arn], Tags=tag_list(present))


def _ours(elb: Client, arn: str, inputs: Props) -> bool:
    """Whether what bears the name also bears our tags: then a killed run of ours made it."""
    return bool(_found_tags(elb, arn)["tagsAll"] == tags_of(inputs))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _attributes(new: Props, names: Mapping[str, str]) -> dict[str, str]:
    return {theirs: _text(new[ours]) for ours, theirs in names.items() if new.get(ours) is not None}


def _found_attributes(answer: Mapping[str, Any]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in answer["Attributes"]}


def _found_tags(elb: Client, arn: str) -> Props:
    """Every tag of a balancer, group, listener or rule."""
    return {"tagsAll": tag_map(elb.describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"])}


def _pairs(attributes: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in attributes.items()]


class LoadBalancer(Handler):
    pulumi_type = "aws:lb/loadBalancer:LoadBalancer"
    naming = Naming(limit=_NAME_LIMIT)
    tagged = True
    force_new = frozenset({"name", "namePrefix", "internal", "loadBalancerType", "customerOwnedIpv4Pool"})
    _NAMES: ClassVar = {
        "idleTimeout": "idle_timeout.timeout_seconds",
        "enableHttp2": "routing.http2.enabled",
        "enableDeletionProtection": "deletion_protection.enabled",
        "enableCrossZoneLoadBalancing": "load_balancing.cross_zone.enabled",
        "dropInvalidHeaderFields": "routing.http.drop_invalid_header_fields.enabled",
        "desyncMitigationMode": "routing.http.desync_mitigation_mode",
        "preserveHostHeader": "routing.http.preserve_host_header.enabled",
        "xffHeaderProcessingMode": "routing.http.xff_header_processing.mode",
        "clientKeepAlive": "client_keep_alive.seconds",
    }

    def create(self, cloud: Cloud, new: Props) -> Created:
        elb = cloud.client("elbv2")
        names = {
            "name": "Name",
            "subnets": "Subnets",
            "securityGroups": "SecurityGroups",
            "loadBalancerType": "Type",
            "ipAddressType": "IpAddressType",
        }
        scheme = "internal" if new.get("internal") else "internet-facing"
        mappings = given(SubnetMappings=capitalized(new.get("subnetMappings")))
        made = elb.create_load_balancer(**picked(new, names), **mappings, Scheme=scheme, **_tags(new))
        arn = made["LoadBalancers"][0]["LoadBalancerArn"]
        self._attribute(elb, arn, {}, new)
        until(lambda: self._not_active(elb, arn), what=f"load balancer {new['name']}", deadline_s=_BALANCER_S)
        return Created(id=arn)

    def _not_active(self, elb: Client, arn: str) -> str | None:
        state = elb.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"][0]["State"]["Code"]
        return None if state in ("active", "active_impaired") else f"it is {state}"

    def _wanted(self, new: Props) -> dict[str, str]:
        found = _attributes(new, self._NAMES)
        logs = new.get("accessLogs")
        if logs:
            enabled = logs.get("enabled", False)
            found |= {"access_logs.s3.enabled": _text(bool(enabled))}
            if enabled:
                found |= {"access_logs.s3.bucket": logs["bucket"], "access_logs.s3.prefix": logs.get("prefix", "")}
        return found

    def _attribute(self, elb: Client, arn: str, old: Props, new: Props) -> None:
        was, now = self._wanted(old), self._wanted(new)
        changes = {key: value for key, value in now.items() if was.get(key) != value}
        if "access_logs.s3.enabled" in was and "access_logs.s3.enabled" not in now:
            changes["access_logs.s3.enabled"] = "false"
        if changes:
            elb.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=_pairs(changes))

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = looked_up(cloud.client("elbv2").describe_load_balancers, "LoadBalancers", LoadBalancerArns=[id])
        if found is None:
            return None
        return {
            "arn": id,
            "arnSuffix": id.partition("loadbalancer/")[2],
            "dnsName": found["DNSName"],
            "zoneId": found.get("CanonicalHostedZoneId"),
            "vpcId": found.get("VpcId"),
            "ipAddressType": found.get("IpAddressType", "ipv4"),
            "internal": found["Scheme"] == "internal",
        }

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        elb = cloud.client("elbv2")
        found = elb.describe_load_balancers(LoadBalancerArns=[id])["LoadBalancers"][0]
        attributes = _found_attributes(elb.describe_load_balancer_attributes(LoadBalancerArn=id))
        logs = {
            ours: attributes.get(f"access_logs.s3.{theirs}")
            for ours, theirs in {"enabled": "enabled", "bucket": "bucket", "prefix": "prefix"}.items()
        }
        return {
            "loadBalancerType": found["Type"],
            "subnets": [zone["SubnetId"] for zone in found.get("AvailabilityZones", [])],
            "securityGroups": found.get("SecurityGroups"),
            "accessLogs": logs,
            **taken(attributes, self._NAMES),
            **_found_tags(elb, id),
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        elb = cloud.client("elbv2")
        if differs(old, new, "securityGroups"):
            elb.set_security_groups(LoadBalancerArn=id, SecurityGroups=new.get("securityGroups") or [])
        if differs(old, new, "subnets"):
            elb.set_subnets(LoadBalancerArn=id, Subnets=new["subnets"])
        if differs(old, new, "ipAddressType") and new.get("ipAddressType"):
            elb.set_ip_address_type(LoadBalancerArn=id, IpAddressType=new["ipAddressType"])
        self._attribute(elb, id, old, new)
        _update_tags(elb, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("elbv2").delete_load_balancer(LoadBalancerArn=id)

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        elb = cloud.client("elbv2")
        found = looked_up(elb.describe_load_balancers, "LoadBalancers", Names=[inputs["name"]])
        arn = found["LoadBalancerArn"] if found else None
        return [arn] if arn and _ours(elb, arn, inputs) else []


class TargetGroup(Handler):
    pulumi_type = "aws:lb/targetGroup:TargetGroup"
    naming = Naming(limit=_NAME_LIMIT)
    tagged = True
    force_new = frozenset({"name", "namePrefix", "port", "protocol", "protocolVersion", "targetType", "vpcId"})
    _NAMES: ClassVar = {
        "deregistrationDelay": "deregistration_delay.timeout_seconds",
        "slowStart": "slow_start.duration_seconds",
        "loadBalancingAlgorithmType": "load_balancing.algorithm.type",
        "loadBalancingCrossZoneEnabled": "load_balancing.cross_zone.enabled",
    }
    _FIXED: ClassVar = {
        "port": "Port",
        "protocol": "Protocol",
        "protocolVersion": "ProtocolVersion",
        "targetType": "TargetType",
        "vpcId": "VpcId",
    }
    _CHECK: ClassVar = {
        "enabled": "HealthCheckEnabled",
        "path": "HealthCheckPath",
        "port": "HealthCheckPort",
        "protocol": "HealthCheckProtocol",
        "interval": "HealthCheckIntervalSeconds",
        "timeout": "HealthCheckTimeoutSeconds",
        "healthyThreshold": "HealthyThresholdCount",
        "unhealthyThreshold": "UnhealthyThresholdCount",
    }

    def _check(self, new: Props) -> dict[str, Any]:
        check = new.get("healthCheck") or {}
        matcher = {"Matcher": {"HttpCode": str(check["matcher"])}} if check.get("matcher") else {}
        return picked(check, self._CHECK) | matcher

    def create(self, cloud: Cloud, new: Props) -> Created:
        elb = cloud.client("elbv2")
        made = elb.create_target_group(Name=new["name"], **picked(new, self._FIXED), **self._check(new), **_tags(new))
        arn = made["TargetGroups"][0]["TargetGroupArn"]
        self._attribute(elb, arn, {}, new)
        return Created(id=arn)

    def _wanted(self, new: Props) -> dict[str, str]:
        found = _attributes(new, self._NAMES)
        if sticky := new.get("stickiness"):
            found["stickiness.enabled"] = _text(sticky.get("enabled", True))
            found["stickiness.type"] = sticky["type"]
            if sticky.get("cookieDuration") is not None:
                found["stickiness.lb_cookie.duration_seconds"] = str(sticky["cookieDuration"])
        return found

    def _attribute(self, elb: Client, arn: str, old: Props, new: Props) -> None:
        was, now = self._wanted(old), self._wanted(new)
        if changes := {key: value for key, value in now.items() if was.get(key) != value}:
            elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=_pairs(changes))

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = looked_up(cloud.client("elbv2").describe_target_groups, "TargetGroups", TargetGroupArns=[id])
        if found is None:
            return None
        return {
            "arn": id,
            "arnSuffix": id.rpartition(":")[2],
            "loadBalancerArns": found.get("LoadBalancerArns", []),
        }

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        elb = cloud.client("elbv2")
        found = elb.describe_target_groups(TargetGroupArns=[id])["TargetGroups"][0]
        attributes = _found_attributes(elb.describe_target_group_attributes(TargetGroupArn=id))
        check = taken(found, self._CHECK) | {"matcher": (found.get("Matcher") or {}).get("HttpCode")}
        sticky = {
            "enabled": attributes.get("stickiness.enabled"),
            "type": attributes.get("stickiness.type"),
            "cookieDuration": attributes.get("stickiness.lb_cookie.duration_seconds"),
        }
        return {
            **taken(found, self._FIXED),
            **taken(attributes, self._NAMES),
            "healthCheck": check,
            "stickiness": sticky,
            **_found_tags(elb, id),
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        elb = cloud.client("elbv2")
        if differs(old, new, "healthCheck"):
            elb.modify_target_group(TargetGroupArn=id, **self._check(new))
        self._attribute(elb, id, old, new)
        _update_tags(elb, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("elbv2").delete_target_group(TargetGroupArn=id)

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        elb = cloud.client("elbv2")
        found = looked_up(elb.describe_target_groups, "TargetGroups", Names=[inputs["name"]])
        arn = found["TargetGroupArn"] if found else None
        return [arn] if arn and _ours(elb, arn, inputs) else []


def _action(action: Props) -> dict[str, Any]:
    found: dict[str, Any] = {"Type": action["type"]}
    if action.get("order") is not None:
        found["Order"] = int(action["order"])
    if action.get("forward"):
        found["ForwardConfig"] = _forward(action["forward"])
    elif action.get("targetGroupArn"):
        found["TargetGroupArn"] = action["targetGroupArn"]
    if action.get("redirect"):
        found["RedirectConfig"] = capitalized(action["redirect"])
    if action.get("fixedResponse"):
        found["FixedResponseConfig"] = capitalized(action["fixedResponse"])
    return found


def _forward(forward: Props) -> dict[str, Any]:
    groups = [
        given(TargetGroupArn=each["arn"], Weight=None if each.get("weight") is None else int(each["weight"]))
        for each in forward["targetGroups"]
    ]
    found: dict[str, Any] = {"TargetGroups": groups}
    if sticky := forward.get("stickiness"):
        found["TargetGroupStickinessConfig"] = given(
            Enabled=bool(sticky.get("enabled")), DurationSeconds=sticky.get("duration")
        )
    return found


def _actions(actions: list[Props]) -> list[dict[str, Any]]:
    return [_action(action) for action in actions]


def _found_actions(actions: list[dict[str, Any]]) -> list[Props]:
    return [_found_action(each) for each in sorted(actions, key=lambda each: int(each.get("Order") or 0))]


def _found_action(action: Mapping[str, Any]) -> Props:
    """With both forms of a forward to one group, as AWS answers both; what the program gave is what is compared."""
    forward, single = action.get("ForwardConfig") or {}, action.get("TargetGroupArn")
    groups = [{"arn": each["TargetGroupArn"], "weight": each.get("Weight")} for each in forward.get("TargetGroups", [])]
    if not groups and single:
        groups = [{"arn": single, "weight": None}]
    sticky = forward.get("TargetGroupStickinessConfig") or {}
    return {
        "type": action["Type"],
        "order": action.get("Order"),
        "targetGroupArn": single or (groups[0]["arn"] if len(groups) == 1 else None),
        "forward": (
            groups
            and {
                "targetGroups": groups,
                "stickiness": {"enabled": sticky.get("Enabled"), "duration": sticky.get("DurationSeconds")},
            }
        )
        or None,
        "redirect": lowered(action.get("RedirectConfig")),
        "fixedResponse": lowered(action.get("FixedResponseConfig")),
    }


class Listener(Handler):
    pulumi_type = "aws:lb/listener:Listener"
    tagged = True
    force_new = frozenset({"loadBalancerArn"})
    delete_first = True  # a balancer has one listener a port

    def _arguments(self, new: Props) -> dict[str, Any]:
        names = {"port": "Port", "protocol": "Protocol", "sslPolicy": "SslPolicy"}
        found = picked(new, names) | {"DefaultActions": _actions(new["defaultActions"])}
        if new.get("certificateArn"):
            found["Certificates"] = [{"CertificateArn": new["certificateArn"]}]
        return {"Protocol": "HTTPS" if new.get("certificateArn") else "HTTP"} | found

    def create(self, cloud: Cloud, new: Props) -> Created:
        made = cloud.client("elbv2").create_listener(
            LoadBalancerArn=new["loadBalancerArn"], **self._arguments(new), **_tags(new)
        )
        return Created(id=made["Listeners"][0]["ListenerArn"])

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = looked_up(cloud.client("elbv2").describe_listeners, "Listeners", ListenerArns=[id])
        return None if found is None else {"arn": id, "protocol": found["Protocol"]}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        elb = cloud.client("elbv2")
        found = elb.describe_listeners(ListenerArns=[id])["Listeners"][0]
        certificate = first(found.get("Certificates") or []) or {}
        return {
            "port": found.get("Port"),
            "protocol": found.get("Protocol"),
            "sslPolicy": found.get("SslPolicy"),
            "certificateArn": certificate.get("CertificateArn"),
            "defaultActions": _found_actions(found["DefaultActions"]),
            **_found_tags(elb, id),
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        elb = cloud.client("elbv2")
        if self._arguments(old) != self._arguments(new):
            elb.modify_listener(ListenerArn=id, **self._arguments(new))
        _update_tags(elb, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("elbv2").delete_listener(ListenerArn=id)

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        elb = cloud.client("elbv2")
        found = elb.describe_listeners(LoadBalancerArn=inputs["loadBalancerArn"])["Listeners"]
        return [each["ListenerArn"] for each in found if each["Port"] == inputs.get("port")]


_CONDITIONS = {
    "pathPattern": ("path-pattern", "PathPatternConfig"),
    "hostHeader": ("host-header", "HostHeaderConfig"),
    "httpHeader": ("http-header", "HttpHeaderConfig"),
    "httpRequestMethod": ("http-request-method", "HttpRequestMethodConfig"),
    "queryStrings": ("query-string", "QueryStringConfig"),
    "sourceIp": ("source-ip", "SourceIpConfig"),
}


def _condition(condition: Props) -> dict[str, Any]:
    ours = next(key for key in _CONDITIONS if condition.get(key))
    field, config = _CONDITIONS[ours]
    value = condition[ours]
    if ours == "queryStrings":
        return {"Field": field, config: {"Values": capitalized(value)}}
    return {"Field": field, config: capitalized(value)}


def _found_condition(condition: Mapping[str, Any]) -> Props:
    for ours, (field, config) in _CONDITIONS.items():
        if condition["Field"] == field:
            given = lowered(condition.get(config)) or {"values": condition.get("Values", [])}
            return {ours: given["values"] if ours == "queryStrings" else given}
    return {}


class ListenerRule(Handler):
    pulumi_type = "aws:lb/listenerRule:ListenerRule"
    tagged = True
    force_new = frozenset({"listenerArn"})
    delete_first = True  # a listener has one rule a priority

    def create(self, cloud: Cloud, new: Props) -> Created:
        made = cloud.client("elbv2").create_rule(
            ListenerArn=new["listenerArn"],
            Priority=int(new["priority"]),
            Conditions=[_condition(each) for each in new["conditions"]],
            Actions=_actions(new["actions"]),
            **_tags(new),
        )
        return Created(id=made["Rules"][0]["RuleArn"])

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = looked_up(cloud.client("elbv2").describe_rules, "Rules", RuleArns=[id])
        return None if found is None else {"arn": id, "priority": int(found["Priority"])}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        elb = cloud.client("elbv2")
        found = elb.describe_rules(RuleArns=[id])["Rules"][0]
        return {
            "priority": found["Priority"],
            "conditions": [_found_condition(each) for each in found["Conditions"]],
            "actions": _found_actions(found["Actions"]),
            **_found_tags(elb, id),
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        elb = cloud.client("elbv2")
        if differs(old, new, "priority"):
            elb.set_rule_priorities(RulePriorities=[{"RuleArn": id, "Priority": int(new["priority"])}])
        changes: dict[str, Any] = {}
        if differs(old, new, "conditions"):
            changes["Conditions"] = [_condition(each) for each in new["conditions"]]
        if differs(old, new, "actions"):
            changes["Actions"] = _actions(new["actions"])
        if changes:
            elb.modify_rule(RuleArn=id, **changes)
        _update_tags(elb, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("elbv2").delete_rule(RuleArn=id)

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        try:
            rules = cloud.client("elbv2").describe_rules(ListenerArn=inputs["listenerArn"])["Rules"]
        except Exception as error:
            if is_gone(error):
                return []
            raise
        return [rule["RuleArn"] for rule in rules if rule["Priority"] == str(int(inputs["priority"]))]


class TargetGroupAttachment(Handler):
    pulumi_type = "aws:lb/targetGroupAttachment:TargetGroupAttachment"
    force_new = frozenset({"targetGroupArn", "targetId", "port", "availabilityZone"})

    def _target(self, new: Props) -> dict[str, Any]:
        return picked(new, {"targetId": "Id", "port": "Port", "availabilityZone": "AvailabilityZone"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        cloud.client("elbv2").register_targets(TargetGroupArn=new["targetGroupArn"], Targets=[self._target(new)])
        return Created(id=f"{new['targetGroupArn']}-{new['targetId']}-{new.get('port', '')}")

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = cloud.client("elbv2").describe_target_health(TargetGroupArn=inputs["targetGroupArn"])
        wanted = self._target(inputs).items()
        return {} if any(wanted <= each["Target"].items() for each in found["TargetHealthDescriptions"]) else None

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("elbv2").deregister_targets(TargetGroupArn=state["targetGroupArn"], Targets=[self._target(state)])

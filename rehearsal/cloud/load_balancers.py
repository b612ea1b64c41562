"""Load balancers, listeners and target groups of the account, as the load balancer emulator's model."""

from __future__ import annotations

import re
from typing import Any

from rehearsal.cloud import account
from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.target_health import Key
from rehearsal.load_balancer.model import (
    Action,
    Condition,
    ConditionKind,
    FixedResponse,
    Forward,
    HealthCheck,
    ListenerModel,
    LoadBalancerModel,
    Redirect,
    RuleModel,
    TargetGroupModel,
)

GAPS = [
    Gap(
        service="elbv2",
        action="(HTTPS listeners)",
        reason="the load balancer emulator has no certificate: only HTTP listeners are opened",
    ),
    Gap(
        service="elbv2",
        action="(first health check)",
        reason="moto's targets are always healthy; here HAProxy checks them, a new one every 0.3 s, then at the "
        "group's interval",
    ),
]

TargetAddress = tuple[str, int]  # address, port

CONFIGS = {
    ConditionKind.HTTP_HEADER: "HttpHeaderConfig",
    ConditionKind.PATH_PATTERN: "PathPatternConfig",
    ConditionKind.HOST_HEADER: "HostHeaderConfig",
    ConditionKind.HTTP_REQUEST_METHOD: "HttpRequestMethodConfig",
    ConditionKind.QUERY_STRING: "QueryStringConfig",
    ConditionKind.SOURCE_IP: "SourceIpConfig",
}
STATUS = re.compile(r"\d{3}")  # redirects name theirs HTTP_301


def model_of(backends: list[Any]) -> LoadBalancerModel:
    balancers = [load_balancer for backend in backends for load_balancer in backend.load_balancers.values()]
    listeners = [
        _listener(listener)
        for load_balancer in balancers
        for listener in load_balancer.listeners.values()
        if _open(listener)
    ]
    groups = {group.arn: _target_group(group) for backend in backends for group in backend.target_groups.values()}
    return LoadBalancerModel(listeners=tuple(listeners), target_groups=groups)


def target_addresses(backends: list[Any]) -> dict[Key, TargetAddress]:
    """Address and port by registered target, without targets whose instance is gone."""
    return {
        (group.arn, target["Id"]): (address, int(target["Port"]))
        for backend in backends
        for group in backend.target_groups.values()
        for target in group.targets.values()
        if (address := address_of(target["Id"]))
    }


def address_of(target: str) -> str | None:
    return account.address_of(target) if target.startswith("i-") else target


def deregistration_delay(group: Any) -> float:
    return float(group.attributes["deregistration_delay.timeout_seconds"])


def _open(listener: Any) -> bool:
    return str(listener.protocol) == "HTTP"


def _listener(listener: Any) -> ListenerModel:
    rules = [_rule(rule) for rule in listener.rules.values() if not rule.is_default]
    return ListenerModel(
        port=int(listener.port),
        default_action=_action(listener.default_actions),
        rules=tuple(sorted(rules, key=lambda rule: rule.priority)),
    )


def _rule(rule: Any) -> RuleModel:
    conditions = tuple(_condition(condition) for condition in rule.conditions)
    return RuleModel(priority=int(rule.priority), conditions=conditions, action=_action(rule.actions))


def _condition(condition: dict[str, Any]) -> Condition:
    kind = ConditionKind(condition["Field"])
    config = condition.get(CONFIGS[kind], {})
    if kind is ConditionKind.QUERY_STRING:
        pair = config["Values"][0]
        return Condition(kind=kind, name=pair.get("Key", ""), values=(pair["Value"],))
    values = config.get("Values") or condition.get("Values") or []
    return Condition(kind=kind, name=config.get("HttpHeaderName", ""), values=tuple(values))


def _action(actions: list[Any]) -> Action:
    """The last action is the one that responds; those before it, for authentication, are not emulated."""
    data = actions[-1].data
    match data["Type"]:
        case "forward":
            return _forward(data)
        case "redirect":
            return _redirect(data["RedirectConfig"])
        case "fixed-response":
            config = data["FixedResponseConfig"]
            return FixedResponse(
                status=int(config["StatusCode"]),
                content_type=config.get("ContentType") or "text/plain",
                body=config.get("MessageBody") or "",
            )
    raise ValueError(f"action {data['Type']}: allowed are forward, redirect and fixed-response")


def _forward(data: dict[str, Any]) -> Forward:
    if groups := data.get("ForwardConfig", {}).get("TargetGroups"):
        return Forward(weights={group["TargetGroupArn"]: int(group.get("Weight", 1)) for group in groups})
    return Forward(weights={data["TargetGroupArn"]: 1})


def _redirect(config: dict[str, Any]) -> Redirect:
    status = STATUS.search(str(config["StatusCode"]))
    fields = {key.lower(): value for key, value in config.items() if key != "StatusCode" and value is not None}
    return Redirect(status=int(status.group()) if status else Redirect.status, **fields)


def _target_group(group: Any) -> TargetGroupModel:
    targets = ((address_of(target["Id"]), int(target["Port"])) for target in group.targets.values())
    return TargetGroupModel(
        health=_health_check(group),
        targets=tuple((address, port) for address, port in targets if address),
        deregistration_delay=deregistration_delay(group),
    )


def _health_check(group: Any) -> HealthCheck:
    return HealthCheck(
        path=group.health_check_path or "/",
        interval=float(group.health_check_interval_seconds),
        timeout=float(group.health_check_timeout_seconds),
        healthy_threshold=int(group.healthy_threshold_count),
        unhealthy_threshold=int(group.unhealthy_threshold_count),
        matcher=str((group.matcher or {}).get("HttpCode") or HealthCheck.matcher),
    )

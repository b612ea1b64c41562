"""State of a stack in AWS: instances, target groups and listener rules, read through its APIs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

from fleet.colors import Color
from fleet.command_lines import pulumi

# DescribeTags of the load balancing API takes at most 20 ARNs.
ARNS_PER_TAG_CALL = 20
# The process of an Auto Scaling group that launches instances.
LAUNCH = "Launch"
# Timeouts of fail-fast clients.
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 2, 3
# Tags of the load balancer that name other resources of the stack, for commands that can't read its state.
BUCKET_TAG, TOPIC_TAG, ADDRESS_TAG = "ArtifactsBucket", "AlertsTopic", "Address"


class NoSuchStack(Exception):  # noqa: N818 - reads as the sentence that its message is
    """No load balancer in this account and region has the stack's tag."""


@dataclass(frozen=True, kw_only=True)
class InstanceState:
    """One instance of an Auto Scaling group, and its target health."""

    id: str
    lifecycle: str
    health: str
    reason: str = ""

    @property
    def is_healthy(self) -> bool:
        return self.health == "healthy"


@dataclass(frozen=True, kw_only=True)
class Group:
    """One Auto Scaling group: the instances of one release on one AMI."""

    name: str
    release: str
    ami: str
    desired: int
    minimum: int
    maximum: int
    instances: tuple[InstanceState, ...] = ()
    is_stopped: bool = False
    """Whether its launches are suspended, as after a failed deploy."""

    @property
    def healthy(self) -> int:
        return sum(instance.is_healthy for instance in self.instances)


@dataclass(frozen=True, kw_only=True)
class ColorState:
    """One color: its target group, traffic weight, and Auto Scaling groups (two while one replaces the other)."""

    color: Color
    target_group_arn: str
    weight: int = 0
    groups: tuple[Group, ...] = ()
    unknown_targets: tuple[str, ...] = ()
    """Targets that get traffic but belong to no Auto Scaling group of this color."""
    preview_value: str = ""
    health_path: str = "/health"

    def group_of(self, release: str) -> Group | None:
        return next((group for group in self.groups if group.release == release), None)

    @property
    def group(self) -> Group | None:
        """The group with the most healthy instances."""
        return max(self.groups, key=lambda group: group.healthy, default=None)

    @property
    def release(self) -> str:
        return self.group.release if self.group else ""

    @property
    def healthy(self) -> int:
        return sum(group.healthy for group in self.groups)

    @property
    def is_on(self) -> bool:
        return bool(self.groups)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """A stack in AWS at one moment."""

    stack: str
    dns_name: str
    scheme: str
    port: int
    live_rule_arn: str
    preview_header: str
    colors: Mapping[Color, ColorState]
    tags: Mapping[str, str] = field(default_factory=dict)
    """Those of the load balancer."""

    @property
    def url(self) -> str:
        usual = {"http": 80, "https": 443}[self.scheme]
        return f"{self.scheme}://{self.dns_name}" + ("" if self.port == usual else f":{self.port}")

    @property
    def weights(self) -> dict[Color, int]:
        return {color: state.weight for color, state in self.colors.items()}

    @property
    def serving(self) -> Color | None:
        """The color with the most traffic; None before the first release."""
        best = max(self.colors.values(), key=lambda state: state.weight, default=None)
        return best.color if best and best.weight else None

    def preview(self, color: Color) -> dict[str, str]:
        """The headers that route a request to this color, live or idle."""
        return {self.preview_header: self.colors[color].preview_value}


@dataclass(frozen=True, kw_only=True)
class Arns:
    """ARNs of a stack's outputs, so that its resources need not be searched by tags in the entire account."""

    load_balancer: str
    target_groups: Mapping[Color, str]

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, Any]) -> Arns | None:
        """None before the stack has them."""
        colors = outputs.get("colors", {})
        groups = {color: str(colors.get(color, {}).get("targetGroupArn", "")) for color in Color}
        found = cls(load_balancer=str(outputs.get("loadBalancerArn", "")), target_groups=groups)
        return found if found.load_balancer and all(groups.values()) else None


def describe(stack: str, session: Any, arns: Arns | None = None) -> Fleet:
    """Read load balancer, target groups and ASGs at the same time: each of the three takes several calls.

    Without `arns`, or when one of them is gone, the resources are found by their tags. Raises NoSuchStack.
    """
    # boto3 sessions are not thread-safe, clients are.
    elbv2, scaling = client(session, "elbv2"), client(session, "autoscaling")
    gone = elbv2.exceptions.LoadBalancerNotFoundException, elbv2.exceptions.TargetGroupNotFoundException
    with ThreadPoolExecutor(3) as pool:
        load_balancer = pool.submit(_load_balancer, stack, elbv2, arns)
        targets = pool.submit(_target_groups, stack, elbv2, arns)
        groups = pool.submit(_scaling_groups, stack, scaling)
        try:
            return _assemble(stack, load_balancer.result(), targets.result(), groups.result())
        except gone:
            if arns is None:
                raise
    return describe(stack, session)


def client(session: Any, service: str, *, fail_fast: bool = False) -> Any:
    """The session's client of this service, cached: creating one takes longer (0.1 s) than most calls.

    With `fail_fast` it tries once, for 5 s at most, where the default one may retry for minutes: for callers that poll.
    """
    clients = _CLIENTS.setdefault(session, {})
    if (service, fail_fast) not in clients:
        clients[service, fail_fast] = session.client(service, **({"config": _fail_fast_config()} if fail_fast else {}))
    return clients[service, fail_fast]


def _fail_fast_config() -> Any:
    from botocore.config import Config

    return Config(connect_timeout=CONNECT_TIMEOUT_S, read_timeout=READ_TIMEOUT_S, retries={"total_max_attempts": 1})


_CLIENTS: WeakKeyDictionary[Any, dict[tuple[str, bool], Any]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class _LoadBalancer:
    dns_name: str
    scheme: str
    port: int
    live_rule_arn: str
    weights: Mapping[str, int]
    preview_header: str
    preview_values: Mapping[Color, str]
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class _Targets:
    arn: str
    health_path: str
    health: Mapping[str, tuple[str, str]]


def _assemble(
    stack: str, load_balancer: _LoadBalancer, targets: Mapping[Color, _Targets], groups: list[dict[str, Any]]
) -> Fleet:
    def state(color: Color, target: _Targets) -> ColorState:
        ours = tuple(_group(raw, target.health) for raw in groups if _asg_tags(raw).get("Color") == color)
        members = {instance.id for group in ours for instance in group.instances}
        return ColorState(
            color=color,
            target_group_arn=target.arn,
            weight=load_balancer.weights.get(target.arn, 0),
            groups=ours,
            unknown_targets=tuple(
                id_ for id_, (health, _) in target.health.items() if id_ not in members and health != "draining"
            ),
            preview_value=load_balancer.preview_values.get(color, ""),
            health_path=target.health_path,
        )

    return Fleet(
        stack=stack,
        dns_name=load_balancer.dns_name,
        scheme=load_balancer.scheme,
        port=load_balancer.port,
        live_rule_arn=load_balancer.live_rule_arn,
        preview_header=load_balancer.preview_header,
        colors={color: state(color, target) for color, target in sorted(targets.items())},
        tags=load_balancer.tags,
    )


def live_weights(fleet: Fleet, session: Any) -> dict[Color, int]:
    """The live rule's current weights in AWS: one call, where `describe` takes ten."""
    rule = client(session, "elbv2").describe_rules(RuleArns=[fleet.live_rule_arn])["Rules"][0]
    weights = _rule_weights(rule)
    return {color: weights.get(state.target_group_arn, 0) for color, state in fleet.colors.items()}


def _load_balancer(stack: str, elbv2: Any, arns: Arns | None) -> _LoadBalancer:
    if arns:
        load_balancer = elbv2.describe_load_balancers(LoadBalancerArns=[arns.load_balancer])["LoadBalancers"][0]
    else:
        load_balancer = _load_balancer_by_tags(stack, elbv2)
    own = load_balancer["LoadBalancerArn"]
    listeners = elbv2.describe_listeners(LoadBalancerArn=own)["Listeners"]
    rules = {
        rule["RuleArn"]: (rule, listener)
        for listener in listeners
        for rule in elbv2.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
        if not rule["IsDefault"]
    }
    tags = _tags(elbv2, [own, *rules])
    return _read_rules(load_balancer["DNSName"], tags[own], listeners, rules, tags)


def _load_balancer_by_tags(stack: str, elbv2: Any) -> Mapping[str, Any]:
    pages = elbv2.get_paginator("describe_load_balancers").paginate()
    load_balancers: dict[str, Mapping[str, Any]] = {
        found["LoadBalancerArn"]: found for page in pages for found in page["LoadBalancers"]
    }
    tags = _tags(elbv2, load_balancers)
    for arn, load_balancer in load_balancers.items():
        if tags.get(arn, {}).get("Stack") == stack:
            return load_balancer
    raise NoSuchStack(
        f"no load balancer has the tag Stack={stack} in {elbv2.meta.region_name}; "
        f"is this the right stack and region, and did {pulumi('up', stack=stack)} run?"
    )


def _read_rules(
    dns_name: str,
    own_tags: Mapping[str, str],
    listeners: list[dict[str, Any]],
    rules: Mapping[str, tuple[dict[str, Any], dict[str, Any]]],
    tags: Mapping[str, Mapping[str, str]],
) -> _LoadBalancer:
    ours = {role: [arn for arn in rules if tags[arn].get("Role") == role] for role in ("live", "preview")}
    live = ours["live"][0] if ours["live"] else ""
    previews = [condition for arn in ours["preview"] for condition in _header_conditions(rules[arn][0])]
    listener = next((rules[arn][1] for arn in (*ours["live"], *ours["preview"])), (listeners or [{}])[0])
    return _LoadBalancer(
        dns_name=dns_name,
        scheme=listener.get("Protocol", "HTTP").lower(),
        port=listener.get("Port", 80),
        live_rule_arn=live,
        weights=_rule_weights(rules[live][0]) if live else {},
        preview_header=previews[0][0] if previews else "",
        preview_values={color: value for _, value in previews for color in Color if value.endswith(f"-{color}")},
        tags=own_tags,
    )


def _header_conditions(rule: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for condition in rule["Conditions"]:
        config = condition.get("HttpHeaderConfig", {})
        for value in config.get("Values", []):
            yield config["HttpHeaderName"], value


def _rule_weights(rule: Mapping[str, Any]) -> dict[str, int]:
    forwards = [action.get("ForwardConfig", {}) for action in rule["Actions"] if action["Type"] == "forward"]
    return {
        target["TargetGroupArn"]: int(target.get("Weight", 0))
        for forward in forwards
        for target in forward.get("TargetGroups", [])
    }


def _target_groups(stack: str, elbv2: Any, arns: Arns | None) -> dict[Color, _Targets]:
    named = {"TargetGroupArns": list(arns.target_groups.values())} if arns else {}
    pages = elbv2.get_paginator("describe_target_groups").paginate(**named)
    groups = {group["TargetGroupArn"]: group for page in pages for group in page["TargetGroups"]}
    ours = arns.target_groups if arns else _target_groups_by_tags(stack, elbv2, groups)
    return {
        color: _Targets(arn=arn, health_path=groups[arn].get("HealthCheckPath", "/"), health=_target_health(elbv2, arn))
        for color, arn in ours.items()
    }


def _target_groups_by_tags(stack: str, elbv2: Any, arns: Iterable[str]) -> dict[Color, str]:
    return {
        Color(tags["Color"]): arn
        for arn, tags in _tags(elbv2, arns).items()
        if tags.get("Stack") == stack and tags.get("Color") in set(Color)
    }


def _target_health(elbv2: Any, arn: str) -> dict[str, tuple[str, str]]:
    targets = elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    return {
        target["Target"]["Id"]: (
            target["TargetHealth"]["State"],
            " ".join(target["TargetHealth"].get(key, "") for key in ("Reason", "Description")).strip(),
        )
        for target in targets
    }


def _scaling_groups(stack: str, autoscaling: Any) -> list[dict[str, Any]]:
    pages = autoscaling.get_paginator("describe_auto_scaling_groups").paginate(
        Filters=[{"Name": "tag:Stack", "Values": [stack]}]
    )
    # A group being deleted is no longer part of any color.
    return [group for page in pages for group in page["AutoScalingGroups"] if not group.get("Status")]


def _group(raw: Mapping[str, Any], health: Mapping[str, tuple[str, str]]) -> Group:
    tags = _asg_tags(raw)
    return Group(
        name=raw["AutoScalingGroupName"],
        release=tags.get("Release", ""),
        ami=tags.get("Ami", ""),
        desired=raw["DesiredCapacity"],
        minimum=raw["MinSize"],
        maximum=raw["MaxSize"],
        is_stopped=is_stopped(raw),
        instances=tuple(
            _instance(instance, *health.get(instance["InstanceId"], ("unregistered", "not in the target group yet")))
            for instance in raw["Instances"]
        ),
    )


def is_stopped(group: Mapping[str, Any]) -> bool:
    """Whether the launches of this group, as AWS describes it, are suspended."""
    return any(process["ProcessName"] == LAUNCH for process in group.get("SuspendedProcesses", ()))


def _instance(instance: Mapping[str, Any], health: str, reason: str) -> InstanceState:
    return InstanceState(id=instance["InstanceId"], lifecycle=instance["LifecycleState"], health=health, reason=reason)


def _asg_tags(raw: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in raw["Tags"]}


def _tags(elbv2: Any, arns: Iterable[str]) -> dict[str, dict[str, str]]:
    remaining, tags = iter(arns), dict[str, dict[str, str]]()
    while batch := list(islice(remaining, ARNS_PER_TAG_CALL)):
        for described in elbv2.describe_tags(ResourceArns=batch)["TagDescriptions"]:
            tags[described["ResourceArn"]] = {tag["Key"]: tag["Value"] for tag in described["Tags"]}
    return tags

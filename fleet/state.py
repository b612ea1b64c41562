"""One reading of a stack's machines, target groups and listener rules as AWS has them now."""

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
# The process of a group that launches machines.
LAUNCH = "Launch"
# Of impatient clients.
CONNECT_S, READ_S = 2, 3
# Tags of the load balancer, which lead from it to the rest of the stack where its state can't be read.
BUCKET_TAG, TOPIC_TAG, ADDRESS_TAG = "ArtifactsBucket", "AlertsTopic", "Address"


class NoSuchStack(Exception):  # noqa: N818 - reads as the sentence that its message is
    """AWS holds nothing that carries the stack's tag."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One instance of an ASG, with what the load balancer says of it."""

    instance: str
    lifecycle: str
    health: str
    reason: str = ""

    @property
    def is_healthy(self) -> bool:
        return self.health == "healthy"


@dataclass(frozen=True, kw_only=True)
class Group:
    """One Auto Scaling group: the machines of one release on one AMI."""

    name: str
    release: str
    ami: str
    desired: int
    minimum: int
    maximum: int
    machines: tuple[Machine, ...] = ()
    is_stopped: bool = False
    """Whether it launches nothing: a delivery that failed left it so."""

    @property
    def healthy(self) -> int:
        return sum(machine.is_healthy for machine in self.machines)


@dataclass(frozen=True, kw_only=True)
class Side:
    """One color: its target group, its share of the users, and the groups in it (two while one replaces the other)."""

    color: Color
    target_group_arn: str
    weight: int = 0
    groups: tuple[Group, ...] = ()
    strays: tuple[str, ...] = ()
    """Targets that would get users although no group of this color holds them."""
    preview_value: str = ""
    health_path: str = "/health"

    def group_of(self, release: str) -> Group | None:
        return next((group for group in self.groups if group.release == release), None)

    @property
    def group(self) -> Group | None:
        """The group that counts: the one with the most healthy machines."""
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
    """A stack as AWS has it at one moment."""

    stack: str
    dns_name: str
    scheme: str
    port: int
    live_rule_arn: str
    preview_header: str
    sides: Mapping[Color, Side]
    tags: Mapping[str, str] = field(default_factory=dict)
    """Those of the load balancer."""

    @property
    def url(self) -> str:
        usual = {"http": 80, "https": 443}[self.scheme]
        return f"{self.scheme}://{self.dns_name}" + ("" if self.port == usual else f":{self.port}")

    @property
    def weights(self) -> dict[Color, int]:
        return {color: side.weight for color, side in self.sides.items()}

    @property
    def serving(self) -> Color | None:
        """The color with the most users; None before the first release."""
        best = max(self.sides.values(), key=lambda side: side.weight, default=None)
        return best.color if best and best.weight else None

    def preview(self, color: Color) -> dict[str, str]:
        """The headers that lead a request to this color, whoever serves the users."""
        return {self.preview_header: self.sides[color].preview_value}


@dataclass(frozen=True, kw_only=True)
class Arns:
    """What a stack's outputs name, so that it need not be searched for by tags among all of the account."""

    load_balancer: str
    target_groups: Mapping[Color, str]

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, Any]) -> Arns | None:
        """None before there are any."""
        colors = outputs.get("colors", {})
        groups = {color: str(colors.get(color, {}).get("targetGroupArn", "")) for color in Color}
        found = cls(load_balancer=str(outputs.get("loadBalancerArn", "")), target_groups=groups)
        return found if found.load_balancer and all(groups.values()) else None


def describe(stack: str, session: Any, arns: Arns | None = None) -> Fleet:
    """Read load balancer, target groups and ASGs at the same time: each of the three takes several calls.

    Without `arns`, and where something of them is gone, they are found by their tags. Raises NoSuchStack.
    """
    # boto3 sessions make clients one at a time only; the clients themselves may be shared by threads.
    balancing, scaling = client(session, "elbv2"), client(session, "autoscaling")
    gone = balancing.exceptions.LoadBalancerNotFoundException, balancing.exceptions.TargetGroupNotFoundException
    with ThreadPoolExecutor(3) as pool:
        balancer = pool.submit(_balancer, stack, balancing, arns)
        targets = pool.submit(_target_groups, stack, balancing, arns)
        groups = pool.submit(_scaling_groups, stack, scaling)
        try:
            return _assemble(stack, balancer.result(), targets.result(), groups.result())
        except gone:
            if arns is None:
                raise
    return describe(stack, session)


def client(session: Any, service: str, *, impatient: bool = False) -> Any:
    """The session's client of this service: made once, as making one takes longer (0.1 s) than most calls.

    An impatient one tries once, for 5 s at most, where the usual one may try for minutes: for whoever asks again
    soon, and has other things to look at meanwhile.
    """
    made = _CLIENTS.setdefault(session, {})
    if (service, impatient) not in made:
        made[service, impatient] = session.client(service, **({"config": _impatience()} if impatient else {}))
    return made[service, impatient]


def _impatience() -> Any:
    from botocore.config import Config

    return Config(connect_timeout=CONNECT_S, read_timeout=READ_S, retries={"total_max_attempts": 1})


_CLIENTS: WeakKeyDictionary[Any, dict[tuple[str, bool], Any]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class _Balancer:
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
    stack: str, balancer: _Balancer, targets: Mapping[Color, _Targets], groups: list[dict[str, Any]]
) -> Fleet:
    def side(color: Color, target: _Targets) -> Side:
        ours = tuple(_group(raw, target.health) for raw in groups if _asg_tags(raw).get("Color") == color)
        held = {machine.instance for group in ours for machine in group.machines}
        return Side(
            color=color,
            target_group_arn=target.arn,
            weight=balancer.weights.get(target.arn, 0),
            groups=ours,
            strays=tuple(id_ for id_, (state, _) in target.health.items() if id_ not in held and state != "draining"),
            preview_value=balancer.preview_values.get(color, ""),
            health_path=target.health_path,
        )

    return Fleet(
        stack=stack,
        dns_name=balancer.dns_name,
        scheme=balancer.scheme,
        port=balancer.port,
        live_rule_arn=balancer.live_rule_arn,
        preview_header=balancer.preview_header,
        sides={color: side(color, target) for color, target in sorted(targets.items())},
        tags=balancer.tags,
    )


def live_weights(fleet: Fleet, session: Any) -> dict[Color, int]:
    """The live rule's weights as AWS has them at this moment: one call, where `describe` takes ten."""
    found = client(session, "elbv2").describe_rules(RuleArns=[fleet.live_rule_arn])["Rules"][0]
    weights = _rule_weights(found)
    return {color: weights.get(side.target_group_arn, 0) for color, side in fleet.sides.items()}


def _balancer(stack: str, elbv2: Any, arns: Arns | None) -> _Balancer:
    if arns:
        balancer = elbv2.describe_load_balancers(LoadBalancerArns=[arns.load_balancer])["LoadBalancers"][0]
    else:
        balancer = _balancer_by_tags(stack, elbv2)
    own = balancer["LoadBalancerArn"]
    listeners = elbv2.describe_listeners(LoadBalancerArn=own)["Listeners"]
    rules = {
        rule["RuleArn"]: (rule, listener)
        for listener in listeners
        for rule in elbv2.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
        if not rule["IsDefault"]
    }
    tags = _tags(elbv2, [own, *rules])
    return _read_rules(balancer["DNSName"], tags[own], listeners, rules, tags)


def _balancer_by_tags(stack: str, elbv2: Any) -> Mapping[str, Any]:
    pages = elbv2.get_paginator("describe_load_balancers").paginate()
    balancers: dict[str, Mapping[str, Any]] = {
        one["LoadBalancerArn"]: one for page in pages for one in page["LoadBalancers"]
    }
    tags = _tags(elbv2, balancers)
    for arn, balancer in balancers.items():
        if tags.get(arn, {}).get("Stack") == stack:
            return balancer
    raise NoSuchStack(
        f"no load balancer carries the tag Stack={stack} in {elbv2.meta.region_name}; "
        f"is this the right stack and region, and did {pulumi('up', stack=stack)} run?"
    )


def _read_rules(
    dns_name: str,
    own_tags: Mapping[str, str],
    listeners: list[dict[str, Any]],
    rules: Mapping[str, tuple[dict[str, Any], dict[str, Any]]],
    tags: Mapping[str, Mapping[str, str]],
) -> _Balancer:
    ours = {role: [arn for arn in rules if tags[arn].get("Role") == role] for role in ("live", "preview")}
    live = ours["live"][0] if ours["live"] else ""
    previews = [condition for arn in ours["preview"] for condition in _header_conditions(rules[arn][0])]
    listener = next((rules[arn][1] for arn in (*ours["live"], *ours["preview"])), (listeners or [{}])[0])
    return _Balancer(
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
    answers = elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    return {
        answer["Target"]["Id"]: (
            answer["TargetHealth"]["State"],
            " ".join(answer["TargetHealth"].get(key, "") for key in ("Reason", "Description")).strip(),
        )
        for answer in answers
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
        machines=tuple(
            _machine(instance, *health.get(instance["InstanceId"], ("unregistered", "not in the target group yet")))
            for instance in raw["Instances"]
        ),
    )


def is_stopped(group: Mapping[str, Any]) -> bool:
    """Whether this group, as AWS describes it, launches nothing."""
    return any(process["ProcessName"] == LAUNCH for process in group.get("SuspendedProcesses", ()))


def _machine(instance: Mapping[str, Any], health: str, reason: str) -> Machine:
    return Machine(instance=instance["InstanceId"], lifecycle=instance["LifecycleState"], health=health, reason=reason)


def _asg_tags(raw: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in raw["Tags"]}


def _tags(elbv2: Any, arns: Iterable[str]) -> dict[str, dict[str, str]]:
    remaining, tags = iter(arns), dict[str, dict[str, str]]()
    while batch := list(islice(remaining, ARNS_PER_TAG_CALL)):
        for one in elbv2.describe_tags(ResourceArns=batch)["TagDescriptions"]:
            tags[one["ResourceArn"]] = {tag["Key"]: tag["Value"] for tag in one["Tags"]}
    return tags

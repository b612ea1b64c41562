"""Model of an Application Load Balancer as plain values: listeners, rules, weights, target groups and targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ConditionKind(StrEnum):
    """The names of Elastic Load Balancing's API."""

    HTTP_HEADER = "http-header"
    PATH_PATTERN = "path-pattern"
    HOST_HEADER = "host-header"
    HTTP_REQUEST_METHOD = "http-request-method"
    QUERY_STRING = "query-string"
    SOURCE_IP = "source-ip"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """`name` is the header's name, or the query parameter's key; one of the values must match."""

    kind: ConditionKind
    values: tuple[str, ...]
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Forward:
    """Target group ARN to weight, 0 to 999 each."""

    weights: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class FixedResponse:
    status: int
    content_type: str = "text/plain"
    body: str = ""


@dataclass(frozen=True, kw_only=True)
class Redirect:
    """Parts may hold the API's placeholders: #{protocol}, #{host}, #{port}, #{path}, #{query}."""

    status: int = 301
    protocol: str = "#{protocol}"
    host: str = "#{host}"
    port: str = "#{port}"
    path: str = "/#{path}"
    query: str = "#{query}"


Action = Forward | FixedResponse | Redirect


@dataclass(frozen=True, kw_only=True)
class RuleModel:
    """Evaluated by ascending priority; all conditions must match."""

    priority: int
    conditions: tuple[Condition, ...]
    action: Action


@dataclass(frozen=True, kw_only=True)
class ListenerModel:
    port: int
    default_action: Action
    rules: tuple[RuleModel, ...] = ()

    @property
    def actions(self) -> Iterator[tuple[str, Action]]:
        """Each action with a key that is stable for the rule."""
        for rule in sorted(self.rules, key=lambda rule: rule.priority):
            yield f"{self.port}-{rule.priority}", rule.action
        yield f"{self.port}-default", self.default_action


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """Seconds; `matcher` lists status codes and ranges, as 200 or 200-299,404."""

    path: str = "/"
    interval: float = 30
    timeout: float = 5
    healthy_threshold: int = 3
    unhealthy_threshold: int = 2
    matcher: str = "200"


@dataclass(frozen=True, kw_only=True)
class TargetGroupModel:
    """Targets are (address, port)."""

    health: HealthCheck = field(default_factory=HealthCheck)
    targets: tuple[tuple[str, int], ...] = ()
    deregistration_delay: float = 300


@dataclass(frozen=True, kw_only=True)
class LoadBalancerModel:
    listeners: tuple[ListenerModel, ...] = ()
    target_groups: Mapping[str, TargetGroupModel] = field(default_factory=dict)

    @property
    def groups_in_use(self) -> set[str]:
        """Target groups that a rule forwards to, also with weight 0: they are health-checked."""
        actions = [action for listener in self.listeners for _key, action in listener.actions]
        named = {arn for action in actions if isinstance(action, Forward) for arn in action.weights}
        return named & set(self.target_groups)


class TargetState(StrEnum):
    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    UNUSED = "unused"


@dataclass(frozen=True, kw_only=True)
class TargetHealth:
    """State, reason code and description of Elastic Load Balancing's API; a healthy target has no reason."""

    state: TargetState
    reason: str = ""
    description: str = ""


HEALTHY = TargetHealth(state=TargetState.HEALTHY)
INITIAL = TargetHealth(
    state=TargetState.INITIAL, reason="Elb.InitialHealthChecking", description="Initial health checks in progress"
)
DRAINING = TargetHealth(
    state=TargetState.DRAINING,
    reason="Target.DeregistrationInProgress",
    description="Target deregistration is in progress",
)
NOT_REGISTERED = TargetHealth(
    state=TargetState.UNUSED,
    reason="Target.NotRegistered",
    description="Target is not registered to the target group",
)
NOT_IN_USE = TargetHealth(
    state=TargetState.UNUSED,
    reason="Target.NotInUse",
    description="Target group is not configured to receive traffic from the load balancer",
)


def unhealthy(reason: str, description: str) -> TargetHealth:
    return TargetHealth(state=TargetState.UNHEALTHY, reason=reason, description=description)

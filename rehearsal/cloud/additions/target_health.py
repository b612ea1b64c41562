"""Target health from the load balancer emulator's checks, and draining of deregistered targets."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from moto.elbv2.exceptions import InvalidTargetError, TargetGroupNotFoundError
from moto.elbv2.models import ELBv2Backend, FakeHealthStatus, FakeTargetGroup, elbv2_backends

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import replace_methods
from rehearsal.load_balancer.model import DRAINING, HEALTHY, INITIAL, NOT_IN_USE, NOT_REGISTERED, TargetHealth

GAPS = [
    Gap(
        service="elbv2",
        action="DescribeTargetHealth",
        reason="moto reports every target as healthy; here HAProxy's HTTP health checks decide, and targets drain",
    ),
]


Key = tuple[str, str]  # target group ARN, target id


class TargetHealthCache:
    """Last known health of each target; without a load balancer emulator every registered target is healthy."""

    def __init__(self) -> None:
        self._healths: Mapping[Key, TargetHealth] | None = None

    def write(self, healths: Mapping[Key, TargetHealth] | None) -> None:
        self._healths = healths  # replaced at once: readers see a consistent state

    def read(self, target_group: str, target: str) -> TargetHealth:
        if self._healths is None:
            return HEALTHY
        return self._healths.get((target_group, target), INITIAL)


TARGET_HEALTH = TargetHealthCache()


def extend() -> None:
    replace_methods(FakeTargetGroup, deregister=_deregister, health_for=_health_for)
    replace_methods(ELBv2Backend, describe_target_health=_describe_target_health)
    register_plain = FakeTargetGroup.register

    def register(self: Any, targets: list[dict[str, Any]]) -> None:
        register_plain(self, targets)
        for target in targets:
            draining(self).pop(target["Id"], None)

    replace_methods(FakeTargetGroup, register=register)


def draining(target_group: Any) -> dict[str, dict[str, Any]]:
    """Draining targets by id, each with `Since`."""
    targets: dict[str, dict[str, Any]] = target_group.__dict__.setdefault("draining_targets", {})
    return targets


def drained(target_group: Any, target: str) -> None:
    if registration := draining(target_group).pop(target, None):
        target_group.deregistered_targets[target] = registration


def in_use(backend: Any, arn: str) -> bool:
    return any(arn in groups_behind(backend, load_balancer) for load_balancer in backend.load_balancers.values())


def groups_behind(backend: Any, load_balancer: Any) -> set[str]:
    """ARNs of the target groups in the load balancer's rules."""
    return {
        arn
        for listener in load_balancer.listeners.values()
        for rule in listener.rules.values()
        for action in rule.actions
        for arn in backend._get_target_group_arns_from(action_data=action.data)
    }


def _deregister(self: Any, targets: list[dict[str, Any]]) -> None:
    for target in targets:
        registration = self.targets.pop(target["Id"], None)
        if registration is None and target["Id"] not in draining(self):
            raise InvalidTargetError()
        if registration is not None:
            draining(self)[target["Id"]] = {**registration, "Since": time.monotonic()}


def _health_for(self: Any, target: dict[str, Any], ec2_backend: Any) -> Any:
    registered = self.targets.get(target["Id"]) or draining(self).get(target["Id"])
    port = (registered or target).get("Port", self.port)
    health = _health(self, target["Id"])
    details = (str(health.state), health.reason or None, health.description or None)
    return FakeHealthStatus(target["Id"], port, self.health_check_port, *details)


def _health(target_group: Any, target: str) -> TargetHealth:
    backend = elbv2_backends[target_group.account_id][target_group.region_name]
    if target in draining(target_group):
        return DRAINING
    if target not in target_group.targets:
        return NOT_REGISTERED
    return TARGET_HEALTH.read(target_group.arn, target) if in_use(backend, target_group.arn) else NOT_IN_USE


def _describe_target_health(self: Any, target_group_arn: str, targets: list[dict[str, Any]]) -> list[Any]:
    target_group = self.target_groups.get(target_group_arn)
    if target_group is None:
        raise TargetGroupNotFoundError()
    selected = targets or [*target_group.targets.values(), *draining(target_group).values()]
    return [target_group.health_for(target, self.ec2_backend) for target in selected]

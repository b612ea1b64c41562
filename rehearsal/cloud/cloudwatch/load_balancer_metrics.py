"""Load balancer metrics for CloudWatch, with the names and dimensions of AWS/ApplicationELB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.metrics import store_of
from rehearsal.cloud.additions.target_health import TARGET_HEALTH, groups_behind
from rehearsal.cloud.cloudwatch.metric_store import Dimensions, MetricId
from rehearsal.load_balancer.access_log import RequestOutcome
from rehearsal.load_balancer.model import TargetState

GAPS = [
    Gap(
        service="elbv2",
        action="(metrics)",
        reason="moto has none; here they come from HAProxy's request log and health checks, every second instead of "
        "every minute. A failed connection counts also when a retry, which ALB doesn't make, succeeded",
    ),
]
NAMESPACE = "AWS/ApplicationELB"

Points = dict[tuple[MetricId, str], dict[float, float]]  # (metric, unit) to value to count


def publish(backends: list[Any], traffic: Mapping[RequestOutcome, int], at: float) -> None:
    """Put the traffic since the last call and the present target health into CloudWatch; `at` in epoch seconds."""
    for backend in backends:
        store = store_of(cloudwatch_backends[backend.account_id][backend.region_name])
        for (metric, unit), values in _points(backend, traffic).items():
            store.add(metric, at, values, unit)


def load_balancer_dimension(arn: str) -> str:
    """Value of the LoadBalancer dimension: app/name/number."""
    return arn.partition(":loadbalancer/")[2]


def target_group_dimension(arn: str) -> str:
    return arn.rpartition(":")[2]


def _points(backend: Any, traffic: Mapping[RequestOutcome, int]) -> Points:
    points: Points = {}

    def add(dimensions: Dimensions, name: str, value: float, count: float = 1, unit: str = "Count") -> None:
        counts = points.setdefault((MetricId(namespace=NAMESPACE, name=name, dimensions=dimensions), unit), {})
        counts[value] = counts.get(value, 0) + count

    for load_balancer in backend.load_balancers.values():
        dimension_value = load_balancer_dimension(load_balancer.arn)
        # Published also without traffic, unlike all others.
        add(_load_balancer_only(dimension_value), "RequestCount", 0.0)
        for dimensions, healthy, unhealthy in _hosts(backend, load_balancer, dimension_value):
            add(dimensions, "HealthyHostCount", healthy)
            add(dimensions, "UnHealthyHostCount", unhealthy)
        ports = {int(listener.port) for listener in load_balancer.listeners.values()}
        for kind, count in traffic.items():
            for dimensions, name, times in _counted(dimension_value, kind) if kind.port in ports else ():
                add(dimensions, name, 1.0, count * times)
            for dimensions in (
                _dimensions(dimension_value, kind) if kind.port in ports and kind.seconds is not None else ()
            ):
                add(dimensions, "TargetResponseTime", kind.seconds or 0.0, count, "Seconds")
    return points


def _counted(load_balancer: str, kind: RequestOutcome) -> Iterator[tuple[Dimensions, str, int]]:
    """Metrics that one such request counts in, and how many times."""
    for dimensions in _dimensions(load_balancer, kind):
        yield from ((dimensions, name, times) for name, times in _names(kind))
    yield from ((_load_balancer_only(load_balancer), name, 1) for name in _load_balancer_names(kind))


def _dimensions(load_balancer: str, kind: RequestOutcome) -> list[Dimensions]:
    alone = _load_balancer_only(load_balancer)
    if not kind.target_group:
        return [alone]
    return [alone, alone | {("TargetGroup", target_group_dimension(kind.target_group))}]


def _load_balancer_only(load_balancer: str) -> Dimensions:
    return frozenset({("LoadBalancer", load_balancer)})


def _names(kind: RequestOutcome) -> Iterator[tuple[str, int]]:
    """Metrics of the load balancer and of the target group: (metric, times)."""
    if kind.target_group:
        yield "RequestCount", 1
    if kind.from_target:
        yield f"HTTPCode_Target_{kind.status // 100}XX_Count", 1
    if kind.failed_connections:
        yield "TargetConnectionErrorCount", kind.failed_connections


def _load_balancer_names(kind: RequestOutcome) -> Iterator[str]:
    """Metrics of responses by the load balancer itself, which have no target group."""
    if kind.from_target:
        return
    status = kind.status or 460  # the client closed the connection before the response
    if status >= 300:
        yield f"HTTPCode_ELB_{status // 100}XX_Count"
    if status in (500, 502, 503, 504):
        yield f"HTTPCode_ELB_{status}_Count"
    if kind.by_rule:
        yield "HTTP_Redirect_Count" if 300 <= status < 400 else "HTTP_Fixed_Response_Count"


def _hosts(backend: Any, load_balancer: Any, dimension_value: str) -> Iterator[tuple[Dimensions, int, int]]:
    """(dimensions, healthy, unhealthy) for each target group of the load balancer that has targets."""
    behind = groups_behind(backend, load_balancer)
    for group in backend.target_groups.values():
        if not group.targets or group.arn not in behind:
            continue
        states = [TARGET_HEALTH.read(group.arn, target).state for target in group.targets]
        dimensions = _load_balancer_only(dimension_value) | {("TargetGroup", target_group_dimension(group.arn))}
        yield dimensions, states.count(TargetState.HEALTHY), states.count(TargetState.UNHEALTHY)

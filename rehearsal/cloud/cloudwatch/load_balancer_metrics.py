"""The load balancer's metrics in CloudWatch, under the names and dimensions of Elastic Load Balancing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.metrics import store_of
from rehearsal.cloud.additions.target_health import LEDGER, groups_behind
from rehearsal.cloud.cloudwatch.metric_store import Dimensions, Metric
from rehearsal.load_balancer.access_log import RequestOutcome
from rehearsal.load_balancer.model import TargetState

GAPS = [
    Gap(
        service="elbv2",
        action="(metrics)",
        reason="moto has none; here HAProxy's log of each request and its health checks give them, each second in "
        "place of each minute. A connection that failed counts also when a second try, which ALB has not, was answered",
    ),
]
NAMESPACE = "AWS/ApplicationELB"

Points = dict[tuple[Metric, str], dict[float, float]]  # (metric, unit) to value to count


def tell(backends: list[Any], traffic: Mapping[RequestOutcome, int], at: float) -> None:
    """Puts a moment's traffic and target health into CloudWatch; `at` in seconds since the epoch."""
    for backend in backends:
        store = store_of(cloudwatch_backends[backend.account_id][backend.region_name])
        for (metric, unit), values in _points(backend, traffic).items():
            store.add(metric, at, values, unit)


def balancer_name(arn: str) -> str:
    """As metrics know it: app/name/number."""
    return arn.partition(":loadbalancer/")[2]


def target_group_name(arn: str) -> str:
    return arn.rpartition(":")[2]


def _points(backend: Any, traffic: Mapping[RequestOutcome, int]) -> Points:
    points: Points = {}

    def add(dimensions: Dimensions, name: str, value: float, count: float = 1, unit: str = "Count") -> None:
        held = points.setdefault((Metric(namespace=NAMESPACE, name=name, dimensions=dimensions), unit), {})
        held[value] = held.get(value, 0) + count

    for balancer in backend.load_balancers.values():
        named = balancer_name(balancer.arn)
        # Told also when nobody comes, unlike all others.
        add(_of(named), "RequestCount", 0.0)
        for dimensions, healthy, unhealthy in _hosts(backend, balancer, named):
            add(dimensions, "HealthyHostCount", healthy)
            add(dimensions, "UnHealthyHostCount", unhealthy)
        ports = {int(listener.port) for listener in balancer.listeners.values()}
        for kind, count in traffic.items():
            for dimensions, name, many in _counted(named, kind) if kind.port in ports else ():
                add(dimensions, name, 1.0, count * many)
            for dimensions in _concerned(named, kind) if kind.port in ports and kind.seconds is not None else ():
                add(dimensions, "TargetResponseTime", kind.seconds or 0.0, count, "Seconds")
    return points


def _counted(balancer: str, kind: RequestOutcome) -> Iterator[tuple[Dimensions, str, int]]:
    """Each metric that one such request counts in, and how many times."""
    for dimensions in _concerned(balancer, kind):
        yield from ((dimensions, name, many) for name, many in _names(kind))
    yield from ((_of(balancer), name, 1) for name in _balancer_names(kind))


def _concerned(balancer: str, kind: RequestOutcome) -> list[Dimensions]:
    alone = _of(balancer)
    if not kind.target_group:
        return [alone]
    return [alone, alone | {("TargetGroup", target_group_name(kind.target_group))}]


def _of(balancer: str) -> Dimensions:
    return frozenset({("LoadBalancer", balancer)})


def _names(kind: RequestOutcome) -> Iterator[tuple[str, int]]:
    """What counts for the balancer and for the target group: (metric, times)."""
    if kind.target_group:
        yield "RequestCount", 1
    if kind.from_target:
        yield f"HTTPCode_Target_{kind.status // 100}XX_Count", 1
    if kind.failed_connections:
        yield "TargetConnectionErrorCount", kind.failed_connections


def _balancer_names(kind: RequestOutcome) -> Iterator[str]:
    """What the balancer answered by itself, which it tells of no target group."""
    if kind.from_target:
        return
    status = kind.status or 460  # a client that left before the answer
    if status >= 300:
        yield f"HTTPCode_ELB_{status // 100}XX_Count"
    if status in (500, 502, 503, 504):
        yield f"HTTPCode_ELB_{status}_Count"
    if kind.by_rule:
        yield "HTTP_Redirect_Count" if 300 <= status < 400 else "HTTP_Fixed_Response_Count"


def _hosts(backend: Any, balancer: Any, named: str) -> Iterator[tuple[Dimensions, int, int]]:
    """Of each group behind the balancer that has targets: how many are healthy, and how many not."""
    behind = groups_behind(backend, balancer)
    for group in backend.target_groups.values():
        if not group.targets or group.arn not in behind:
            continue
        states = [LEDGER.read(group.arn, target).state for target in group.targets]
        dimensions = _of(named) | {("TargetGroup", target_group_name(group.arn))}
        yield dimensions, states.count(TargetState.HEALTHY), states.count(TargetState.UNHEALTHY)

"""CloudWatch dashboard of both colors: blue on the left, green on the right, the same graphs for each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import cloudwatch

from components import alarm_metrics
from components.alarm_metrics import PERIOD_S, Metric
from config.alerts import AlarmSettings
from config.colors import ColorSettings
from config.context import StackContext
from fleet.colors import Color

COLUMNS = 24  # CloudWatch's grid
HALF = COLUMNS // 2
HEADER_HEIGHT, GRAPH_HEIGHT = 3, 6
LINE_COLORS = {Color.BLUE: "#1f77b4", Color.GREEN: "#2ca02c"}
RED = "#d62728"

Widget = Mapping[str, Any]


class Dashboard(pulumi.ComponentResource):
    """`load_balancer` and `target_groups` are ARN suffixes; `alarms` are ARNs.

    Output: `name`, in the account's list of dashboards.
    """

    name: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        context: StackContext,
        settings: AlarmSettings,
        colors: Mapping[Color, ColorSettings],
        *,
        load_balancer: pulumi.Input[str],
        target_groups: Mapping[Color, pulumi.Input[str]],
        alarms: Sequence[pulumi.Input[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:observability:Dashboard", name, {}, opts)

        def body(known: Sequence[str]) -> str:
            suffix, *rest = known
            return render(
                DashboardContent(
                    stack=context.stack,
                    region=context.region,
                    settings=settings,
                    releases={color: own.version for color, own in colors.items()},
                    load_balancer=suffix,
                    target_groups=dict(zip(Color, rest[: len(Color)], strict=True)),
                    alarms=rest[len(Color) :],
                )
            )

        inputs = pulumi.Output.all(load_balancer, *(target_groups[color] for color in Color), *alarms)
        dashboard = cloudwatch.Dashboard(
            name,
            # Dashboards of all regions share one list; PutDashboard under a name in use overwrites that one.
            dashboard_name=f"{context.project}-{context.stack}-{context.region}",
            dashboard_body=inputs.apply(body),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.name = dashboard.dashboard_name
        self.register_outputs({"name": self.name})


@dataclass(frozen=True, kw_only=True)
class DashboardContent:
    """What the dashboard shows; nothing of it depends on which color is live, so that a cutover does not change it.

    `load_balancer` and `target_groups` are ARN suffixes; `alarms` are ARNs; a release is empty for a color that is off.
    """

    stack: str
    region: str
    settings: AlarmSettings
    releases: Mapping[Color, str]
    load_balancer: str
    target_groups: Mapping[Color, str]
    alarms: Sequence[str]


def render(content: DashboardContent) -> str:
    """The dashboard's body, as JSON."""
    widgets = [_alarms(content)]
    for color in Color:
        widgets += _column(content, color)
    widgets.append(_load_balancer(content, 2 * HEADER_HEIGHT + len(_graphs(content, Color.BLUE)) * GRAPH_HEIGHT))
    return json.dumps({"widgets": widgets})


def _alarms(content: DashboardContent) -> Widget:
    properties = {"title": f"{content.stack}: alarms", "alarms": list(content.alarms)}
    return _widget("alarm", 0, 0, COLUMNS, HEADER_HEIGHT, properties)


def _column(content: DashboardContent, color: Color) -> list[Widget]:
    left, top = 0 if color is Color.BLUE else HALF, HEADER_HEIGHT
    release = content.releases[color]
    title = f"# {color}\nRelease **{release}**" if release else f"# {color}\nNo release: the color is off."
    return [
        _widget("text", left, top, HALF, HEADER_HEIGHT, {"markdown": title}),
        *(
            _widget("metric", left, top + HEADER_HEIGHT + index * GRAPH_HEIGHT, HALF, GRAPH_HEIGHT, properties)
            for index, properties in enumerate(_graphs(content, color))
        ),
    ]


def _graphs(content: DashboardContent, color: Color) -> list[dict[str, Any]]:
    targets = {"TargetGroup": content.target_groups[color], "LoadBalancer": content.load_balancer}
    instances = {"Stack": content.stack, "Color": color.value}
    line, threshold = LINE_COLORS[color], content.settings.latency_milliseconds / 1000
    return [
        _graph(content, f"{color}: requests a minute", [_series(alarm_metrics.REQUESTS, targets, "requests", line)]),
        _graph(
            content,
            f"{color}: failed requests a minute",
            [
                _series(alarm_metrics.ERRORS, targets, "5xx", RED),
                _series(alarm_metrics.REFUSED_CONNECTIONS, targets, "no connection", "#9467bd"),
            ],
        ),
        _graph(
            content,
            f"{color}: p99 latency, seconds",
            [_series(alarm_metrics.LATENCY, targets, "p99", line)],
            threshold,
        ),
        _graph(
            content,
            f"{color}: instances",
            [
                _series(alarm_metrics.HEALTHY, targets, "healthy", line),
                _series(alarm_metrics.UNHEALTHY, targets, "unhealthy", RED),
            ],
        ),
        _graph(
            content,
            f"{color}: boots",
            [
                _series(alarm_metrics.BOOT_SECONDS, instances, "slowest, seconds", line),
                _series(alarm_metrics.BOOT_FAILURES, instances, "failed", RED),
            ],
        ),
    ]


def _load_balancer(content: DashboardContent, top: int) -> Widget:
    dimensions = {"LoadBalancer": content.load_balancer}
    properties = _graph(
        content,
        "load balancer: a minute",
        [
            _series(alarm_metrics.REQUESTS, dimensions, "requests", "#7f7f7f"),
            _series(alarm_metrics.ELB_5XX, dimensions, "its own 5xx", RED),
        ],
    )
    return _widget("metric", 0, top, COLUMNS, GRAPH_HEIGHT, properties)


def _graph(
    content: DashboardContent, title: str, series: list[list[Any]], threshold: float | None = None
) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "title": title,
        "view": "timeSeries",
        "region": content.region,
        "period": PERIOD_S,
        "yAxis": {"left": {"min": 0}},
        "metrics": series,
    }
    if threshold is not None:
        properties["annotations"] = {"horizontal": [{"label": "alarm", "value": threshold, "color": RED}]}
    return properties


def _series(metric: Metric, dimensions: Mapping[str, str], label: str, line: str) -> list[Any]:
    names_and_values = [part for pair in dimensions.items() for part in pair]
    return [metric.namespace, metric.name, *names_and_values, {"stat": metric.stat, "label": label, "color": line}]


def _widget(kind: str, x: int, y: int, width: int, height: int, properties: Mapping[str, Any]) -> Widget:
    return {"type": kind, "x": x, "y": y, "width": width, "height": height, "properties": properties}

"""A dashboard's text: blue left, green right, the same graphs of both on the same lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components import alarm_metrics
from components.alarm_metrics import PERIOD, Metric
from config.alerts import AlarmSettings
from fleet.colors import Color

COLUMNS = 24  # CloudWatch's grid
HALF = COLUMNS // 2
HEAD, GRAPH = 3, 6  # heights
LINES = {Color.BLUE: "#1f77b4", Color.GREEN: "#2ca02c"}
RED = "#d62728"

Widget = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What is on the dashboard. Nothing of it says which color serves: a cutover leaves it as it is.

    `balancer` and `target_groups` are the ends of their ARNs; `alarms` are ARNs; an empty release is none.
    """

    stack: str
    region: str
    settings: AlarmSettings
    releases: Mapping[Color, str]
    balancer: str
    target_groups: Mapping[Color, str]
    alarms: Sequence[str]


def render(shown: Shown) -> str:
    """JSON, as CloudWatch takes it."""
    widgets = [_alarms(shown)]
    top = HEAD
    for color in Color:
        widgets += _column(shown, color, top)
    widgets.append(_balancer(shown, top + HEAD + len(_graphs(shown, Color.BLUE)) * GRAPH))
    return json.dumps({"widgets": widgets})


def _alarms(shown: Shown) -> Widget:
    properties = {"title": f"{shown.stack}: alarms", "alarms": list(shown.alarms)}
    return _placed("alarm", 0, 0, COLUMNS, HEAD, properties)


def _column(shown: Shown, color: Color, top: int) -> list[Widget]:
    left = 0 if color is Color.BLUE else HALF
    release = shown.releases[color]
    title = f"# {color}\nRelease **{release}**" if release else f"# {color}\nNo release: the color is off."
    graphs = _graphs(shown, color)
    return [
        _placed("text", left, top, HALF, HEAD, {"markdown": title}),
        *(
            _placed("metric", left, top + HEAD + place * GRAPH, HALF, GRAPH, properties)
            for place, properties in enumerate(graphs)
        ),
    ]


def _graphs(shown: Shown, color: Color) -> list[dict[str, Any]]:
    own = {"TargetGroup": shown.target_groups[color], "LoadBalancer": shown.balancer}
    machines = {"Stack": shown.stack, "Color": color.value}
    line, slow = LINES[color], shown.settings.latency_milliseconds / 1000
    return [
        _graph(shown, f"{color}: requests a minute", [_series(alarm_metrics.REQUESTS, own, "requests", line)]),
        _graph(
            shown,
            f"{color}: failed requests a minute",
            [
                _series(alarm_metrics.ERRORS, own, "5xx", RED),
                _series(alarm_metrics.REFUSED, own, "no connection", "#9467bd"),
            ],
        ),
        _graph(shown, f"{color}: slowest of 100, seconds", [_series(alarm_metrics.LATENCY, own, "p99", line)], slow),
        _graph(
            shown,
            f"{color}: machines",
            [
                _series(alarm_metrics.HEALTHY, own, "healthy", line),
                _series(alarm_metrics.UNHEALTHY, own, "unhealthy", RED),
            ],
        ),
        _graph(
            shown,
            f"{color}: boots",
            [
                _series(alarm_metrics.BOOT_SECONDS, machines, "slowest, seconds", line),
                _series(alarm_metrics.BOOT_FAILURES, machines, "failed", RED),
            ],
        ),
    ]


def _balancer(shown: Shown, top: int) -> Widget:
    whole = {"LoadBalancer": shown.balancer}
    properties = _graph(
        shown,
        "load balancer: a minute",
        [
            _series(alarm_metrics.REQUESTS, whole, "requests", "#7f7f7f"),
            _series(alarm_metrics.BALANCER_5XX, whole, "its own 5xx", RED),
        ],
    )
    return _placed("metric", 0, top, COLUMNS, GRAPH, properties)


def _graph(shown: Shown, title: str, series: list[list[Any]], limit: float | None = None) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "title": title,
        "view": "timeSeries",
        "region": shown.region,
        "period": PERIOD,
        "yAxis": {"left": {"min": 0}},
        "metrics": series,
    }
    if limit is not None:
        properties["annotations"] = {"horizontal": [{"label": "alarm", "value": limit, "color": RED}]}
    return properties


def _series(metric: Metric, dimensions: Mapping[str, str], label: str, line: str) -> list[Any]:
    named = [part for pair in dimensions.items() for part in pair]
    return [metric.namespace, metric.name, *named, {"stat": metric.stat, "label": label, "color": line}]


def _placed(kind: str, x: int, y: int, width: int, height: int, properties: Mapping[str, Any]) -> Widget:
    return {"type": kind, "x": x, "y": y, "width": width, "height": height, "properties": properties}

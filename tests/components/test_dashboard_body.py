from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

from components.dashboard_body import Shown, render
from config.alerts import AlarmSettings
from fleet.colors import Color

BLUE = ["TargetGroup", "targetgroup/blue/1", "LoadBalancer", "app/web/3"]
MACHINES = ["Stack", "dev", "Color", "blue"]
BALANCER = ["LoadBalancer", "app/web/3"]
ELB = "AWS/ApplicationELB"
RED = "#d62728"
LINE = "#1f77b4"


def widgets(release: str = "v1") -> list[dict[str, Any]]:
    shown = Shown(
        stack="dev",
        region="eu-central-1",
        settings=AlarmSettings(latency_milliseconds=1500),
        releases={Color.BLUE: release, Color.GREEN: ""},
        balancer="app/web/3",
        target_groups={Color.BLUE: "targetgroup/blue/1", Color.GREEN: "targetgroup/green/2"},
        alarms=["arn:blue", "arn:green", "arn:balancer"],
    )
    body = json.loads(render(shown))
    assert body.keys() == {"widgets"}
    return list(body["widgets"])


def series(namespace: str, name: str, dimensions: list[str], stat: str, label: str, color: str) -> list[Any]:
    return [namespace, name, *dimensions, {"stat": stat, "label": label, "color": color}]


def graph(title: str, *metrics: list[Any], **more: Any) -> dict[str, Any]:
    return {
        "title": title,
        "view": "timeSeries",
        "region": "eu-central-1",
        "period": 60,
        "yAxis": {"left": {"min": 0}},
        "metrics": list(metrics),
        **more,
    }


def placed(kind: str, x: int, y: int, width: int, height: int, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "x": x, "y": y, "width": width, "height": height, "properties": properties}


COLUMN = [
    placed("text", 0, 3, 12, 3, {"markdown": "# blue\nRelease **v1**"}),
    placed(
        "metric",
        *(0, 6, 12, 6),
        graph("blue: requests a minute", series(ELB, "RequestCount", BLUE, "Sum", "requests", LINE)),
    ),
    placed(
        "metric",
        *(0, 12, 12, 6),
        graph(
            "blue: failed requests a minute",
            series(ELB, "HTTPCode_Target_5XX_Count", BLUE, "Sum", "5xx", RED),
            series(ELB, "TargetConnectionErrorCount", BLUE, "Sum", "no connection", "#9467bd"),
        ),
    ),
    placed(
        "metric",
        *(0, 18, 12, 6),
        graph(
            "blue: slowest of 100, seconds",
            series(ELB, "TargetResponseTime", BLUE, "p99", "p99", LINE),
            annotations={"horizontal": [{"label": "alarm", "value": 1.5, "color": RED}]},
        ),
    ),
    placed(
        "metric",
        *(0, 24, 12, 6),
        graph(
            "blue: machines",
            series(ELB, "HealthyHostCount", BLUE, "Maximum", "healthy", LINE),
            series(ELB, "UnHealthyHostCount", BLUE, "Maximum", "unhealthy", RED),
        ),
    ),
    placed(
        "metric",
        *(0, 30, 12, 6),
        graph(
            "blue: boots",
            series("bluegreen", "BootSeconds", MACHINES, "Maximum", "slowest, seconds", LINE),
            series("bluegreen", "BootFailures", MACHINES, "Sum", "failed", RED),
        ),
    ),
]


def test_the_alarms_stand_above_all() -> None:
    properties = {"title": "dev: alarms", "alarms": ["arn:blue", "arn:green", "arn:balancer"]}
    assert widgets()[0] == placed("alarm", 0, 0, 24, 3, properties)


def test_a_color_is_a_column_from_its_release_to_its_boots() -> None:
    assert widgets()[1:7] == COLUMN


def test_the_other_color_is_the_same_beside_it() -> None:
    text = json.dumps(COLUMN).replace("targetgroup/blue/1", "targetgroup/green/2").replace(LINE, "#2ca02c")
    mirrored = json.loads(re.sub(r"\bblue\b", "green", text))
    off = {"markdown": "# green\nNo release: the color is off."}
    expected = [each | {"x": 12} for each in mirrored]
    assert widgets()[7:13] == [expected[0] | {"properties": off}, *expected[1:]]


def test_the_balancer_stands_below_both() -> None:
    assert widgets()[13:] == [
        placed(
            "metric",
            *(0, 36, 24, 6),
            graph(
                "load balancer: a minute",
                series(ELB, "RequestCount", BALANCER, "Sum", "requests", "#7f7f7f"),
                series(ELB, "HTTPCode_ELB_5XX_Count", BALANCER, "Sum", "its own 5xx", RED),
            ),
        )
    ]


def test_another_release_changes_a_name_and_nothing_else() -> None:
    before, after = widgets("v1"), widgets("v2")
    assert [old for old, new in zip(before, after, strict=True) if old != new] == [COLUMN[0]]


def test_no_two_widgets_overlap_and_none_leaves_the_grid() -> None:
    found = widgets()
    assert all(each["x"] + each["width"] <= 24 for each in found)
    for one, other in combinations(found, 2):
        beside = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
        assert beside or one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]

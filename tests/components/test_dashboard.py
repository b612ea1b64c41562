from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

from components.dashboard import Dashboard, DashboardContent, render
from config.alerts import AlarmSettings
from config.colors import ColorSettings
from fleet.colors import Color
from tests.declared import CONTEXT, declare

BLUE = ["TargetGroup", "targetgroup/blue/1", "LoadBalancer", "app/web/3"]
INSTANCES = ["Stack", "dev", "Color", "blue"]
LOAD_BALANCER = ["LoadBalancer", "app/web/3"]
ELB = "AWS/ApplicationELB"
RED = "#d62728"
LINE = "#1f77b4"


def widgets(release: str = "v1") -> list[dict[str, Any]]:
    content = DashboardContent(
        stack="dev",
        region="eu-central-1",
        settings=AlarmSettings(latency_milliseconds=1500),
        releases={Color.BLUE: release, Color.GREEN: ""},
        load_balancer="app/web/3",
        target_groups={Color.BLUE: "targetgroup/blue/1", Color.GREEN: "targetgroup/green/2"},
        alarms=["arn:blue", "arn:green", "arn:load-balancer"],
    )
    body = json.loads(render(content))
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


def widget(kind: str, x: int, y: int, width: int, height: int, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "x": x, "y": y, "width": width, "height": height, "properties": properties}


COLUMN = [
    widget("text", 0, 3, 12, 3, {"markdown": "# blue\nRelease **v1**"}),
    widget(
        "metric",
        *(0, 6, 12, 6),
        graph("blue: requests a minute", series(ELB, "RequestCount", BLUE, "Sum", "requests", LINE)),
    ),
    widget(
        "metric",
        *(0, 12, 12, 6),
        graph(
            "blue: failed requests a minute",
            series(ELB, "HTTPCode_Target_5XX_Count", BLUE, "Sum", "5xx", RED),
            series(ELB, "TargetConnectionErrorCount", BLUE, "Sum", "no connection", "#9467bd"),
        ),
    ),
    widget(
        "metric",
        *(0, 18, 12, 6),
        graph(
            "blue: p99 latency, seconds",
            series(ELB, "TargetResponseTime", BLUE, "p99", "p99", LINE),
            annotations={"horizontal": [{"label": "alarm", "value": 1.5, "color": RED}]},
        ),
    ),
    widget(
        "metric",
        *(0, 24, 12, 6),
        graph(
            "blue: instances",
            series(ELB, "HealthyHostCount", BLUE, "Maximum", "healthy", LINE),
            series(ELB, "UnHealthyHostCount", BLUE, "Maximum", "unhealthy", RED),
        ),
    ),
    widget(
        "metric",
        *(0, 30, 12, 6),
        graph(
            "blue: boots",
            series("bluegreen", "BootSeconds", INSTANCES, "Maximum", "slowest, seconds", LINE),
            series("bluegreen", "BootFailures", INSTANCES, "Sum", "failed", RED),
        ),
    ),
]


def test_the_alarms_are_on_top() -> None:
    properties = {"title": "dev: alarms", "alarms": ["arn:blue", "arn:green", "arn:load-balancer"]}
    assert widgets()[0] == widget("alarm", 0, 0, 24, 3, properties)


def test_a_color_is_a_column_from_its_release_to_its_boots() -> None:
    assert widgets()[1:7] == COLUMN


def test_the_other_color_is_the_same_alongside_it() -> None:
    text = json.dumps(COLUMN).replace("targetgroup/blue/1", "targetgroup/green/2").replace(LINE, "#2ca02c")
    mirrored = json.loads(re.sub(r"\bblue\b", "green", text))
    off = {"markdown": "# green\nNo release: the color is off."}
    expected = [each | {"x": 12} for each in mirrored]
    assert widgets()[7:13] == [expected[0] | {"properties": off}, *expected[1:]]


def test_the_load_balancer_is_below_both() -> None:
    assert widgets()[13:] == [
        widget(
            "metric",
            *(0, 36, 24, 6),
            graph(
                "load balancer: a minute",
                series(ELB, "RequestCount", LOAD_BALANCER, "Sum", "requests", "#7f7f7f"),
                series(ELB, "HTTPCode_ELB_5XX_Count", LOAD_BALANCER, "Sum", "its own 5xx", RED),
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


RELEASES = {Color.BLUE: "v1", Color.GREEN: ""}
GROUPS = {Color.BLUE: "targetgroup/blue/1", Color.GREEN: "targetgroup/green/2"}


def test_the_dashboard_shows_what_the_stack_has() -> None:
    declared = declare(
        lambda: Dashboard(
            "dashboard",
            CONTEXT,
            AlarmSettings(),
            {color: ColorSettings(version=release) for color, release in RELEASES.items()},
            load_balancer="app/web/3",
            target_groups=GROUPS,
            alarms=["arn:blue", "arn:green", "arn:load-balancer"],
        )
    )
    assert declared.table() == {("cloudwatch.Dashboard", "dashboard")}
    content = DashboardContent(
        stack="dev",
        region="eu-central-1",
        settings=AlarmSettings(),
        releases=RELEASES,
        load_balancer="app/web/3",
        target_groups=GROUPS,
        alarms=["arn:blue", "arn:green", "arn:load-balancer"],
    )
    assert declared.one("cloudwatch.Dashboard").inputs == {
        "dashboardName": "bluegreen-dev-eu-central-1",
        "dashboardBody": render(content),
    }

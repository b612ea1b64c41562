from __future__ import annotations

from components.dashboard import Dashboard
from components.dashboard_body import Shown, render
from config.alerts import AlarmSettings
from config.colors import ColorSettings
from fleet.colors import Color
from tests.declared import CONTEXT, declare

RELEASES = {Color.BLUE: "v1", Color.GREEN: ""}
GROUPS = {Color.BLUE: "targetgroup/blue/1", Color.GREEN: "targetgroup/green/2"}


def test_the_dashboard_shows_what_the_stack_has() -> None:
    declared = declare(
        lambda: Dashboard(
            "dashboard",
            CONTEXT,
            AlarmSettings(),
            {color: ColorSettings(version=release) for color, release in RELEASES.items()},
            balancer="app/web/3",
            target_groups=GROUPS,
            alarms=["arn:blue", "arn:green", "arn:balancer"],
        )
    )
    assert declared.table() == {("cloudwatch.Dashboard", "dashboard")}
    shown = Shown(
        stack="dev",
        region="eu-central-1",
        settings=AlarmSettings(),
        releases=RELEASES,
        balancer="app/web/3",
        target_groups=GROUPS,
        alarms=["arn:blue", "arn:green", "arn:balancer"],
    )
    assert declared.one("cloudwatch.Dashboard").inputs == {
        "dashboardName": "bluegreen-dev-eu-central-1",
        "dashboardBody": render(shown),
    }

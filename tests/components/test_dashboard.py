from __future__ import annotations

from checks.colors import Color
from components.alarm_options import AlarmOptions
from components.dashboard import Dashboard, DashboardArgs
from components.dashboard_body import Shown, render
from tests.declared import declare

RELEASES = {Color.BLUE: "v1", Color.GREEN: ""}
GROUPS = {Color.BLUE: "targetgroup/blue/1", Color.GREEN: "targetgroup/green/2"}


def test_the_dashboard_shows_what_the_stack_has() -> None:
    args = DashboardArgs(
        stack="dev",
        region="eu-central-1",
        options=AlarmOptions(),
        releases=RELEASES,
        balancer="app/web/3",
        target_groups=GROUPS,
        alarms=["arn:blue", "arn:green", "arn:balancer"],
    )
    declared = declare(lambda: Dashboard("dashboard", args))
    assert declared.table() == {("cloudwatch.Dashboard", "dashboard")}
    shown = Shown(
        stack="dev",
        region="eu-central-1",
        options=AlarmOptions(),
        releases=RELEASES,
        balancer="app/web/3",
        target_groups=GROUPS,
        alarms=["arn:blue", "arn:green", "arn:balancer"],
    )
    assert declared.one("cloudwatch.Dashboard").inputs == {
        "dashboardName": "bluegreen-dev-eu-central-1",
        "dashboardBody": render(shown),
    }

from __future__ import annotations

import pulumi

from ami.boot.user_data import LogGroups
from components.logs import Logs
from config.settings import LogSettings
from tests.declared import CONTEXT, declare


def test_each_kind_of_lines_has_a_group_that_keeps_them_for_a_while() -> None:
    found: list[LogGroups] = []

    def program() -> None:
        made = Logs("logs", CONTEXT, LogSettings(retention_days=7))
        pulumi.export("names", made.groups.apply(found.append))

    declared = declare(program)
    assert declared.table() == {("cloudwatch.LogGroup", f"logs-{of}") for of in ("app", "boot", "system")}
    for of in ("app", "boot", "system"):
        assert declared.one("cloudwatch.LogGroup", f"logs-{of}").inputs == {
            "name": f"/bluegreen/dev/{of}",
            "retentionInDays": 7,
            "tags": {"Stack": "dev"},
        }
    assert found == [LogGroups(app="/bluegreen/dev/app", boot="/bluegreen/dev/boot", system="/bluegreen/dev/system")]

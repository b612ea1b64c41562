from __future__ import annotations

import pytest

from rehearsal.cloud.cloudwatch.composite_rules import RuleError, holds, names

STATES = {"errors": "ALARM", "late": "OK", "dev-blue-boots (new)": "INSUFFICIENT_DATA"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('ALARM("errors")', True),
        ("ALARM(late)", False),
        ("ALARM('errors') AND OK( late )", True),
        ('ALARM("late") OR ALARM("errors")', True),
        ("NOT ALARM(errors) OR OK(late) AND FALSE", False),
        ("(NOT ALARM(late) OR OK(errors)) AND TRUE", True),
        ('INSUFFICIENT_DATA("dev-blue-boots (new)")', True),
        ("ALARM(nobody) OR OK(nobody)", False),
        ("NOT ALARM(nobody)", True),
    ],
)
def test_a_rule_holds_by_the_states_of_its_alarms(rule: str, expected: bool) -> None:
    assert holds(rule, STATES.get) is expected


def test_the_alarms_of_a_rule() -> None:
    assert names('ALARM("errors") OR (NOT OK(late) AND TRUE)') == ["errors", "late"]


@pytest.mark.parametrize(
    "rule", ["", "errors", "ALARM(errors) ALARM(late)", "ALARM(errors) AND", "ALARM()", "(TRUE", "TRUE XOR FALSE", "()"]
)
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(RuleError, match="alarm rule"):
        holds(rule, STATES.get)

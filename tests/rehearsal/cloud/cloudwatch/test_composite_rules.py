from __future__ import annotations

import pytest

from rehearsal.cloud.cloudwatch.composite_rules import RuleError, alarm_names, is_alarm

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
        ("ALARM(missing) OR OK(missing)", False),
        ("NOT ALARM(missing)", True),
    ],
)
def test_a_rule_is_evaluated_by_the_states_of_its_alarms(rule: str, expected: bool) -> None:
    assert is_alarm(rule, STATES.get) is expected


def test_the_alarms_of_a_rule() -> None:
    assert alarm_names('ALARM("errors") OR (NOT OK(late) AND TRUE)') == ["errors", "late"]


@pytest.mark.parametrize(
    "rule", ["", "errors", "ALARM(errors) ALARM(late)", "ALARM(errors) AND", "ALARM()", "(TRUE", "TRUE XOR FALSE", "()"]
)
def test_an_invalid_rule_is_refused(rule: str) -> None:
    with pytest.raises(RuleError, match="alarm rule"):
        is_alarm(rule, STATES.get)

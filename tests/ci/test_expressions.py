from __future__ import annotations

from typing import Any

import pytest

from tests.ci.expressions import ExpressionError, condition, contains, filled

CONTEXTS: dict[str, Any] = {
    "github": {"ref": "refs/heads/main", "event": {"labels": [{"name": "a"}, {"name": "Allow-Replace"}]}},
    "vars": {"REGION": "eu-central-1"},
    "inputs": {"stack": "prod", "flag": False},
}


def functions(*, good: bool = True) -> dict[str, Any]:
    return {"contains": contains, "success": lambda: good, "cancelled": lambda: False, "always": lambda: True}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${{ inputs.stack == 'prod' && 'production' || inputs.stack }}", "production"),
        ("${{ inputs.flag && 'yes' || 'no' }}", "no"),
        ("${{ inputs.flag }}", False),
        ("${{ inputs.nobody == true }}", False),
        ("${{ vars.NOBODY || 'examples/hello' }}", "examples/hello"),
        ("stack-${{ inputs.stack }}-${{ inputs.flag }}", "stack-prod-false"),
        ("${{ contains(github.event.labels.*.name, 'allow-replace') }}", True),
        ("${{ !(vars.REGION != '') }}", False),
        ("${{ 'it''s' }}", "it's"),
        ("${{ null == '' }}", True),
        ("plain", "plain"),
        (7, 7),
    ],
)
def test_values(text: Any, value: Any) -> None:
    assert filled(text, CONTEXTS, functions()) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("${{ github.refs }}", r"github has no 'refs'"),
        ("${{ secrets.KEY }}", "context 'secrets' is not known here"),
        ("${{ toJSON(github) }}", "function 'toJSON' is not known here"),
        ("${{ github.ref ? 1 }}", "is not known here"),
        ("${{ (github.ref }}", r"'\)' is missing"),
        ("${{ github.ref github.ref }}", "more than one expression"),
        ("${{ github. }}", "it ends too early"),
    ],
)
def test_what_is_not_known_fails(text: str, reason: str) -> None:
    with pytest.raises(ExpressionError, match=reason):
        filled(text, CONTEXTS, functions())


@pytest.mark.parametrize(
    ("text", "good", "runs"),
    [
        ("github.ref == 'refs/heads/main'", True, True),
        ("github.ref == 'refs/heads/main'", False, False),
        ("${{ !cancelled() }}", False, True),
        ("${{ !cancelled() && inputs.flag }}", True, False),
        ("always()", False, True),
    ],
)
def test_conditions_ask_for_success_unless_they_say_otherwise(text: str, good: bool, runs: bool) -> None:
    assert condition(text, CONTEXTS, functions(good=good)) is runs

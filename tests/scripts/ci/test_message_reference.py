"""The messages' documents say what the definition says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import ValidationError

from ami.boot.messages import TYPES, Kind, Message, content
from scripts.ci.message_reference import EXAMPLES, PAGE, SCHEMA, WHEN, page, schema_text
from tests.messages import require_valid


def test_the_page_and_the_schema_are_what_is_generated() -> None:
    assert PAGE.read_text() == page(PAGE.read_text()), "run `.venv/bin/python -m scripts.ci.message_reference`"
    assert SCHEMA.read_text() == schema_text(), "run `.venv/bin/python -m scripts.ci.message_reference`"


def test_each_kind_is_told_of_and_each_type_has_an_example() -> None:
    assert set(WHEN) == set(TYPES) == set(Kind)
    assert {type(example) for example in EXAMPLES} == set(TYPES.values())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.kind)
def test_an_example_is_by_the_schema(example: Message) -> None:
    require_valid(json.loads(json.dumps(content(example))))
    require_valid(json.loads(json.dumps(content(replace(example, left_out=("lines",))))))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "weather"},
        {"kind": "cutover"},
        {"time": "yesterday"},
        {"step": 7},
        {"lines": None},
        {"subject": "x" * 101},
    ],
)
def test_the_schema_refuses_what_is_no_message(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        require_valid({**content(EXAMPLES[0]), **change})


def test_the_schema_refuses_a_message_that_lacks_a_field() -> None:
    whole = content(EXAMPLES[0])
    for name in whole:
        with pytest.raises((ValidationError, KeyError)):
            require_valid({key: value for key, value in whole.items() if key != name})

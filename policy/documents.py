"""What AWS's policy documents allow, read out of their JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

# With one of these a statement for everybody is one for somebody: the keys are what S3 itself counts as not public, and
# KMS's own for the account that calls.
OWN_SOURCES = frozenset(
    {
        "aws:sourceaccount",
        "aws:sourceowner",
        "aws:sourcearn",
        "aws:sourceorgid",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:principalaccount",
        "aws:principalorgid",
        "aws:principalarn",
        "kms:calleraccount",
    }
)
POSITIVE = ("stringequals", "stringlike", "arnequals", "arnlike")


def statements(text: Any) -> Iterator[Mapping[str, Any]]:
    """The allowing statements of a document, which is JSON or read already; of anything else, such as UNKNOWN, none."""
    document = _read(text)
    for statement in listed(document.get("Statement") if isinstance(document, Mapping) else None):
        if isinstance(statement, Mapping) and statement.get("Effect") == "Allow":
            yield statement


def _read(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def listed(value: Any) -> list[Any]:
    """AWS takes one value or a list of them."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def open_to_everybody(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    named = listed(principal.get("AWS")) if isinstance(principal, Mapping) else listed(principal)
    return ("*" in named or "NotPrincipal" in statement) and not _is_held_to_own_sources(statement)


def _is_held_to_own_sources(statement: Mapping[str, Any]) -> bool:
    return bool(condition_keys(statement) & OWN_SOURCES)


def condition_keys(statement: Mapping[str, Any]) -> set[str]:
    """Keys, in small letters, that a statement's conditions hold to given values; `*` among the values is none."""
    return {
        key.lower()
        for operator, asked in (statement.get("Condition") or {}).items()
        if operator.lower() in POSITIVE
        for key, values in asked.items()
        if "*" not in listed(values)
    }

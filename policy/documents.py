"""Statements of IAM and resource policies, parsed from JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

# Condition keys that restrict a statement for everybody to some principals: those that S3 counts as not public, and
# KMS's key for the calling account.
SOURCE_KEYS = frozenset(
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
POSITIVE_OPERATORS = ("stringequals", "stringlike", "arnequals", "arnlike")


def statements(text: Any) -> Iterator[Mapping[str, Any]]:
    """The Allow statements of a document, JSON or parsed; none for anything else, such as UNKNOWN."""
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
    """The value as a list: AWS accepts one value or a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def is_public(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    principals = listed(principal.get("AWS")) if isinstance(principal, Mapping) else listed(principal)
    return ("*" in principals or "NotPrincipal" in statement) and not _is_restricted_to_sources(statement)


def _is_restricted_to_sources(statement: Mapping[str, Any]) -> bool:
    return bool(condition_keys(statement) & SOURCE_KEYS)


def condition_keys(statement: Mapping[str, Any]) -> set[str]:
    """Keys, in lower case, that a statement's conditions restrict to values; not those with a value of `*`."""
    return {
        key.lower()
        for operator, condition in (statement.get("Condition") or {}).items()
        if operator.lower() in POSITIVE_OPERATORS
        for key, values in condition.items()
        if "*" not in listed(values)
    }

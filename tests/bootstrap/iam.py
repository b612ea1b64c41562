"""What IAM says to an action, as far as this program's policies go: actions, resources, and conditions on texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]
Known = Mapping[str, str]


def allows(document: Document, action: str, resource: str, **known: str) -> bool:
    """Whether a policy by itself lets an action through. A condition's key has __ for its colon."""
    told = {key.replace("__", ":"): value for key, value in known.items()}
    effects = {each["Effect"] for each in document["Statement"] if _fits(each, action, resource, told)}
    return effects == {"Allow"}


def _fits(statement: Mapping[str, Any], action: str, resource: str, known: Known) -> bool:
    return (
        any(_like(pattern, action) for pattern in _listed(statement["Action"]))
        and any(_like(pattern, resource) for pattern in _listed(statement["Resource"]))
        and all(_holds(operator, asked, known) for operator, asked in statement.get("Condition", {}).items())
    )


def _holds(operator: str, asked: Mapping[str, Any], known: Known) -> bool:
    compare = {"StringEquals": lambda pattern, value: pattern == value, "StringLike": _like}[operator]
    return all(
        key in known and any(compare(pattern, known[key]) for pattern in _listed(patterns))
        for key, patterns in asked.items()
    )


def _like(pattern: str, value: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), value) is not None


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value

"""Drift detection: AWS's actual values normalized to the declared inputs, so that only real differences remain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .values import Secret, plain

# Objects of which every key is compared. Of others only the declared keys are: the rest are AWS's defaults.
_MAPS = frozenset({"tags", "dimensions", "inputPaths"})


def normalize(declared: Any, actual: Any, key: str = "") -> Any:
    """The declared value where the actual one is equivalent; else the actual one, in the declared type, or None."""
    if isinstance(declared, Secret):
        value = normalize(declared.value, actual, key)
        return declared if value == declared.value else Secret(value)
    if actual is None:
        return declared if _is_empty(declared) else None
    if isinstance(declared, Mapping) and isinstance(actual, Mapping):
        return _object(declared, actual, exact=key in _MAPS)
    if isinstance(declared, list) and isinstance(actual, (list, tuple)):
        return _set(declared, list(actual))
    return declared if _is_equivalent(declared, actual) else _convert(declared, actual)


def _is_empty(value: Any) -> bool:
    """AWS's responses don't distinguish absent from empty."""
    if isinstance(value, Mapping):
        return all(_is_empty(item) for item in value.values())
    return value in (None, False, "", 0) or value == []


def _object(declared: Mapping[str, Any], actual: Mapping[str, Any], *, exact: bool) -> dict[str, Any]:
    keys = [*declared, *(key for key in actual if exact and key not in declared)]
    values = {key: normalize(declared[key], actual.get(key), key) if key in declared else actual[key] for key in keys}
    return {key: value for key, value in values.items() if value is not None}


def _set(declared: list[Any], actual: list[Any]) -> list[Any]:
    """AWS returns most lists in any order: each declared item is compared with the most similar actual one."""
    rest = list(actual)
    values: list[Any] = [None] * len(declared)
    for index, item in enumerate(declared):
        match = next((candidate for candidate in rest if plain(normalize(item, candidate)) == plain(item)), None)
        if match is not None:
            rest.remove(match)
            values[index] = item
    for index, item in enumerate(declared):
        if values[index] is None and rest:
            nearest = max(rest, key=lambda candidate: _similarity(item, candidate))
            rest.remove(nearest)
            values[index] = normalize(item, nearest)
    return [value for value in values if value is not None] + rest


def _similarity(declared: Any, actual: Any) -> int:
    if isinstance(declared, Mapping) and isinstance(actual, Mapping):
        return sum(_is_equivalent(value, actual.get(key)) for key, value in declared.items())
    return 0


def _is_equivalent(declared: Any, actual: Any) -> bool:
    if isinstance(declared, bool) or isinstance(actual, bool):
        return _text(declared) == _text(actual)
    if declared == actual or str(declared) == str(actual):
        return True
    if isinstance(declared, str) and isinstance(actual, str):
        return _document(declared) is not None and _document(declared) == _document(actual)
    return _number(declared) is not None and _number(declared) == _number(actual)  # 60 and "60.0"


def _text(value: Any) -> str:
    return str(value).lower()


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _document(text: str) -> Any:
    """A JSON document in canonical form; None for other text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return _canonical(json.loads(text))
    except ValueError:
        return None


def _canonical(value: Any) -> Any:
    """In policies a list of one item equals the item, and lists of texts are unordered."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    if len(value) == 1:
        return _canonical(value[0])
    is_text = all(isinstance(item, str) for item in value)
    return sorted(value) if is_text else [_canonical(item) for item in value]


def _convert(declared: Any, actual: Any) -> Any:
    """The actual value in the declared value's type: AWS returns true where the provider has "true", and vice versa."""
    if isinstance(declared, bool) and actual in ("true", "false"):
        return actual == "true"
    if isinstance(declared, str) and not isinstance(actual, str) and not isinstance(actual, (Mapping, list)):
        return _text(actual) if isinstance(actual, bool) else str(actual)
    if isinstance(declared, (int, float)) and not isinstance(declared, bool) and isinstance(actual, str):
        number = _number(actual)
        return actual if number is None else int(number) if number.is_integer() else number
    return actual

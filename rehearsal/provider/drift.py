"""What the cloud has in place of an input, told as the program would tell it: only a real difference is one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .values import Secret, plain

# Objects whose every key counts. Of any other one only the keys that the program gave do: the rest are AWS's defaults.
_MAPS = frozenset({"tags", "dimensions", "inputPaths"})


def settled(given: Any, found: Any, key: str = "") -> Any:
    """The given value where the found one means the same, in its own shape; else what was found, None for nothing."""
    if isinstance(given, Secret):
        value = settled(given.value, found, key)
        return given if value == given.value else Secret(value)
    if found is None:
        return given if _nothing(given) else None
    if isinstance(given, Mapping) and isinstance(found, Mapping):
        return _object(given, found, exact=key in _MAPS)
    if isinstance(given, list) and isinstance(found, (list, tuple)):
        return _set(given, list(found))
    return given if _same(given, found) else _like(given, found)


def _nothing(value: Any) -> bool:
    """Absent and empty are one in AWS's answers."""
    if isinstance(value, Mapping):
        return all(_nothing(item) for item in value.values())
    return value in (None, False, "", 0) or value == []


def _object(given: Mapping[str, Any], found: Mapping[str, Any], *, exact: bool) -> dict[str, Any]:
    keys = [*given, *(key for key in found if exact and key not in given)]
    values = {key: settled(given[key], found.get(key), key) if key in given else found[key] for key in keys}
    return {key: value for key, value in values.items() if value is not None}


def _set(given: list[Any], found: list[Any]) -> list[Any]:
    """AWS answers most lists in an order of its own: each given item takes the found one that it is most like."""
    rest = list(found)
    values: list[Any] = [None] * len(given)
    for index, each in enumerate(given):
        twin = next((one for one in rest if plain(settled(each, one)) == plain(each)), None)
        if twin is not None:
            rest.remove(twin)
            values[index] = each
    for index, each in enumerate(given):
        if values[index] is None and rest:
            nearest = max(rest, key=lambda one: _likeness(each, one))
            rest.remove(nearest)
            values[index] = settled(each, nearest)
    return [value for value in values if value is not None] + rest


def _likeness(given: Any, found: Any) -> int:
    if isinstance(given, Mapping) and isinstance(found, Mapping):
        return sum(_same(value, found.get(key)) for key, value in given.items())
    return 0


def _same(given: Any, found: Any) -> bool:
    if isinstance(given, bool) or isinstance(found, bool):
        return _text(given) == _text(found)
    if given == found or str(given) == str(found):
        return True
    if isinstance(given, str) and isinstance(found, str):
        return _document(given) is not None and _document(given) == _document(found)
    return _number(given) is not None and _number(given) == _number(found)  # 60 and "60.0"


def _text(value: Any) -> str:
    return str(value).lower()


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _document(text: str) -> Any:
    """A JSON document in a form in which two that mean the same are equal."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return _folded(json.loads(text))
    except ValueError:
        return None


def _folded(value: Any) -> Any:
    """In policies a list of one is that one, and the order of a list of texts means nothing."""
    if isinstance(value, dict):
        return {key: _folded(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    if len(value) == 1:
        return _folded(value[0])
    texts = all(isinstance(item, str) for item in value)
    return sorted(value) if texts else [_folded(item) for item in value]


def _like(given: Any, found: Any) -> Any:
    """In the given value's type: AWS answers true where the provider types "true", and the other way round."""
    if isinstance(given, bool) and found in ("true", "false"):
        return found == "true"
    if isinstance(given, str) and not isinstance(found, str) and not isinstance(found, (Mapping, list)):
        return _text(found) if isinstance(found, bool) else str(found)
    if isinstance(given, (int, float)) and not isinstance(given, bool) and isinstance(found, str):
        number = _number(found)
        return found if number is None else int(number) if number.is_integer() else number
    return found

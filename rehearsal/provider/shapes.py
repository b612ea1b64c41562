"""Supported resource inputs and their types, from `shapes.json`, and validation of a program's inputs.

A type in the file is a scalar's name, {"list": type}, {"map": type}, or an object: its `properties`, the `required`
ones, and the SDK's other names as `unsupported`. `python -m tests.rehearsal.provider.shape_generator` generates the
file from what the programs use.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .difference import Path as PropertyPath
from .difference import format_path
from .values import Props, Secret, UnknownValue

FILE: Final = Path(__file__).with_name("shapes.json")
GENERATE: Final = "python -m tests.rehearsal.provider.shape_generator"

Type = str | Mapping[str, Any]

_INTEGER = re.compile(r"[+-]?\d+")
_ARTICLES = {"list": "a list", "map": "a map", "object": "an object"}
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class Problem:
    """One invalid input; `path` as Pulumi writes it: `actions[0].forward.targetGroups`."""

    path: str
    reason: str


def problems(token: str, inputs: Props) -> list[Problem]:
    """All problems with a resource's inputs. A value that is unknown in a preview fits any type."""
    return list(_problems(_shapes()[token], inputs, ()))


def typed(token: str, inputs: Props) -> Props:
    """Valid inputs with each scalar in its property's type: programs may pass "80" for 80."""
    return dict(_typed(_shapes()[token], inputs))


def properties(token: str) -> frozenset[str]:
    """Names of the supported inputs."""
    return frozenset(_shapes()[token]["properties"])


@functools.cache
def _shapes() -> Mapping[str, Any]:
    return dict(json.loads(FILE.read_text()))


def _problems(type_: Type, value: Any, path: PropertyPath) -> Iterator[Problem]:
    value = _spread(value)
    content = value.value if isinstance(value, Secret) else value
    if content is None or isinstance(content, UnknownValue):
        return
    if isinstance(type_, str):
        if isinstance(content, (list, Mapping)) or _SCALARS[type_](content) is None:
            yield _wrong(path, type_, value)
    elif "list" in type_:
        yield from _list_problems(type_["list"], value, path)
    elif not isinstance(value, Mapping):
        yield _wrong(path, "map" if "map" in type_ else "object", value)
    elif "map" in type_:
        for key, item in value.items():
            yield from _problems(type_["map"], item, (*path, key))
    else:
        yield from _object_problems(type_, value, path)


def _spread(value: Any) -> Any:
    """A secret list or object as one of secrets, so that no reason quotes its content."""
    if not isinstance(value, Secret):
        return value
    if isinstance(value.value, Mapping):
        return {key: Secret(item) for key, item in value.value.items()}
    return [Secret(item) for item in value.value] if isinstance(value.value, list) else value


def _list_problems(items: Type, value: Any, path: PropertyPath) -> Iterator[Problem]:
    if not isinstance(value, list):
        yield _wrong(path, "list", value)
        return
    for index, item in enumerate(value):
        yield from _problems(items, item, (*path, index))


def _object_problems(type_: Mapping[str, Any], value: Mapping[str, Any], path: PropertyPath) -> Iterator[Problem]:
    for name in type_["required"]:
        if value.get(name) is None:
            yield Problem(format_path((*path, name)), f"missing required property {name!r}")
    for name, item in value.items():
        if name in type_["properties"]:
            yield from _problems(type_["properties"][name], item, (*path, name))
        elif (item.value if isinstance(item, Secret) else item) is not None:
            yield Problem(format_path((*path, name)), _unknown(type_, name))


def _unknown(type_: Mapping[str, Any], name: str) -> str:
    known, unsupported = type_["properties"], type_["unsupported"]
    if name in unsupported:
        support = f"support it in the type's handler, and run `{GENERATE}`"
        return f"property {name!r} is not supported by the rehearsal's provider: {support}"
    near = difflib.get_close_matches(name, [*known, *unsupported], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown property {name!r}; known here are {', '.join(known) or 'none'}{hint}"


def _wrong(path: PropertyPath, expected: str, value: Any) -> Problem:
    got = "a list" if isinstance(value, list) else "an object" if isinstance(value, Mapping) else repr(value)
    return Problem(format_path(path), f"expected {_article(expected)}, got {got}")


def _article(type_: str) -> str:
    return _ARTICLES.get(type_) or f"{'an' if type_ == 'integer' else 'a'} {type_}"


def _typed(type_: Type, value: Any) -> Any:
    if isinstance(value, Secret):
        return Secret(_typed(type_, value.value))
    if value is None or isinstance(value, UnknownValue):
        return value
    if isinstance(type_, str):
        return _SCALARS[type_](value)
    if "list" in type_:
        return [_typed(type_["list"], item) for item in value]
    if "map" in type_:
        return {key: _typed(type_["map"], item) for key, item in value.items()}
    return {key: _typed(type_["properties"][key], item) for key, item in value.items() if item is not None}


def _string(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _integer(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else None


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool):
        return None
    if not isinstance(value, str):
        return value if isinstance(value, (int, float)) else None
    try:
        return int(value) if _INTEGER.fullmatch(value) else float(value)
    except ValueError:
        return None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else _BOOLEANS.get(value) if isinstance(value, str) else None


# Conversions to scalars as Terraform's; None for a value that can't be converted.
_SCALARS: Mapping[str, Callable[[Any], Any]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
}

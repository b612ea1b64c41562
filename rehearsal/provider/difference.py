"""Differences between two sets of inputs, by property path."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .values import UnknownValue

Path = tuple[str | int, ...]
_TOKEN = re.compile(r'\["([^"]+)"\]|\[(\d+|\*)\]|([^.\[\]]+)')
_PLAIN = re.compile(r"[^.\[\]\"]+")
_ABSENT = object()


def parse_path(path: str) -> Path:
    """Parse a property path of Pulumi: a.b, a[0], a["b.c"], with * for any key or index."""
    return tuple(
        int(index) if index.isdigit() else quoted or index or name for quoted, index, name in _TOKEN.findall(path)
    )


def format_path(path: Path) -> str:
    return "".join(_format_part(part) for part in path).removeprefix(".")


def _format_part(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _PLAIN.fullmatch(part) else f'["{part}"]'


def has(value: Any, path: Path) -> bool:
    for part in path:
        value = _get(value, part)
    return value is not _ABSENT and value is not None


def changes(old: Any, new: Any, at: Path = ()) -> list[Path]:
    """Paths of the leaves that differ. A value that is unknown in a preview counts as different."""
    if isinstance(new, UnknownValue) or isinstance(old, UnknownValue):
        return [at]
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return [path for key in keys for path in changes(old.get(key, _ABSENT), new.get(key, _ABSENT), (*at, key))]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [path for index, (before, after) in pairs for path in changes(before, after, (*at, index))]
    return [] if old == new else [at]


def matches(pattern: Path, path: Path) -> bool:
    """Whether a changed path is below the pattern, or above it (an object was added or removed)."""
    return all(expected in ("*", part) for expected, part in zip(pattern, path, strict=False))


def matching(paths: Iterable[Path], patterns: Iterable[str]) -> list[Path]:
    parsed = [parse_path(pattern) for pattern in patterns]
    return [path for path in paths if any(matches(pattern, path) for pattern in parsed)]


def _get(value: Any, key: Any) -> Any:
    if isinstance(value, dict):
        return value.get(key, _ABSENT)
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        return value[key]
    return _ABSENT

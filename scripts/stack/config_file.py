"""Config file of a stack, Pulumi.<stack>.yaml: read and edited as text where Pulumi's CLI can't be used."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

INDENT = "  "  # as the CLI writes it
_CONFIG = re.compile(r"config:[ \t]*(#.*)?[\r\n]*")


class StackFileError(Exception):
    """The file can't be read or edited; the message says why."""


def read_config(path: Path) -> dict[str, Any]:
    """The values under `config`, by full key. Raises StackFileError."""
    return _config(_parsed(_text(path)))


def parse_config(text: str) -> dict[str, Any]:
    """The values under `config` in such a file's text, by full key. Raises StackFileError."""
    return _config(_parsed(text))


def write_config(path: Path, values: Mapping[str, str]) -> list[str]:
    """Set plain values and leave every other byte of the file as it is; returns the keys that changed.

    The file is replaced atomically. Raises StackFileError.
    """
    before = _text(path)
    old = _config(_parsed(before))
    changed = {key: value for key, value in values.items() if key not in old or str(old[key]) != value}
    if changed:
        after = before
        for key, value in changed.items():
            after = _edited(after, key, value)
        _require_only(changed, before, after)
        _replace(path.resolve(), after)  # a symbolic link stays one
    return list(changed)


def saved(path: Path) -> Callable[[], None]:
    """Save the file; returns a function that restores it exactly. Both raise StackFileError."""
    before = _text(path) if path.exists() else None

    def restore() -> None:
        if before is None:
            path.unlink(missing_ok=True)
        elif not path.exists():
            raise StackFileError(f"{path.name} is gone")
        elif _text(path) != before:
            _replace(path.resolve(), before)

    return restore


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise StackFileError(getattr(error, "strerror", None) or str(error)) from error


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise StackFileError(f"it is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict | None):
        raise StackFileError("it holds no keys")
    return found or {}


def _config(parsed: Mapping[str, Any]) -> dict[str, Any]:
    found = parsed.get("config")
    return found if isinstance(found, dict) else {}


def _edited(text: str, key: str, value: str) -> str:
    lines = text.splitlines(keepends=True)
    end = "\r\n" if any(line.endswith("\r\n") for line in lines) else "\n"
    start = next((number for number, line in enumerate(lines) if _CONFIG.fullmatch(line)), None)
    if start is None:
        unfinished = end if text and not text.endswith(("\n", "\r")) else ""
        return f"{text}{unfinished}config:{end}{INDENT}{key}: {value}{end}"
    entry = re.compile(
        rf"""(?P<before>[ ]+(?P<quote>["']?){re.escape(key)}(?P=quote)[ ]*:[ ]+)"""
        r"""(?P<value>"[^"]*"|'[^']*'|[^\s#"']\S*)(?P<after>[ \t]*([ \t]#.*)?[\r\n]*)"""
    )
    for number in range(start + 1, len(lines)):
        if re.match(r"[^\s#]", lines[number]):
            break  # the next key of the file itself
        if found := entry.fullmatch(lines[number]):
            lines[number] = f"{found['before']}{value}{found['after']}"
            return "".join(lines)
    if not lines[start].endswith(("\n", "\r")):
        lines[start] += end
    lines.insert(start + 1, f"{_indent(lines[start + 1 :])}{key}: {value}{end}")
    return "".join(lines)


def _indent(lines: list[str]) -> str:
    first = next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
    found = first[: len(first) - len(first.lstrip(" "))]
    return found or INDENT


def _require_only(changed: Mapping[str, str], before: str, after: str) -> None:
    """Raise StackFileError unless the edit by lines, which knows not all of YAML, changed these keys only."""
    old, new = _parsed(before), _parsed(after)
    expected = {**old, "config": {**_config(old), **changed}}
    actual = {**new, "config": {key: str(value) if key in changed else value for key, value in _config(new).items()}}
    if actual != expected:
        raise StackFileError(f"{', '.join(changed)} can't be set in it by a change of one line")


def _replace(path: Path, text: str) -> None:
    if not os.access(path, os.W_OK):
        raise StackFileError("it is write-protected")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            before = path.stat()
            temporary.chmod(before.st_mode)
            if os.geteuid() == 0:
                os.chown(temporary, before.st_uid, before.st_gid)  # with sudo the file keeps its owner
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StackFileError(error.strerror or str(error)) from error

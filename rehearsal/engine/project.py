"""A project's declared config and a stack's own values, read and written the way `pulumi config` does."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pulumi.automation import ConfigValue

from .state import write_private

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PATH = re.compile(r'\["([^"]+)"\]|\[(\d+)\]|([^.\[\]]+)')


class ConfigError(Exception):
    """A config value that the project's declarations don't allow."""


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What Pulumi.yaml says of one key; an undeclared type takes anything."""

    type: str = ""
    default: Any = None
    has_default: bool = False


@dataclass(frozen=True, kw_only=True)
class Project:
    """Pulumi.yaml as far as an engine reads it."""

    root: Path
    name: str
    main: Path
    declarations: Mapping[str, Declaration]

    @classmethod
    def load(cls, root: Path) -> Project:
        data = yaml.load((root / "Pulumi.yaml").read_text(), Loader=_LOADER)  # noqa: S506 - the C SafeLoader
        name = str(data["name"])
        declared = {full_key(name, key): _declaration(value) for key, value in (data.get("config") or {}).items()}
        main = root / str(data.get("main", "."))
        return cls(root=root, name=name, main=main / "__main__.py" if main.is_dir() else main, declarations=declared)


def _declaration(value: Any) -> Declaration:
    if not isinstance(value, dict):
        return Declaration(default=value, has_default=True)
    given = "default" if "default" in value else "value"
    return Declaration(type=str(value.get("type", "")), default=value.get(given), has_default=given in value)


def full_key(project: str, key: str) -> str:
    return key if ":" in key else f"{project}:{key}"


class StackConfig:
    """Pulumi.<stack>.yaml. A secret stands there in the clear: the folder is this machine's, and short-lived."""

    def __init__(self, project: Project, path: Path, stack: str) -> None:
        self.project = project
        self.path = path
        self.stack = stack

    def _file(self) -> dict[str, Any]:
        return yaml.load(self.path.read_text(), Loader=_LOADER) or {} if self.path.exists() else {}  # noqa: S506

    def own(self) -> dict[str, Any]:
        values = self._file().get("config") or {}
        return {full_key(self.project.name, key): value for key, value in values.items()}

    def resolved(self) -> dict[str, Any]:
        """The stack's values over the project's defaults, each checked against its declared type."""
        own = self.own()
        merged = {key: own.get(key, each.default) for key, each in self.project.declarations.items()}
        missing = [key for key, value in merged.items() if value is None and not self._defaulted(key)]
        if missing:
            raise ConfigError(f"Stack '{self.stack}' is missing configuration value '{_short(missing[0])}'")
        for key, value in own.items():
            merged[key] = value
            self._check(key, _opened(value))
        return {key: value for key, value in merged.items() if value is not None}

    def _defaulted(self, key: str) -> bool:
        return self.project.declarations[key].has_default

    def _check(self, key: str, value: Any) -> None:
        wanted = self.project.declarations.get(key, Declaration()).type
        if not _allowed(wanted, value):
            raise ConfigError(
                f"Stack '{self.stack}' with configuration key '{_short(key)}' must be of type '{wanted}', not {value!r}"
            )

    def values(self) -> dict[str, ConfigValue]:
        return {key: _config_value(value) for key, value in self.resolved().items()}

    def get(self, key: str, *, path: bool = False) -> ConfigValue:
        values = self.resolved()
        steps = self._steps(key, path=path)
        found: Any = values
        for step in steps:
            try:
                found = _opened(found)[step]
            except (KeyError, IndexError, TypeError):
                raise ConfigError(f"configuration key '{key}' not found for stack '{self.stack}'") from None
        return _config_value(found)

    def set(self, key: str, value: ConfigValue, *, path: bool = False) -> None:
        given: Any = _typed(value.value) if path else value.value
        item = {"secure": value.value} if value.secret else given
        steps = self._steps(key, path=path)
        own = self.own()
        _place(own, steps, item)
        self._check(str(steps[0]), _opened(own[str(steps[0])]))
        self._save(own)

    def remove(self, key: str, *, path: bool = False) -> None:
        steps = self._steps(key, path=path)
        own = self.own()
        holder: Any = own
        for step in steps[:-1]:
            holder = holder.get(step, {}) if isinstance(holder, dict) else {}
        if isinstance(holder, dict):
            holder.pop(steps[-1], None)
        self._save(own)

    def _steps(self, key: str, *, path: bool) -> list[str | int]:
        whole = full_key(self.project.name, key)
        return _steps(whole) if path else [whole]

    def _save(self, own: Mapping[str, Any]) -> None:
        data = self._file() | {"config": dict(own)}
        write_private(self.path, yaml.safe_dump(data, sort_keys=True))

    def create(self, template: Path) -> None:
        write_private(self.path, template.read_text() if template.exists() else "config: {}\n")

    def runtime(self) -> tuple[dict[str, str], list[str]]:
        """Values as the SDK takes them (strings; objects as JSON), and the keys of the secret ones."""
        values = self.values()
        return {key: each.value for key, each in values.items()}, [key for key, each in values.items() if each.secret]


def _short(key: str) -> str:
    return key.partition(":")[2]


def _opened(value: Any) -> Any:
    return value["secure"] if isinstance(value, dict) and set(value) == {"secure"} else value


def _secret_inside(value: Any) -> bool:
    if isinstance(value, dict):
        return set(value) == {"secure"} or any(_secret_inside(item) for item in value.values())
    return isinstance(value, list) and any(_secret_inside(item) for item in value)


def _deep_opened(value: Any) -> Any:
    opened = _opened(value)
    if isinstance(opened, dict):
        return {key: _deep_opened(item) for key, item in opened.items()}
    return [_deep_opened(item) for item in opened] if isinstance(opened, list) else opened


def _config_value(value: Any) -> ConfigValue:
    opened = _deep_opened(value)
    text = opened if isinstance(opened, str) else json.dumps(opened, separators=(",", ":"))
    return ConfigValue(value=text, secret=_secret_inside(value))


def _allowed(wanted: str, value: Any) -> bool:
    if wanted == "integer":
        return (isinstance(value, int) and not isinstance(value, bool)) or _integer_text(value)
    if wanted == "boolean":
        return isinstance(value, bool) or value in ("true", "false")
    kinds: dict[str, type | tuple[type, ...]] = {"array": list, "object": dict, "string": (str, int, float, bool)}
    return wanted not in kinds or isinstance(value, kinds[wanted])


def _integer_text(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"-?\d+", value) is not None


def _typed(text: str) -> Any:
    """A value given by path: true, false and whole numbers keep their type, as in `pulumi config set --path`."""
    if text in ("true", "false"):
        return text == "true"
    return int(text) if re.fullmatch(r"0|-?[1-9]\d*", text) else text


def _steps(path: str) -> list[str | int]:
    namespace, _, rest = path.partition(":")
    found = [int(index) if index else quoted or name for quoted, index, name in _PATH.findall(rest)]
    return [f"{namespace}:{found[0]}", *found[1:]]


def _place(holder: Any, steps: list[str | int], item: Any) -> None:
    for step, following in itertools.pairwise(steps):
        empty: Any = [] if isinstance(following, int) else {}
        if isinstance(holder, list) and isinstance(step, int):
            holder.extend([empty] if step == len(holder) else [])
            holder = holder[step]
        else:
            holder = holder.setdefault(step, empty)
    last = steps[-1]
    if isinstance(holder, list) and last == len(holder):
        holder.append(item)
    else:
        holder[last] = item


def who() -> Mapping[str, str]:
    """What the history records of the surroundings."""
    return {key: os.environ[key] for key in ("AWS_ENDPOINT_URL", "AWS_REGION") if key in os.environ}

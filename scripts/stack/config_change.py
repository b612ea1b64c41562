"""Changes of a stack's config: validated first, and reverted when the `up` for them changed nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from config.errors import SettingsError
from config.settings import Settings, parse
from config.values import from_json
from scripts.cli.display import update_error
from scripts.cli.exits import RefusedError, UsageError
from scripts.cli.interrupts import defer_signals, uninterruptible
from scripts.stack import config_file
from scripts.stack.automation import NAMESPACE, ROOT, Stack, StackFacts, set_value

T = TypeVar("T")
Values = Mapping[str, str]
"""By key, or by the path color.key."""

# The counts at the end of the engine's output; a line with changes begins with a sign: `+ 3 created`.
_COUNTS = re.compile(r"^Resources:\n(?P<lines>(?:[ \t]+.*\n)+)", re.MULTILINE)
_WITHOUT_EFFECT = re.compile(r"\s*\d+ (unchanged|errored)")
_BEGAN = "Updating ("
_GATE = re.compile(r'hook "gate-')


def problem(stack: str, config: Mapping[str, str], values: Values | None = None) -> str:
    """Why the program would refuse this config with these values, or nothing.

    `config`: texts by full key, as Pulumi passes them.
    """
    try:
        parsed(stack, config, values)
    except SettingsError as error:
        return str(error)
    return ""


def parsed(stack: str, config: Mapping[str, str], values: Values | None = None) -> Settings:
    """The config as the program reads it. Raises SettingsError where the program would refuse it."""
    changed: dict[str, Any] = dict(config)
    for path, value in (values or {}).items():
        key, _, inner = path.partition(".")
        full = f"{NAMESPACE}:{key}"
        changed[full] = json.dumps({**_object(changed.get(full, "")), inner: value}) if inner else value
    return parse(stack.rpartition("/")[2], changed)


def _object(text: str) -> dict[str, Any]:
    found = from_json(text)
    return found if isinstance(found, dict) else {}


def require_allowed(facts: StackFacts, values: Values) -> None:
    """Raise UsageError where the program would refuse the config with these values: before anything is done."""
    if found := problem(facts.stack, facts.config, values):
        raise UsageError(found)


def save(stack: Stack) -> Callable[[], None]:
    """Save the stack's config file; returns a function that restores it exactly, without Pulumi."""
    return config_file.saved(ROOT / f"Pulumi.{stack.name.rpartition('/')[2]}.yaml")


def apply(stack: Stack, values: Values, work: Callable[[], T]) -> T:
    """Write the values and run `work`, an `up`, to its end; reverts the config when that changed nothing.

    Raises RefusedError where a gate of the program refused before any change. An `up` that failed halfway leaves the
    config as requested: the same command continues from there.
    """
    restore, began = save(stack), False

    def tracked() -> T:
        nonlocal began
        began = True
        return work()

    try:
        for key, value in values.items():
            set_value(stack, key, value, path="." in key)
        return defer_signals(tracked)
    except BaseException as error:
        if not began or changed_nothing(error):
            with uninterruptible():
                restore()
            if began and _GATE.search(str(error)):
                raise RefusedError(update_error(str(error))) from error
        raise


def changed_nothing(error: BaseException) -> bool:
    """Whether this `up` ended before it changed a resource, by the engine's output; False where that is not known."""
    from pulumi.automation.errors import CommandError, ConcurrentUpdateError

    if isinstance(error, RefusedError | ConcurrentUpdateError):
        return True
    if not isinstance(error, CommandError):
        return False
    text = str(error)
    counts = list(_COUNTS.finditer(text))
    if not counts:
        return _BEGAN not in text
    return all(_WITHOUT_EFFECT.fullmatch(line) for line in counts[-1]["lines"].splitlines())

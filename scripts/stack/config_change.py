"""Changes of a stack's config: checked before they are written, and put back when the `up` for them changed nothing."""

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
from scripts.cli.interrupts import shielded, to_the_end
from scripts.stack import config_file
from scripts.stack.automation import NAMESPACE, ROOT, Stack, StackFacts, set_value

T = TypeVar("T")
Values = Mapping[str, str]
"""By key, or by the path color.key."""

# The counts at the end of what the engine writes; a line of what was changed begins with a sign: `+ 3 created`.
_COUNTS = re.compile(r"^Resources:\n(?P<lines>(?:[ \t]+.*\n)+)", re.MULTILINE)
_WITHOUT_EFFECT = re.compile(r"\s*\d+ (unchanged|errored)")
_BEGAN = "Updating ("
_GATE = re.compile(r'hook "gate-')


def problem(stack: str, config: Mapping[str, str], values: Values | None = None) -> str:
    """Why the program would refuse this config, once it has these values, or nothing.

    `config`: texts by full key, as Pulumi hands them over.
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
    """Keep the stack's config file as it is now; what is returned puts exactly that back, without Pulumi."""
    return config_file.saved(ROOT / f"Pulumi.{stack.name.rpartition('/')[2]}.yaml")


def apply(stack: Stack, values: Values, work: Callable[[], T]) -> T:
    """Write the values and do `work`, an `up`, whole; when that changed nothing, config is again what it was.

    Raises RefusedError where a gate of the program said no before anything changed. An `up` that failed on its way
    leaves config as asked for: the same command again goes on from there.
    """
    put_back, began = save(stack), False

    def whole() -> T:
        nonlocal began
        began = True
        return work()

    try:
        for key, value in values.items():
            set_value(stack, key, value, path="." in key)
        return to_the_end(whole)
    except BaseException as error:
        if not began or changed_nothing(error):
            with shielded():
                put_back()
            if began and _GATE.search(str(error)):
                raise RefusedError(update_error(str(error))) from error
        raise


def changed_nothing(error: BaseException) -> bool:
    """Whether the engine says that this `up` ended before it changed a resource; False where that is not known."""
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

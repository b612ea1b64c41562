"""Values of a stack's config taken by key and checked: what is wrong is collected, so that it can be told at once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

import pulumi

T = TypeVar("T")

REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
# What SNS and Budgets take: the address alone, without a name or mailto:, of 254 letters at most.
EMAIL = re.compile(r"(?=.{6,254}$)[^@\s,;:<>()]{1,64}@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}")
EMAIL_ALLOWED = "an e-mail address alone, as ops@example.org"


class SettingsError(pulumi.RunError):
    """The config holds values that are not allowed; the message names each with what is."""


def refuse(problems: Sequence[str]) -> None:
    """Raise SettingsError with all of them, if there are any."""
    if problems:
        raise SettingsError("The stack's config can't be used:\n" + "\n".join(f"  {problem}" for problem in problems))


class ConfigReader:
    """Takes values out of the raw config by key; what is wrong is collected, and a default stands in for it.

    `problems` are sentences that name key, value and what is allowed; `bad` are the keys.
    """

    def __init__(self, raw: Mapping[str, Any], prefix: str = "") -> None:
        self._raw, self._prefix = raw, prefix
        self._asked: set[str] = set()
        self.problems: list[str] = []
        self.bad: set[str] = set()

    def given(self, key: str, value: str, pattern: re.Pattern[str], allowed: str) -> str:
        """A value from elsewhere than the config, under the same rules."""
        return value if pattern.fullmatch(value) else self._refuse(key, value, allowed, value)

    def text(self, key: str, default: str, pattern: re.Pattern[str], allowed: str, *, empty: bool = False) -> str:
        taken = self._take(key, default)
        # `config set --path` makes a number of digits, such as a release that is a date.
        value = str(taken) if isinstance(taken, int) and not isinstance(taken, bool) else taken
        if isinstance(value, str) and (pattern.fullmatch(value) or (empty and not value)):
            return value
        return self._refuse(key, value, allowed + (", or empty" if empty else ""), default)

    def checked(self, key: str, default: str, problem_of: Callable[[str], str]) -> str:
        value = str(self._take(key, default))
        problem = problem_of(value)
        return self._refuse(key, value, "", default, because=problem) if problem else value

    def choice(self, key: str, default: str, options: tuple[str, ...]) -> str:
        value = self._take(key, default)
        return str(value) if value in options else self._refuse(key, value, " or ".join(options), default)

    def number(self, key: str, default: int, limits: tuple[int, int]) -> int:
        least, most = limits
        value = self._whole(self._take(key, default))
        if value is not None and least <= value <= most:
            return value
        return self._refuse(key, self._take(key, default), f"a whole number from {least} to {most}", default)

    def one_of(self, key: str, default: int, options: tuple[int, ...]) -> int:
        value = self._whole(self._take(key, default))
        if value in options:
            return value
        return self._refuse(key, self._take(key, default), f"one of {', '.join(map(str, options))}", default)

    def flag(self, key: str, default: bool) -> bool:
        value = self._take(key, default)
        known = {True: True, False: False, "true": True, "false": False}
        hashable = value if isinstance(value, bool | str) else ""
        return known[hashable] if hashable in known else self._refuse(key, value, "true or false", default)

    def texts(self, key: str, default: tuple[str, ...], fits: Callable[[str], bool], each: str) -> tuple[str, ...]:
        value = self._json(key, list(default))
        if not isinstance(value, list):
            return self._refuse(key, value, f"a list, each entry {each}", default)
        for place, entry in enumerate(value):
            if not isinstance(entry, str) or not fits(entry):
                self._refuse(key, entry, each, default)
            elif entry in value[:place]:
                self._refuse(key, entry, f"{each}, each only once", default)
        return default if key in self.bad else tuple(value)

    def refuse_unknown(self) -> None:
        for key in sorted(set(self._raw) - self._asked):
            nearest = get_close_matches(key, sorted(self._asked), n=1)
            known = f"did you mean {nearest[0]}?" if nearest else f"allowed are {', '.join(sorted(self._asked))}"
            self._refuse(key, self._raw[key], "", None, because=f"there is no such key; {known}")

    def _take(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        return self._raw.get(key, default)

    def _json(self, key: str, default: Any) -> Any:
        value = self._take(key, default)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value

    @staticmethod
    def _whole(value: Any) -> int | None:
        if isinstance(value, bool):
            return None
        text = str(value)
        return int(text) if re.fullmatch(r"-?\d{1,18}", text) else None

    def _refuse(self, key: str, value: Any, allowed: str, default: T, because: str = "") -> T:
        self.bad.add(key)
        shown = value if isinstance(value, str) and value.isprintable() else json.dumps(value, default=str)
        shown = shown or "(not set)"
        self.problems.append(f"{self._prefix}{key}: {shown}: {because or f'allowed is {allowed}'}")
        return default

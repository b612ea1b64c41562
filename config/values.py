"""Validation rules of config values, as annotations of pydantic fields.

Pulumi passes all values as strings: JSON for lists and objects, `"true"`, `"5"`. An error names the key, the value as
it was configured, and what is allowed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic_core import core_schema

HIDDEN = "(hidden)"
REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
# As SNS and Budgets accept it: the address alone, without a name or mailto:, of 254 characters at most.
EMAIL = re.compile(r"(?=.{6,254}$)[^@\s,;:<>()]{1,64}@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}")


class NotAllowed(ValueError):  # noqa: N818 - its text follows the key and the value
    """Problems of a value, or of several entries of a list: pairs of the shown value and a sentence."""

    def __init__(self, *problems: tuple[Any, str]) -> None:
        super().__init__(*(reason for _, reason in problems))
        self.problems = problems


class ValueRule:
    """Parses a value as Pulumi passes it, and refuses invalid ones; `description` says what is allowed."""

    json_type: ClassVar[str] = "string"
    description: str

    @property
    def allowed(self) -> str:
        return self.description

    def read(self, value: Any) -> Any:
        """The value as its type. Raises NotAllowed."""
        raise NotImplementedError

    def shown(self, value: Any) -> Any:
        """The part of a bad value that may be shown."""
        return value

    def refusal(self, value: Any) -> NotAllowed:
        return NotAllowed((self.shown(value), f"allowed is {self.allowed}"))

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": self.json_type}


@dataclass(frozen=True)
class Text(ValueRule):
    """A string that matches a pattern or a function; with `optional` also an empty one."""

    fits: re.Pattern[str] | Callable[[str], bool]
    description: str
    optional: bool = False

    @property
    def allowed(self) -> str:
        return self.description + (", or empty" if self.optional else "")

    def read(self, value: Any) -> str:
        # `config set --path` turns digits into a number, such as a release that is a date.
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if isinstance(text, str) and ((self.optional and not text) or self._is_fit(text)):
            return text
        raise self.refusal(value)

    def _is_fit(self, text: str) -> bool:
        return bool(self.fits.fullmatch(text) if isinstance(self.fits, re.Pattern) else self.fits(text))


@dataclass(frozen=True)
class SecretText(Text):
    """A string that is never shown."""

    def shown(self, value: Any) -> str:
        return HIDDEN


@dataclass(frozen=True)
class Checked(ValueRule):
    """A string that a function validates; the problem that it returns is the message."""

    problem_of: Callable[[str], str]

    def read(self, value: Any) -> str:
        if problem := self.problem_of(str(value)):
            raise NotAllowed((value, problem))
        return str(value)


@dataclass(frozen=True)
class Choice(ValueRule):
    """One of a few strings, or the member of an enumeration by its value."""

    options: type[StrEnum] | tuple[str, ...]

    @property
    def allowed(self) -> str:
        return " or ".join(self.options)

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or value not in tuple(self.options):
            raise self.refusal(value)
        return value if isinstance(self.options, tuple) else self.options(value)


@dataclass(frozen=True)
class WholeNumber(ValueRule):
    """A whole number between minimum and maximum."""

    json_type: ClassVar[str] = "integer"

    minimum: int
    maximum: int

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.minimum} to {self.maximum}"

    def read(self, value: Any) -> int:
        number = _number(value)
        if number is None or not self.minimum <= number <= self.maximum:
            raise self.refusal(value)
        return number


@dataclass(frozen=True)
class OneOf(ValueRule):
    """A whole number among a few."""

    json_type: ClassVar[str] = "integer"

    options: tuple[int, ...]

    @property
    def allowed(self) -> str:
        return f"one of {', '.join(map(str, self.options))}"

    def read(self, value: Any) -> int:
        number = _number(value)
        if number is None or number not in self.options:
            raise self.refusal(value)
        return number


def _number(value: Any) -> int | None:
    is_number = not isinstance(value, bool) and re.fullmatch(r"-?\d{1,18}", str(value))
    return int(value) if is_number else None


class _Flag(ValueRule):
    json_type = "boolean"
    description = "true or false"

    def read(self, value: Any) -> bool:
        if isinstance(value, bool) or value in ("true", "false"):
            return value in (True, "true")
        raise self.refusal(value)


@dataclass(frozen=True)
class Entries(ValueRule):
    """A list without duplicates, each entry validated by a rule."""

    json_type: ClassVar[str] = "array"

    entry: ValueRule

    @property
    def allowed(self) -> str:
        return f"a list, each entry {self.entry.allowed}"

    def shown(self, value: Any) -> Any:
        return self.entry.shown(value)

    def read(self, value: Any) -> tuple[Any, ...]:
        entries = from_json(value)
        if not isinstance(entries, list | tuple):
            raise self.refusal(entries)
        parsed: list[Any] = []
        problems: list[tuple[Any, str]] = []
        for entry in entries:
            try:
                result = self.entry.read(entry)
            except NotAllowed as error:
                problems += error.problems
                continue
            if result in parsed:
                problems.append((self.shown(entry), f"allowed is {self.entry.allowed}, each only once"))
            parsed.append(result)
        if problems:
            raise NotAllowed(*problems)
        return tuple(parsed)


@dataclass(frozen=True)
class Mapped(ValueRule):
    """An object whose values all match a function."""

    json_type: ClassVar[str] = "object"

    fits: Callable[[Any], bool]
    description: str

    def read(self, value: Any) -> dict[str, Any]:
        parsed = from_json(value)
        if isinstance(parsed, dict) and all(self.fits(each) for each in parsed.values()):
            return parsed
        raise self.refusal(parsed)


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_range(text: str) -> bool:
    """Whether this is an IPv4 range without host bits."""
    try:
        IPv4Network(text)
    except ValueError:
        return False
    return True


def from_json(value: Any) -> Any:
    """A list or an object, which Pulumi passes as a string; any other string unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


Flag = Annotated[bool, _Flag()]
Region = Annotated[str, Text(REGION, "a region, such as eu-central-1")]
Emails = Annotated[tuple[str, ...], Entries(Text(EMAIL, "an e-mail address alone, as ops@example.org"))]
Ranges = Annotated[tuple[str, ...], Entries(Text(is_range, "an IPv4 range"))]


class Model(BaseModel):
    """A section of the settings, frozen, without unknown keys. Keys are the fields' names in camel case.

    `renamed`: old names of keys, by old name. `is_secret`: unknown keys may be secrets, and their values are not shown.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )
    renamed: ClassVar[Mapping[str, str]] = {}
    is_secret: ClassVar[bool] = False

    @classmethod
    def config_keys(cls) -> tuple[str, ...]:
        """The config keys, in the fields' order."""
        return tuple(str(field.validation_alias) for field in cls.model_fields.values())

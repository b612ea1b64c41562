"""Rules of config values, as annotations of the fields of pydantic's models.

Pulumi hands all values over as texts: JSON for lists and objects, `"true"`, `"5"`. A value that is not allowed is told
by its key, as it was given, and with what is allowed.
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
# What SNS and Budgets take: the address alone, without a name or mailto:, of 254 letters at most.
EMAIL = re.compile(r"(?=.{6,254}$)[^@\s,;:<>()]{1,64}@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}")


class NotAllowed(ValueError):  # noqa: N818 - its text follows the key and the value
    """What is wrong with one value, or with several entries of a list: pairs of what to show, and a sentence."""

    def __init__(self, *problems: tuple[Any, str]) -> None:
        super().__init__(*(reason for _, reason in problems))
        self.problems = problems


class Rule:
    """Reads a value as Pulumi hands it over, and refuses what is not allowed; `what` is allowed, in words."""

    json_type: ClassVar[str] = "string"
    what: str

    @property
    def allowed(self) -> str:
        return self.what

    def read(self, value: Any) -> Any:
        """The value as its type. Raises NotAllowed."""
        raise NotImplementedError

    def shown(self, value: Any) -> Any:
        """What may be shown of a bad value."""
        return value

    def refusal(self, value: Any) -> NotAllowed:
        return NotAllowed((self.shown(value), f"allowed is {self.allowed}"))

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": self.json_type}


@dataclass(frozen=True)
class Text(Rule):
    """A text that fits a pattern or a function, `what` in words; with `optional` also an empty one."""

    fits: re.Pattern[str] | Callable[[str], bool]
    what: str
    optional: bool = False

    @property
    def allowed(self) -> str:
        return self.what + (", or empty" if self.optional else "")

    def read(self, value: Any) -> str:
        # `config set --path` makes a number of digits, such as a release that is a date.
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if isinstance(text, str) and ((self.optional and not text) or self._is_fit(text)):
            return text
        raise self.refusal(value)

    def _is_fit(self, text: str) -> bool:
        return bool(self.fits.fullmatch(text) if isinstance(self.fits, re.Pattern) else self.fits(text))


@dataclass(frozen=True)
class Secret(Text):
    """A text that is never shown."""

    def shown(self, value: Any) -> str:
        return HIDDEN


@dataclass(frozen=True)
class Checked(Rule):
    """A text that a function finds no fault with; what it finds is told whole."""

    problem_of: Callable[[str], str]

    def read(self, value: Any) -> str:
        if problem := self.problem_of(str(value)):
            raise NotAllowed((value, problem))
        return str(value)


@dataclass(frozen=True)
class Choice(Rule):
    """One of a few texts, or the member of an enumeration that has it as its value."""

    options: type[StrEnum] | tuple[str, ...]

    @property
    def allowed(self) -> str:
        return " or ".join(self.options)

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or value not in tuple(self.options):
            raise self.refusal(value)
        return value if isinstance(self.options, tuple) else self.options(value)


@dataclass(frozen=True)
class Whole(Rule):
    """A whole number within limits."""

    json_type: ClassVar[str] = "integer"

    least: int
    most: int

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.least} to {self.most}"

    def read(self, value: Any) -> int:
        number = _number(value)
        if number is None or not self.least <= number <= self.most:
            raise self.refusal(value)
        return number


@dataclass(frozen=True)
class OneOf(Rule):
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


class _Flag(Rule):
    json_type = "boolean"
    what = "true or false"

    def read(self, value: Any) -> bool:
        if isinstance(value, bool) or value in ("true", "false"):
            return value in (True, "true")
        raise self.refusal(value)


@dataclass(frozen=True)
class Entries(Rule):
    """A list, each entry by a rule, and only once."""

    json_type: ClassVar[str] = "array"

    each: Rule

    @property
    def allowed(self) -> str:
        return f"a list, each entry {self.each.allowed}"

    def shown(self, value: Any) -> Any:
        return self.each.shown(value)

    def read(self, value: Any) -> tuple[Any, ...]:
        given = from_json(value)
        if not isinstance(given, list | tuple):
            raise self.refusal(given)
        found: list[Any] = []
        problems: list[tuple[Any, str]] = []
        for entry in given:
            try:
                one = self.each.read(entry)
            except NotAllowed as error:
                problems += error.problems
                continue
            if one in found:
                problems.append((self.shown(entry), f"allowed is {self.each.allowed}, each only once"))
            found.append(one)
        if problems:
            raise NotAllowed(*problems)
        return tuple(found)


@dataclass(frozen=True)
class Mapped(Rule):
    """An object, `what` in words, whose every value fits a function."""

    json_type: ClassVar[str] = "object"

    fits: Callable[[Any], bool]
    what: str

    def read(self, value: Any) -> dict[str, Any]:
        given = from_json(value)
        if isinstance(given, dict) and all(self.fits(each) for each in given.values()):
            return given
        raise self.refusal(given)


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_range(text: str) -> bool:
    """Whether this is an IPv4 range, without bits beside its mask."""
    try:
        IPv4Network(text)
    except ValueError:
        return False
    return True


def from_json(value: Any) -> Any:
    """A list or an object, which Pulumi hands over as text; any other text as it is."""
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
    """Settings that belong together, frozen and closed. Their keys are the fields' names in camel case.

    `renamed`: keys that had another name. `is_secret`: unknown keys may hold secrets, and their values are not shown.
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

"""GitHub's expressions, as far as this project's workflows use them; what is not known fails, as a typo should."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>\d+)|(?P<name>[A-Za-z_][\w-]*)|(?P<sign>==|!=|&&|\|\||[!().,*]))"
)
PLACE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


class ExpressionError(Exception):
    """The expression uses something that isn't known here; the message names it."""


@dataclass
class Expression:
    """One expression on its way; `contexts` by name, and functions that take their evaluated arguments."""

    text: str
    contexts: Mapping[str, Any]
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tokens: list[tuple[str, str]] = []
        at = 0
        text = self.text.strip()
        while at < len(text):
            match = TOKEN.match(text, at)
            if not match:
                raise ExpressionError(f"{self.text.strip()!r}: {text[at:]!r} is not known here")
            self.tokens.append((str(match.lastgroup), match[match.lastgroup or 0]))
            at = match.end()
        self.at = 0

    def value(self) -> Any:
        found = self._either()
        if self.at != len(self.tokens):
            raise ExpressionError(f"{self.text.strip()!r}: more than one expression")
        return found

    def _either(self) -> Any:
        found = self._both()
        while self._takes("||"):
            other = self._both()
            found = found if truth(found) else other
        return found

    def _both(self) -> Any:
        found = self._compared()
        while self._takes("&&"):
            other = self._compared()
            found = other if truth(found) else found
        return found

    def _compared(self) -> Any:
        found = self._single()
        while sign := self._takes("==") or self._takes("!="):
            found = same(found, self._single()) == (sign == "==")
        return found

    def _single(self) -> Any:
        if self._takes("!"):
            return not truth(self._single())
        if self._takes("("):
            found = self._either()
            self._needs(")")
            return found
        kind, text = self._next()
        if kind == "text":
            return text[1:-1].replace("''", "'")
        if kind == "number":
            return int(text)
        if kind == "name":
            return self._named(text)
        raise ExpressionError(f"{self.text.strip()!r}: {text!r} can't stand there")

    def _named(self, name: str) -> Any:
        words = {"true": True, "false": False, "null": None}
        if name in words:
            return words[name]
        if self._takes("("):
            return self._called(name)
        if name not in self.contexts:
            raise ExpressionError(f"{self.text.strip()!r}: context {name!r} is not known here")
        return self._inside(name, self.contexts[name])

    def _called(self, name: str) -> Any:
        if name not in self.functions:
            raise ExpressionError(f"{self.text.strip()!r}: function {name!r} is not known here")
        arguments = []
        while not self._takes(")"):
            arguments.append(self._either())
            self._takes(",")
        return self.functions[name](*arguments)

    def _inside(self, path: str, found: Any) -> Any:
        while self._takes("."):
            if self._takes("*"):
                self._needs(".")
                key = self._next()[1]
                found = [one[key] for one in found]
                continue
            key = self._next()[1]
            # A variable or an input that nobody gave is empty; anything else is a typo.
            if key not in found and path not in ("vars", "inputs"):
                raise ExpressionError(f"{self.text.strip()!r}: {path} has no {key!r}, only {sorted(found)}")
            found, path = found.get(key), f"{path}.{key}"
        return found

    def _takes(self, sign: str) -> str:
        if self.at < len(self.tokens) and self.tokens[self.at] == ("sign", sign):
            self.at += 1
            return sign
        return ""

    def _needs(self, sign: str) -> None:
        if not self._takes(sign):
            raise ExpressionError(f"{self.text.strip()!r}: {sign!r} is missing")

    def _next(self) -> tuple[str, str]:
        if self.at == len(self.tokens):
            raise ExpressionError(f"{self.text.strip()!r}: it ends too early")
        self.at += 1
        return self.tokens[self.at - 1]


def truth(value: Any) -> bool:
    return value not in (None, False, 0, "")


def same(one: Any, other: Any) -> bool:
    """Texts whatever their case; different kinds as numbers, where an empty text and nothing are 0."""
    if isinstance(one, str) and isinstance(other, str):
        return one.lower() == other.lower()
    if type(one) is type(other):
        return bool(one == other)
    return _number(one) == _number(other)


def _number(value: Any) -> float:
    try:
        return float(value or 0)
    except ValueError:
        return float("nan")


def shown(value: Any) -> str:
    """As GitHub writes a value into a text."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def contains(found: Any, item: Any) -> bool:
    return any(same(one, item) for one in found) if isinstance(found, list) else str(item).lower() in str(found).lower()


def filled(text: Any, contexts: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> Any:
    """A value of a workflow with its expressions in place. One that is nothing but an expression keeps its type."""
    if not isinstance(text, str):
        return text
    if whole := re.fullmatch(r"\s*\$\{\{((?:(?!\}\}).)*)\}\}\s*", text, re.DOTALL):
        return Expression(whole[1], contexts, functions).value()
    return PLACE.sub(lambda match: shown(Expression(match[1], contexts, functions).value()), text)


def condition(text: Any, contexts: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> bool:
    """An `if:`, with or without its braces. Without a word on how the job went, it also asks for success."""
    bare = PLACE.sub(lambda match: match[1], str(text))
    asked = re.search(r"\b(success|failure|cancelled|always)\s*\(", bare)
    if not asked and not functions["success"]():
        return False
    return truth(Expression(bare, contexts, functions).value())

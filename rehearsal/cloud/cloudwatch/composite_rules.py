"""Composite alarm rules: parsing and evaluation."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

TOKEN = re.compile(
    r"""\s*(?:
        (?P<state>ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?:"(?P<double>[^"]+)"|'(?P<single>[^']+)'|(?P<bare>[^()"'\s]+))\s*\)
        |(?P<word>AND|OR|NOT|TRUE|FALSE)\b
        |(?P<bracket>[()])
    )\s*""",
    re.VERBOSE,
)
WORDS = {"AND": " and ", "OR": " or ", "NOT": " not ", "TRUE": "True", "FALSE": "False"}
StateOf = Callable[[str], str | None]  # of an alarm's name or ARN; None when there is no such alarm


class RuleError(ValueError):
    """An invalid rule; the message quotes it."""


def is_alarm(rule: str, state_of: StateOf) -> bool:
    """Whether the rule is true now; an alarm that doesn't exist is in no state. Raises RuleError."""
    return _is_true(_parsed(rule, state_of).body)


def alarm_names(rule: str) -> list[str]:
    """Names or ARNs of the alarms in a rule, in order; raises RuleError."""
    names: list[str] = []

    def collect(name: str) -> None:
        names.append(name)

    _parsed(rule, collect)
    return names


def _parsed(rule: str, state_of: StateOf) -> ast.Expression:
    words, at = [], 0
    while at < len(rule):
        token = TOKEN.match(rule, at)
        if token is None:
            raise RuleError(f"alarm rule {rule!r}: syntax error at {rule[at : at + 20]!r}")
        words.append(_word(token, state_of))
        at = token.end()
    try:
        # Python's operators have the same precedence; their operands are only True and False.
        return ast.parse("".join(words).strip(), mode="eval")
    except SyntaxError as error:
        raise RuleError(f"alarm rule {rule!r}: ALARM(name), OK(name), AND, OR, NOT and brackets are allowed") from error


def _word(token: re.Match[str], state_of: StateOf) -> str:
    if state := token["state"]:
        named = token["double"] or token["single"] or token["bare"]
        return str(state_of(named) == state)
    return WORDS[token["word"]] if token["word"] else str(token["bracket"])


def _is_true(node: ast.expr) -> bool:
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_is_true(value) for value in values)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(_is_true(value) for value in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _is_true(operand)
        case ast.Constant(value=bool() as truth):
            return truth
    raise RuleError(f"alarm rule: {ast.unparse(node)} is neither true nor false")

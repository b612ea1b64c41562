"""The rules of composite alarms: which states of which alarms make one."""

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
    """A rule that is none; the message holds it."""


def holds(rule: str, state_of: StateOf) -> bool:
    """Whether the rule makes an alarm now; an alarm that isn't there is in no state. Raises RuleError."""
    return _true(_parsed(rule, state_of).body)


def names(rule: str) -> list[str]:
    """The alarms that a rule asks for, in its order; raises RuleError."""
    asked: list[str] = []

    def remember(name: str) -> None:
        asked.append(name)

    _parsed(rule, remember)
    return asked


def _parsed(rule: str, state_of: StateOf) -> ast.Expression:
    words, at = [], 0
    while at < len(rule):
        token = TOKEN.match(rule, at)
        if token is None:
            raise RuleError(f"alarm rule {rule!r}: not understood from {rule[at : at + 20]!r} on")
        words.append(_word(token, state_of))
        at = token.end()
    try:
        # Python's words have the same precedence; all that they stand between is True and False.
        return ast.parse("".join(words).strip(), mode="eval")
    except SyntaxError as error:
        raise RuleError(f"alarm rule {rule!r}: ALARM(name), OK(name), AND, OR, NOT and brackets are allowed") from error


def _word(token: re.Match[str], state_of: StateOf) -> str:
    if state := token["state"]:
        named = token["double"] or token["single"] or token["bare"]
        return str(state_of(named) == state)
    return WORDS[token["word"]] if token["word"] else str(token["bracket"])


def _true(node: ast.expr) -> bool:
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_true(value) for value in values)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(_true(value) for value in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _true(operand)
        case ast.Constant(value=bool() as truth):
            return truth
    raise RuleError(f"alarm rule: {ast.unparse(node)} is neither true nor false")

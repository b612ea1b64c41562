"""CloudWatch's metric math: expressions over lines of points, point by point."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence

Line = dict[int, float]  # time to value; times without data are absent
Value = float | Line | list["Value"]

# Written as Python says it; nothing of an expression is ever run as Python.
WORDS = {"AND": "and", "OR": "or", "&&": "and", "||": "or", "^": "**"}
WORD = re.compile(r"\b(?:AND|OR)\b|&&|\|\||\^")
ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
COMPARISONS: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
SINGLE: Mapping[str, Callable[[float], float]] = {"ABS": abs, "CEIL": math.ceil, "FLOOR": math.floor}
TOGETHER: Mapping[str, Callable[[Sequence[float]], float]] = {
    "SUM": sum,
    "AVG": lambda values: sum(values) / len(values),
    "MIN": min,
    "MAX": max,
}
FUNCTIONS = ("FILL", "IF", *SINGLE, *TOGETHER)


class MathError(ValueError):
    """An expression that can't be counted; the message names it."""


def names(expression: str) -> set[str]:
    """The ids that an expression asks for; raises MathError."""
    called = {node.func for node in ast.walk(_parsed(expression)) if isinstance(node, ast.Call)}
    found = {node for node in ast.walk(_parsed(expression)) if isinstance(node, ast.Name)}
    spoken = {node.id for node in called if isinstance(node, ast.Name)} | {"REPEAT", "LINEAR"}
    return {node.id for node in found} - spoken


def evaluate(expression: str, lines: Mapping[str, Line], times: Sequence[int]) -> Line:
    """`lines` by id; `times` are all that the answer may have. What can't be divided has no point.

    Raises MathError.
    """
    value = _Counting(expression, lines, times).value(_parsed(expression).body)
    if isinstance(value, list):
        raise MathError(f"expression {expression!r}: one line is needed, not an array of them")
    return value if isinstance(value, dict) else dict.fromkeys(times, value)


def _parsed(expression: str) -> ast.Expression:
    try:
        return ast.parse(WORD.sub(lambda word: f" {WORDS[word.group()]} ", expression).strip(), mode="eval")
    except SyntaxError as error:
        raise MathError(f"expression {expression!r}: {error.msg}") from error


class _Counting:
    def __init__(self, expression: str, lines: Mapping[str, Line], times: Sequence[int]) -> None:
        self._expression, self._lines, self._times = expression, lines, times

    def value(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=name) if name in self._lines:
                return self._lines[name]
            case ast.List(elts=parts):
                return [self.value(part) for part in parts]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._each(operator.neg, self.value(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                return self._each(ARITHMETIC[type(op)], self.value(left), self.value(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in COMPARISONS:
                return self._each(COMPARISONS[type(op)], self.value(left), self.value(right))
            case ast.BoolOp(op=op, values=values):
                joined = all if isinstance(op, ast.And) else any
                return self._each(lambda *given: joined(given), *(self.value(each) for each in values))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._called(name, arguments)
        raise self._refused(ast.unparse(node))

    def _called(self, name: str, arguments: list[ast.expr]) -> Value:
        match name, arguments:
            case "IF", [condition, yes, no]:
                return self._chosen(self.value(condition), self.value(yes), self.value(no))
            case "FILL", [line, ast.Name(id="REPEAT")]:
                return self._repeated(self._line(line))
            case "FILL", [line, filling]:
                other = self.value(filling)
                return {at: value for at in self._times if (value := _at(self._line(line), at, other)) is not None}
            case _, [one] if name in SINGLE:
                return self._each(SINGLE[name], self.value(one))
            case _, [one] if name in TOGETHER:
                return self._together(TOGETHER[name], self.value(one))
        raise self._refused(f"{name} of {len(arguments)}")

    def _chosen(self, condition: Value, yes: Value, no: Value) -> Value:
        """A branch that is not taken may lack the point."""
        if isinstance(condition, float):
            return yes if condition else no
        if isinstance(condition, list):
            raise self._refused("an array")
        picked = ((at, _of(yes if truth else no, at)) for at, truth in condition.items())
        return {at: value for at, value in picked if value is not None}

    def _repeated(self, line: Line) -> Line:
        filled: Line = {}
        last: float | None = None
        for at in self._times:
            last = line.get(at, last)
            if last is not None:
                filled[at] = last
        return filled

    def _together(self, join: Callable[[Sequence[float]], float], value: Value) -> Value:
        """Of an array point by point, of a line all its points to one number."""
        if isinstance(value, float):
            return value
        if isinstance(value, dict):
            return join(list(value.values())) if value else {}
        found = {at: [one for each in value if (one := _of(each, at)) is not None] for at in self._times}
        return {at: float(join(present)) for at, present in found.items() if present}

    def _each(self, count: Callable[..., float], *values: Value) -> Value:
        """At each time at which all have a point."""
        if all(isinstance(value, float) for value in values):
            one = _counted(count, values)
            return {} if one is None else one
        times = [at for at in self._times if all(_of(value, at) is not None for value in values)]
        found = {at: _counted(count, [_of(value, at) for value in values]) for at in times}
        return {at: value for at, value in found.items() if value is not None}

    def _line(self, node: ast.expr) -> Line:
        value = self.value(node)
        return value if isinstance(value, dict) else self._refuse_line(node)

    def _refuse_line(self, node: ast.expr) -> Line:
        raise self._refused(f"{ast.unparse(node)}, where a line is needed,")

    def _refused(self, part: str) -> MathError:
        known = f"arithmetic, comparisons, AND, OR, {', '.join(FUNCTIONS)} and the ids {', '.join(sorted(self._lines))}"
        return MathError(f"expression {self._expression!r}: {part} is not among {known}")


def _of(value: Value, at: int) -> float | None:
    if isinstance(value, dict):
        return value.get(at)
    return value if isinstance(value, float) else None


def _at(line: Line, at: int, other: Value) -> float | None:
    return line[at] if at in line else _of(other, at)


def _counted(count: Callable[..., float], values: Sequence[object]) -> float | None:
    try:
        return float(count(*values))
    except (ArithmeticError, TypeError, ValueError):  # divided by zero, too large, a root of less than nothing
        return None

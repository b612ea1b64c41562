"""CloudWatch metric math: expressions over time series, point by point."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence

TimeSeries = dict[int, float]  # time to value; times without data are absent
Value = float | TimeSeries | list["Value"]

# Python's spelling of the operators; no part of an expression is ever executed as Python.
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
POINTWISE: Mapping[str, Callable[[float], float]] = {"ABS": abs, "CEIL": math.ceil, "FLOOR": math.floor}
AGGREGATES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "SUM": sum,
    "AVG": lambda values: sum(values) / len(values),
    "MIN": min,
    "MAX": max,
}
FUNCTIONS = ("FILL", "IF", *POINTWISE, *AGGREGATES)


class MathError(ValueError):
    """An expression that can't be evaluated; the message quotes it."""


def query_ids(expression: str) -> set[str]:
    """Ids of the queries that an expression refers to; raises MathError."""
    nodes = list(ast.walk(_parsed(expression)))
    functions = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return {node.id for node in nodes if isinstance(node, ast.Name)} - functions - {"REPEAT", "LINEAR"}


def evaluate(expression: str, series: Mapping[str, TimeSeries], times: Sequence[int]) -> TimeSeries:
    """Value of an expression at these times; `series` by id. A division by zero has no data point.

    Raises MathError.
    """
    value = _Evaluation(expression, series, times).value(_parsed(expression).body)
    if isinstance(value, list):
        raise MathError(f"expression {expression!r}: a time series is required, not an array of them")
    return value if isinstance(value, dict) else dict.fromkeys(times, value)


def _parsed(expression: str) -> ast.Expression:
    try:
        return ast.parse(WORD.sub(lambda word: f" {WORDS[word.group()]} ", expression).strip(), mode="eval")
    except SyntaxError as error:
        raise MathError(f"expression {expression!r}: {error.msg}") from error


class _Evaluation:
    def __init__(self, expression: str, series: Mapping[str, TimeSeries], times: Sequence[int]) -> None:
        self._expression, self._series, self._times = expression, series, times

    def value(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=name) if name in self._series:
                return self._series[name]
            case ast.List(elts=parts):
                return [self.value(part) for part in parts]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._pointwise(operator.neg, self.value(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                return self._pointwise(ARITHMETIC[type(op)], self.value(left), self.value(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in COMPARISONS:
                return self._pointwise(COMPARISONS[type(op)], self.value(left), self.value(right))
            case ast.BoolOp(op=op, values=values):
                joined = all if isinstance(op, ast.And) else any
                return self._pointwise(lambda *operands: joined(operands), *(self.value(value) for value in values))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(name, arguments)
        raise self._unsupported(ast.unparse(node))

    def _call(self, name: str, arguments: list[ast.expr]) -> Value:
        match name, arguments:
            case "IF", [condition, yes, no]:
                return self._if(self.value(condition), self.value(yes), self.value(no))
            case "FILL", [points, ast.Name(id="REPEAT")]:
                return self._repeat(self._as_series(points))
            case "FILL", [points, filling]:
                other = self.value(filling)
                return {
                    at: value
                    for at in self._times
                    if (value := _point_or(self._as_series(points), at, other)) is not None
                }
            case _, [argument] if name in POINTWISE:
                return self._pointwise(POINTWISE[name], self.value(argument))
            case _, [argument] if name in AGGREGATES:
                return self._aggregate(AGGREGATES[name], self.value(argument))
        raise self._unsupported(f"{name} of {len(arguments)}")

    def _if(self, condition: Value, yes: Value, no: Value) -> Value:
        """The branch that is not selected may lack the data point."""
        if isinstance(condition, float):
            return yes if condition else no
        if isinstance(condition, list):
            raise self._unsupported("an array")
        selected = ((at, _point_at(yes if truth else no, at)) for at, truth in condition.items())
        return {at: value for at, value in selected if value is not None}

    def _repeat(self, points: TimeSeries) -> TimeSeries:
        filled: TimeSeries = {}
        last: float | None = None
        for at in self._times:
            last = points.get(at, last)
            if last is not None:
                filled[at] = last
        return filled

    def _aggregate(self, join: Callable[[Sequence[float]], float], value: Value) -> Value:
        """Of an array a time series, point by point; of a time series one number."""
        if isinstance(value, float):
            return value
        if isinstance(value, dict):
            return join(list(value.values())) if value else {}
        columns = {at: [point for part in value if (point := _point_at(part, at)) is not None] for at in self._times}
        return {at: float(join(present)) for at, present in columns.items() if present}

    def _pointwise(self, count: Callable[..., float], *values: Value) -> Value:
        """At each time at which all values have a data point."""
        if all(isinstance(value, float) for value in values):
            number = _apply(count, values)
            return {} if number is None else number
        times = [at for at in self._times if all(_point_at(value, at) is not None for value in values)]
        results = {at: _apply(count, [_point_at(value, at) for value in values]) for at in times}
        return {at: result for at, result in results.items() if result is not None}

    def _as_series(self, node: ast.expr) -> TimeSeries:
        value = self.value(node)
        if not isinstance(value, dict):
            raise self._unsupported(f"{ast.unparse(node)}, where a time series is required,")
        return value

    def _unsupported(self, part: str) -> MathError:
        known = (
            f"arithmetic, comparisons, AND, OR, {', '.join(FUNCTIONS)} and the ids {', '.join(sorted(self._series))}"
        )
        return MathError(f"expression {self._expression!r}: {part} is not among {known}")


def _point_at(value: Value, at: int) -> float | None:
    if isinstance(value, dict):
        return value.get(at)
    return value if isinstance(value, float) else None


def _point_or(points: TimeSeries, at: int, other: Value) -> float | None:
    return points[at] if at in points else _point_at(other, at)


def _apply(count: Callable[..., float], values: Sequence[object]) -> float | None:
    try:
        return float(count(*values))
    except (ArithmeticError, TypeError, ValueError):  # division by zero, overflow, a root of a negative number
        return None

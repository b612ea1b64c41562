"""Benchmark figure: value, limit, and the parts that explain it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Figure:
    """`value` must be below `limit`, both in `unit`; `parts`: what it was calculated from."""

    name: str
    value: float
    unit: str
    limit: float
    parts: dict[str, Any] = field(default_factory=dict)

    @property
    def exceeded(self) -> str | None:
        """By how much the limit is exceeded, as a sentence; None within the limit."""
        if self.value < self.limit:
            return None
        over = self.value - self.limit
        return f"{self.name}: {self.value:.2f} {self.unit}, {over:.2f} over the limit of {self.limit:g} {self.unit}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.exceeded is None}

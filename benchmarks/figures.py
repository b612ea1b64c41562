"""What a benchmark found: one figure with its limit, the figures that explain it, and whether it keeps the limit."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Figure:
    """`value` is to stay below `limit`, both in `unit`; `parts` are what it was made of."""

    name: str
    value: float
    unit: str
    limit: float
    parts: dict[str, Any] = field(default_factory=dict)

    @property
    def missed(self) -> str | None:
        """By how much, as a sentence; None when the limit is kept."""
        if self.value < self.limit:
            return None
        over = self.value - self.limit
        return f"{self.name}: {self.value:.2f} {self.unit}, {over:.2f} over the limit of {self.limit:g} {self.unit}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.missed is None}

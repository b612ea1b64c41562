"""What one run of the VPN scenario found, in the shape of the report's `vpn` object."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

ESTABLISHED_LIMIT_S = 10.0
ROTATION_LIMIT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Step:
    name: str
    seconds: float
    ok: bool
    note: str = ""


@dataclass(kw_only=True)
class Result:
    """Seconds are None, and counts 0, as long as they have not been measured.

    `failover_seconds`: from the cut to the first ping that comes through again. `lost_pings`: lost over that, at five
    a second. `rotation_seconds`: the longest time without an answered ping while both keys were changed.
    `plain_packets_on_wire`: packets between office and AWS that showed an address of either inner network.
    """

    established_seconds: float | None = None
    failover_seconds: float | None = None
    lost_pings: int = 0
    plain_packets_on_wire: int = 0
    esp_packets_on_wire: int = 0
    rotation_seconds: float | None = None
    failover_limit: float = 10.0
    esp: str = "userspace"
    kernel_could: bool = False
    steps: list[Step] = field(default_factory=list)
    error: str = ""

    @property
    def problems(self) -> list[str]:
        """Why this is not good enough, one sentence each."""
        limits = {
            "established_seconds": (self.established_seconds, ESTABLISHED_LIMIT_S),
            "failover_seconds": (self.failover_seconds, self.failover_limit),
            "rotation_seconds": (self.rotation_seconds, ROTATION_LIMIT_S),
        }
        found = [self.error] if self.error else []
        for name, (value, limit) in limits.items():
            if value is None:
                found.append(f"{name} was not measured")
            elif value >= limit:
                found.append(f"{name} is {value:.2f}, not below {limit:g}")
        if self.plain_packets_on_wire:
            found.append(f"{self.plain_packets_on_wire} packets crossed the internet in clear")
        if not self.esp_packets_on_wire:
            found.append("no ESP packet was seen")
        return found

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        values = asdict(self) | {"ok": self.ok}
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}

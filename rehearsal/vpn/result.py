"""What one run of the VPN scenario found, in the shape of the report's `vpn` object."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

ESTABLISHED_LIMIT_S = 10.0
FAILOVER_LIMIT_S = 10.0
ROTATION_LIMIT_S = 5.0
# AWS asks after 10 s of silence and waits for 30 more, the least that it can be told; and two seconds of our own.
SILENT_PATH_LIMIT_S = 42.0


@dataclass(frozen=True, kw_only=True)
class Step:
    name: str
    seconds: float
    ok: bool
    note: str = ""


@dataclass(kw_only=True)
class Result:
    """Seconds are None, and counts 0, as long as they have not been measured.

    `failover_seconds`: from the loss of an endpoint to the first ping that comes through again. `lost_pings`: lost
    over that, at five a second. `silent_path_seconds`: the same where only the way to an endpoint is cut, which AWS
    has to find out; measured on demand. `dark_pings`: sent while both tunnels were cut, none of which may show on the
    wire. `segment_bytes`: TCP's largest segment through the tunnel, None without nft; `clamp` says why.
    `rotation_seconds`: the longest time without an answered ping while both keys were changed.
    `plain_packets_on_wire`: packets between office and AWS that showed an address of either inner network.
    """

    established_seconds: float | None = None
    failover_seconds: float | None = None
    lost_pings: int = 0
    plain_packets_on_wire: int = 0
    esp_packets_on_wire: int = 0
    rotation_seconds: float | None = None
    silent_path_seconds: float | None = None
    dark_pings: int = 0
    segment_bytes: int | None = None
    clamp: str = ""
    esp: str = "userspace"
    kernel_could: bool = False
    steps: list[Step] = field(default_factory=list)
    error: str = ""

    @property
    def problems(self) -> list[str]:
        """Why this is not good enough, one sentence each."""
        limits = {
            "established_seconds": (self.established_seconds, ESTABLISHED_LIMIT_S),
            "failover_seconds": (self.failover_seconds, FAILOVER_LIMIT_S),
            "rotation_seconds": (self.rotation_seconds, ROTATION_LIMIT_S),
        }
        found = [self.error] if self.error else []
        for name, (value, limit) in limits.items():
            if value is None:
                found.append(f"{name} was not measured")
            elif value >= limit:
                found.append(f"{name} is {value:.2f}, not below {limit:g}")
        if self.silent_path_seconds is not None and self.silent_path_seconds >= SILENT_PATH_LIMIT_S:
            found.append(f"silent_path_seconds is {self.silent_path_seconds:.2f}, not below {SILENT_PATH_LIMIT_S:g}")
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

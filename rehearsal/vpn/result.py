"""Result of a VPN scenario: figures, limits and steps, as in vpn.json and in the report's `vpn`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

ESTABLISHED_LIMIT_S = 10.0
FAILOVER_LIMIT_S = 10.0
ROTATION_LIMIT_S = 5.0
# AWS's dead peer detection: 10 s of silence and a timeout of 30 s, its minimum; and a margin of two seconds.
SILENT_PATH_LIMIT_S = 42.0


@dataclass(frozen=True, kw_only=True)
class VpnStep:
    name: str
    seconds: float
    ok: bool
    note: str = ""


@dataclass(kw_only=True)
class Result:
    """Seconds are None, and counts 0, until they have been measured.

    `failover_seconds`: from the loss of an endpoint to the first ping that is answered again. `lost_pings`: lost in
    that time, at five a second. `silent_path_seconds`: the same for a failure that AWS has to detect; measured on
    demand. `pings_without_tunnel`: sent while both tunnels were down, none of which may appear on the wire.
    `segment_bytes`: TCP's maximum segment size through the tunnel, None without nft; `clamp` says why.
    `rotation_seconds`: the longest time without an answered ping while both keys were rotated.
    `cleartext_packets`: packets between remote gateway and AWS with a private address of either network.
    """

    established_seconds: float | None = None
    failover_seconds: float | None = None
    lost_pings: int = 0
    cleartext_packets: int = 0
    esp_packets: int = 0
    rotation_seconds: float | None = None
    silent_path_seconds: float | None = None
    pings_without_tunnel: int = 0
    segment_bytes: int | None = None
    clamp: str = ""
    esp: str = "userspace"
    kernel_esp_available: bool = False
    steps: list[VpnStep] = field(default_factory=list)
    error: str = ""

    @property
    def problems(self) -> list[str]:
        """Figures beyond their limits and errors, as sentences."""
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
        if self.cleartext_packets:
            found.append(f"{self.cleartext_packets} packets crossed the internet in cleartext")
        if not self.esp_packets:
            found.append("no ESP packet was seen")
        return found

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        values = asdict(self) | {"ok": self.ok}
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}

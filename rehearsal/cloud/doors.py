"""What stands before the machines: the real front door, or none, as when only the account is emulated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from rehearsal.cloud.additions.target_health import Health, Key


class Door(Protocol):
    """What the controller asks of the load balancer's stand-in."""

    def follow(self, backends: list[Any]) -> None: ...

    def health(self, backends: list[Any]) -> Mapping[Key, Health] | None: ...

    def drain(self, target_group: Any, target: str) -> None: ...

    def close(self) -> None: ...


class NoDoor:
    """Nobody comes in: registered targets count as healthy and have nothing to finish."""

    def follow(self, backends: list[Any]) -> None:
        """There is nothing to set up."""

    def health(self, backends: list[Any]) -> Mapping[Key, Health] | None:
        return None

    def drain(self, target_group: Any, target: str) -> None:
        """No request is on its way."""

    def close(self) -> None:
        """Nothing was opened."""

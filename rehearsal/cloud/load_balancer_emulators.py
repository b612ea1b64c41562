"""What stands before the machines: the real front door, or none, as when only the account is emulated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from rehearsal.cloud import load_balancers
from rehearsal.cloud.additions.target_health import Key, draining
from rehearsal.load_balancer.access_log import RequestOutcome
from rehearsal.load_balancer.emulator import LoadBalancerEmulator
from rehearsal.load_balancer.model import INITIAL, LoadBalancerModel, TargetHealth


class Door(Protocol):
    """What the controller asks of the load balancer's stand-in."""

    def see(self, backends: list[Any]) -> None:
        """Takes a picture of the account, while nobody else may change it."""

    def follow(self) -> Mapping[Key, TargetHealth] | None:
        """Does what the picture says, and tells how its targets are; None when nobody checks them."""

    def drain(self, target_group: Any, target: str) -> None:
        """Returns when the target has nothing more to finish."""

    def traffic(self) -> Mapping[RequestOutcome, int]:
        """How many requests of each kind ended since the last call."""

    def close(self) -> None: ...


class NoDoor:
    """Nobody comes in: registered targets count as healthy and have nothing to finish."""

    def see(self, backends: list[Any]) -> None:
        """There is nothing to set up."""

    def follow(self) -> Mapping[Key, TargetHealth] | None:
        return None

    def drain(self, target_group: Any, target: str) -> None:
        """No request is on its way."""

    def traffic(self) -> Mapping[RequestOutcome, int]:
        return {}

    def close(self) -> None:
        """Nothing was opened."""


class FollowingDoor:
    """The front door, kept as the account's load balancers say."""

    def __init__(self, run_dir: Path, bind: str) -> None:
        self._door = LoadBalancerEmulator(run_dir, bind)
        self._model = LoadBalancerModel()
        self._places: Mapping[Key, load_balancers.Place] = {}

    def see(self, backends: list[Any]) -> None:
        self._model = load_balancers.model_of(backends)
        self._places = load_balancers.places_of(backends)

    def follow(self) -> Mapping[Key, TargetHealth] | None:
        self._door.apply(self._model)
        found = self._door.health()
        return {(arn, id): found.get((arn, *place), INITIAL) for (arn, id), place in self._places.items()}

    def drain(self, target_group: Any, target: str) -> None:
        leaving = draining(target_group).get(target)
        address = load_balancers.address_of(target)
        if leaving and address:
            delay = load_balancers.deregistration_delay(target_group)
            self._door.drain(target_group.arn, address, int(leaving["Port"]), delay)

    def traffic(self) -> Mapping[RequestOutcome, int]:
        return self._door.traffic()

    def close(self) -> None:
        self._door.close()

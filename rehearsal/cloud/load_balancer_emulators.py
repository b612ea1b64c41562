"""Load balancer of the emulated account: HAProxy, kept in sync with the account, or none for tests of the account."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from rehearsal.cloud import load_balancers
from rehearsal.cloud.additions.target_health import Key, draining
from rehearsal.load_balancer.access_log import RequestOutcome
from rehearsal.load_balancer.emulator import LoadBalancerEmulator
from rehearsal.load_balancer.model import INITIAL, LoadBalancerModel, TargetHealth


class LoadBalancerControl(Protocol):
    """Load balancers of the account, as the controller and CloudWatch use them."""

    def snapshot(self, backends: list[Any]) -> None:
        """Copy the account's load balancers; call it while the account can't change."""

    def sync(self) -> Mapping[Key, TargetHealth] | None:
        """Apply the last snapshot; return the targets' health, None without health checks."""

    def drain(self, target_group: Any, target: str) -> None:
        """Return when the target has finished its requests, or its deregistration delay is over."""

    def traffic(self) -> Mapping[RequestOutcome, int]:
        """Number of requests of each kind that ended since the last call."""

    def close(self) -> None: ...


class NullLoadBalancer:
    """No traffic: registered targets count as healthy and drain at once."""

    def snapshot(self, backends: list[Any]) -> None:
        """There is nothing to set up."""

    def sync(self) -> Mapping[Key, TargetHealth] | None:
        return None

    def drain(self, target_group: Any, target: str) -> None:
        """No request is in flight."""

    def traffic(self) -> Mapping[RequestOutcome, int]:
        return {}

    def close(self) -> None:
        """Nothing was opened."""


class SyncedLoadBalancer:
    """HAProxy, in sync with the account's load balancers."""

    def __init__(self, run_dir: Path, bind: str) -> None:
        self._emulator = LoadBalancerEmulator(run_dir, bind)
        self._model = LoadBalancerModel()
        self._addresses: Mapping[Key, load_balancers.TargetAddress] = {}

    def snapshot(self, backends: list[Any]) -> None:
        self._model = load_balancers.model_of(backends)
        self._addresses = load_balancers.target_addresses(backends)

    def sync(self) -> Mapping[Key, TargetHealth] | None:
        self._emulator.apply(self._model)
        healths = self._emulator.health()
        return {(arn, id): healths.get((arn, *address), INITIAL) for (arn, id), address in self._addresses.items()}

    def drain(self, target_group: Any, target: str) -> None:
        registration = draining(target_group).get(target)
        address = load_balancers.address_of(target)
        if registration and address:
            delay = load_balancers.deregistration_delay(target_group)
            self._emulator.drain(target_group.arn, address, int(registration["Port"]), delay)

    def traffic(self) -> Mapping[RequestOutcome, int]:
        return self._emulator.traffic()

    def close(self) -> None:
        self._emulator.close()

"""Faults of the emulated AWS: which service fails, how, and for which callers."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

MAX_SECONDS = 86_400.0  # of a slow response, or of clock skew: more is a typing error
HOLD_POLL_S = 0.2  # how often a delayed response checks whether its fault was cleared


class Service(StrEnum):
    """AWS services by their signing names, as `monitoring` for CloudWatch."""

    AUTOSCALING = "autoscaling"
    EC2 = "ec2"
    ECR = "ecr"
    ELB = "elasticloadbalancing"
    IAM = "iam"
    KMS = "kms"
    LOGS = "logs"
    MONITORING = "monitoring"
    S3 = "s3"
    SECRETS = "secretsmanager"
    SNS = "sns"
    SSM = "ssm"
    STS = "sts"


class Mode(StrEnum):
    """`down`: 503; `slow`: late responses; `cut`: half of the response body; `skewed`: AWS's clock is off."""

    DOWN = "down"
    SLOW = "slow"
    CUT = "cut"
    SKEWED = "skewed"


class FaultError(ValueError):
    """An invalid fault; the message names the value and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class AwsFault:
    """`seconds`: the delay of `slow`, or how far AWS's clock is ahead for `skewed` (negative: behind).

    `addresses` (or networks, as 10.0.0.0/16) and `color` (of the calling instance) select callers; empty: all.
    """

    service: Service
    mode: Mode
    seconds: float = 0.0
    addresses: tuple[str, ...] = ()
    color: str = ""

    def __post_init__(self) -> None:
        if self.mode in (Mode.SLOW, Mode.SKEWED):
            minimum = 0.0 if self.mode is Mode.SLOW else -MAX_SECONDS
            if not minimum <= self.seconds <= MAX_SECONDS or self.seconds == 0:
                raise FaultError(
                    f"seconds={self.seconds:g} of {self.mode}: {minimum:g} to {MAX_SECONDS:g} is allowed, not 0"
                )
        elif self.seconds:
            raise FaultError(f"seconds={self.seconds:g} of {self.mode}: only slow and skewed take seconds")
        for address in self.addresses:
            _network(address)

    @property
    def scope(self) -> tuple[object, ...]:
        return self.service, self.addresses, self.color

    def matches(self, service: str, address: str, color: Callable[[str], str]) -> bool:
        if service != self.service:
            return False
        caller = ipaddress.ip_address(address)
        if self.addresses and not any(caller in _network(named) for named in self.addresses):
            return False
        return not self.color or color(address) == self.color


def parse_fault(body: dict[str, Any]) -> AwsFault:
    """A fault from its JSON; raises FaultError."""
    fields = set(AwsFault.__dataclass_fields__)
    if unknown := sorted(body.keys() - fields):
        raise FaultError(f"field {unknown[0]!r} of a fault: allowed are {', '.join(sorted(fields))}")
    return AwsFault(
        service=Service(_one_of("service", Service, body.get("service"))),
        mode=Mode(_one_of("mode", Mode, body.get("mode"))),
        seconds=_number(body.get("seconds", 0)),
        addresses=_texts(body.get("addresses", [])),
        color=str(body.get("color", "")),
    )


@dataclass(kw_only=True)
class _ActiveFault:
    fault: AwsFault
    requests: int = 0
    first: datetime | None = None

    def count(self) -> None:
        self.requests += 1
        self.first = self.first or datetime.now(UTC)


@dataclass(kw_only=True)
class FaultInjector:
    """Active faults. `color` returns the color of the instance at an address, or an empty text."""

    color: Callable[[str], str]
    _active: list[_ActiveFault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, fault: AwsFault) -> None:
        """Replaces one of the same scope."""
        with self._lock:
            others = [active for active in self._active if active.fault.scope != fault.scope]
            self._active = [*others, _ActiveFault(fault=fault)]

    def clear(self) -> None:
        """Delayed responses are sent at once."""
        with self._lock:
            self._active = []

    def apply_to(self, service: str, address: str) -> list[AwsFault]:
        """Faults for this request, which each of them counts."""
        if not self._active:
            return []
        matching = [active for active in self._active if active.fault.matches(service, address, self.color)]
        with self._lock:
            for active in matching:
                active.count()
        return [active.fault for active in matching]

    def hold(self, fault: AwsFault) -> None:
        """Returns when the slow fault's seconds are over, or it is cleared or replaced."""
        until = time.monotonic() + fault.seconds
        while (left := until - time.monotonic()) > 0 and any(active.fault == fault for active in self._active):
            time.sleep(min(left, HOLD_POLL_S))

    def as_rows(self) -> list[dict[str, Any]]:
        """Each with `requests` (number affected) and `first` (time of the first, or None)."""
        return [
            {
                "service": str(active.fault.service),
                "mode": str(active.fault.mode),
                "seconds": active.fault.seconds,
                "addresses": list(active.fault.addresses),
                "color": active.fault.color,
                "requests": active.requests,
                "first": active.first.isoformat() if active.first else None,
            }
            for active in self._active
        ]


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise FaultError(f"address {text!r}: allowed are addresses and networks as 10.0.0.0/16") from error


def _one_of(key: str, allowed: type[StrEnum], value: object) -> str:
    if value not in list(allowed):
        raise FaultError(f"{key}={value!r}: allowed are {', '.join(allowed)}")
    return str(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FaultError(f"seconds={value!r}: allowed is a number")
    return float(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, Iterable) or isinstance(value, str) or not all(isinstance(item, str) for item in value):
        raise FaultError(f"addresses={value!r}: allowed is a list of addresses")
    return tuple(str(item) for item in value)

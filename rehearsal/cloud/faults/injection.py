"""What of the emulated AWS shall fail, and for whom: set and cleared while it runs."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

MOST_SECONDS = 86_400.0  # of a slow answer, or between two clocks: more is a mistyped number
PATIENCE_S = 0.2  # how soon a held answer notices that its fault is over


class Service(StrEnum):
    """By the names under which requests to them are signed, as `monitoring` for CloudWatch."""

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
    """`down` answers 503, `slow` late, `cut` half of a body, `skewed` by a clock that is off."""

    DOWN = "down"
    SLOW = "slow"
    CUT = "cut"
    SKEWED = "skewed"


class FaultError(ValueError):
    """A fault that can't be played; the message names the value and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`seconds`: of `slow`, how late; of `skewed`, how far AWS's clock is ahead of its callers' (negative: behind).

    `addresses` (or networks, as 10.0.0.0/16) and `color` (of the calling machine) narrow down who is hit; empty: all.
    """

    service: Service
    mode: Mode
    seconds: float = 0.0
    addresses: tuple[str, ...] = ()
    color: str = ""

    def __post_init__(self) -> None:
        if self.mode in (Mode.SLOW, Mode.SKEWED):
            least = 0.0 if self.mode is Mode.SLOW else -MOST_SECONDS
            if not least <= self.seconds <= MOST_SECONDS or self.seconds == 0:
                raise FaultError(
                    f"seconds={self.seconds:g} of {self.mode}: {least:g} to {MOST_SECONDS:g} is allowed, not 0"
                )
        elif self.seconds:
            raise FaultError(f"seconds={self.seconds:g} of {self.mode}: only slow and skewed take seconds")
        for address in self.addresses:
            _network(address)

    @property
    def victims(self) -> tuple[object, ...]:
        return self.service, self.addresses, self.color

    def hits(self, service: str, address: str, color: Callable[[str], str]) -> bool:
        if service != self.service:
            return False
        caller = ipaddress.ip_address(address)
        if self.addresses and not any(caller in _network(named) for named in self.addresses):
            return False
        return not self.color or color(address) == self.color


def fault_of(body: dict[str, Any]) -> Fault:
    """A fault from its JSON; raises FaultError."""
    fields = set(Fault.__dataclass_fields__)
    if unknown := sorted(body.keys() - fields):
        raise FaultError(f"field {unknown[0]!r} of a fault: {', '.join(sorted(fields))} are what there is")
    return Fault(
        service=Service(_one_of("service", Service, body.get("service"))),
        mode=Mode(_one_of("mode", Mode, body.get("mode"))),
        seconds=_number(body.get("seconds", 0)),
        addresses=_texts(body.get("addresses", [])),
        color=str(body.get("color", "")),
    )


@dataclass(kw_only=True)
class _Played:
    fault: Fault
    requests: int = 0
    first: datetime | None = None

    def count(self) -> None:
        self.requests += 1
        self.first = self.first or datetime.now(UTC)


@dataclass(kw_only=True)
class Faults:
    """`color` tells of an address the color of the machine there, or an empty text."""

    color: Callable[[str], str]
    _played: list[_Played] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, fault: Fault) -> None:
        """In the place of one of the same service that hits the same callers."""
        with self._lock:
            kept = [played for played in self._played if played.fault.victims != fault.victims]
            self._played = [*kept, _Played(fault=fault)]

    def clear(self) -> None:
        """Answers that are held back go out at once."""
        with self._lock:
            self._played = []

    def hitting(self, service: str, address: str) -> list[Fault]:
        """Those that this request is to suffer, and which count it."""
        if not self._played:
            return []
        found = [played for played in self._played if played.fault.hits(service, address, self.color)]
        with self._lock:
            for played in found:
                played.count()
        return [played.fault for played in found]

    def hold(self, fault: Fault) -> None:
        """Returns when the slow fault's seconds are over, or it is cleared or replaced."""
        until = time.monotonic() + fault.seconds
        while (left := until - time.monotonic()) > 0 and any(each.fault == fault for each in self._played):
            time.sleep(min(left, PATIENCE_S))

    def told(self) -> list[dict[str, Any]]:
        """Each with `requests`, how many it has hit, and `first`, when the first came, or None."""
        return [
            {
                "service": str(played.fault.service),
                "mode": str(played.fault.mode),
                "seconds": played.fault.seconds,
                "addresses": list(played.fault.addresses),
                "color": played.fault.color,
                "requests": played.requests,
                "first": played.first.isoformat() if played.first else None,
            }
            for played in self._played
        ]


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise FaultError(f"address {text!r}: allowed are addresses and networks as 10.0.0.0/16") from error


def _one_of(key: str, allowed: type[StrEnum], value: object) -> str:
    if value not in list(allowed):
        raise FaultError(f"{key}={value!r}: {', '.join(allowed)} are what there is")
    return str(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FaultError(f"seconds={value!r}: a number is needed")
    return float(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, Iterable) or isinstance(value, str) or not all(isinstance(each, str) for each in value):
        raise FaultError(f"addresses={value!r}: a list of addresses is needed")
    return tuple(str(each) for each in value)

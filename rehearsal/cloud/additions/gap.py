"""Gaps between the emulator and AWS, as the report lists them, and the context of the additions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One action that moto lacks or does unlike AWS, or that the rehearsal leaves out on purpose."""

    service: str
    action: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class EmulatorContext:
    """Addresses of the load balancer and of the registry, and console output, for the emulated account.

    With an empty value moto's own response stays. `console` returns the console output of an instance id.
    """

    dns_name: str = ""
    registry: str = ""
    registry_password: str = ""
    console: Callable[[str], str] = lambda _instance: ""

"""The words in which an addition says what it adds and why; the rehearsal's report shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One thing that moto lacks or answers unlike AWS, or that the rehearsal leaves out on purpose."""

    service: str
    action: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the emulated account can't know by itself: where its load balancer and registry really are.

    An empty value leaves moto's own answer. `console` gives what an instance's machine wrote to its console.
    """

    dns_name: str = ""
    registry: str = ""
    registry_password: str = ""
    console: Callable[[str], str] = lambda _instance: ""

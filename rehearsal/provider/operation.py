"""Timeout and cancellation of a provider call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


class CancelledError(Exception):
    """Pulumi cancelled the update while a handler waited."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One Create, Update or Delete: `timeout_s` is the program's custom timeout, 0 for none."""

    timeout_s: float = 0.0
    cancelled: threading.Event = field(default_factory=threading.Event)


_CURRENT: ContextVar[Operation] = ContextVar("operation")


@contextmanager
def performing(operation: Operation) -> Iterator[None]:
    token = _CURRENT.set(operation)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current() -> Operation:
    return _CURRENT.get(Operation())


def until(reason: Callable[[], str | None], *, what: str, timeout_s: float, pause_s: float = 0.2) -> None:
    """Poll until `reason` returns None. A custom timeout of the resource replaces `timeout_s`.

    Raises TimeoutError with the last reason, or CancelledError.
    """
    operation = current()
    timeout = operation.timeout_s or timeout_s
    deadline = time.monotonic() + timeout
    while (last := reason()) is not None:
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}: {last}")
        if operation.cancelled.wait(pause_s):
            raise CancelledError(f"cancelled while waiting for {what}: {last}")

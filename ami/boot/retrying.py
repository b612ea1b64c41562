"""Retries with backoff until a deadline; then the last error is raised."""

import logging
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

LOG = logging.getLogger("boot")
T = TypeVar("T")


class Clock(Protocol):
    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


class Deadline:
    """A monotonic point in time, optionally within another: a step's deadline is never later than the boot's."""

    def __init__(self, seconds: float, *, within: "Deadline | None" = None, clock: Clock = time) -> None:
        self.clock = clock
        self.at = clock.monotonic() + seconds
        if within is not None:
            self.at = min(self.at, within.at)

    def remaining(self) -> float:
        return max(0.0, self.at - self.clock.monotonic())

    @property
    def passed(self) -> bool:
        return self.remaining() == 0.0


class TransientError(Exception):
    """A failure that a retry may get past."""


def is_transient(error: Exception) -> bool:
    return isinstance(error, TransientError)


def retry(
    action: Callable[[], T],
    *,
    what: str,
    deadline: Deadline,
    is_retryable: Callable[[Exception], bool] = is_transient,
    attempts: int = 1000,
) -> T:
    """Returns the action's result. Pauses 0.2 s, then twice as long each time, 5 s at most; never past the deadline."""
    pause = 0.2
    for attempt in range(1, attempts + 1):
        try:
            return action()
        except Exception as error:
            if not is_retryable(error) or attempt == attempts or deadline.remaining() <= pause:
                raise
            LOG.info("retry %s attempt=%d pause=%.1f error=%s", what, attempt, pause, error)
        deadline.clock.sleep(pause)
        pause = min(pause * 2, 5.0)
    raise AssertionError("unreachable: the last attempt returns or raises")

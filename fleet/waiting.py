"""Waiting for a state of the world: a question is asked until it has no objection left, or a deadline passes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from ami.boot.cloud import is_retryable

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


class Clock(Protocol):
    """What waiting needs of time; tests bring one that doesn't take any."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


class TimedOut(Exception):  # noqa: N818 - reads as the sentence that its message is
    """What was waited for didn't come in time; the message carries the last reason."""

    def __init__(self, what: str, deadline_s: float, reason: str) -> None:
        super().__init__(f"waited {deadline_s:g} s for {what}: {reason}")
        self.reason = reason


def patient(ask: Callable[[], str | None]) -> Callable[[], str | None]:
    """The same question; that AWS can't be asked now is a reason to go on waiting, and none to give up."""

    def asked() -> str | None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return ask()
        except (ClientError, BotoCoreError) as error:
            if not is_retryable(error):
                raise
            return f"AWS can't be asked: {error}"

    return asked


def wait_until(
    reason_fn: Callable[[], str | None],
    *,
    what: str,
    deadline_s: float,
    clock: Clock = time,
    in_a_row: int = 1,
) -> None:
    """Return once `reason_fn` answered None `in_a_row` times running; a string from it says why not yet."""
    end = clock.monotonic() + deadline_s
    pause, passed = FIRST_PAUSE_S, 0
    while True:
        reason = reason_fn()
        passed = passed + 1 if reason is None else 0
        if passed >= in_a_row:
            return
        left = end - clock.monotonic()
        if left <= 0:
            raise TimedOut(what, deadline_s, reason or f"only {passed} of {in_a_row} good answers in a row")
        # A good answer is followed up at once: only objections are worth a growing pause.
        pause = FIRST_PAUSE_S if reason is None else min(pause * 1.5, LONGEST_PAUSE_S)
        clock.sleep(min(pause, left))

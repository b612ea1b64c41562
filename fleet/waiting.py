"""Polling until a condition holds or a deadline passes."""

from __future__ import annotations

import time
from collections.abc import Callable

from ami.boot.cloud import is_retryable
from ami.boot.retrying import Clock

FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 2.0


class TimedOut(Exception):  # noqa: N818 - reads as the sentence that its message is
    """The condition did not hold before the deadline; the message contains the last reason."""

    def __init__(self, what: str, deadline_s: float, reason: str) -> None:
        super().__init__(f"waited {deadline_s:g} s for {what}: {reason}")
        self.reason = reason


def tolerate_transient_errors(reason_fn: Callable[[], str | None]) -> Callable[[], str | None]:
    """The same function, which returns transient AWS errors as a reason to go on waiting."""

    def tolerant() -> str | None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return reason_fn()
        except (ClientError, BotoCoreError) as error:
            if not is_retryable(error):
                raise
            return f"AWS can't be reached: {error}"

    return tolerant


def wait_until(
    reason_fn: Callable[[], str | None],
    *,
    what: str,
    deadline_s: float,
    clock: Clock = time,
    in_a_row: int = 1,
) -> None:
    """Return once `reason_fn` has returned None `in_a_row` times; a string from it says why not yet."""
    end = clock.monotonic() + deadline_s
    pause, passed = FIRST_PAUSE_S, 0
    while True:
        reason = reason_fn()
        passed = passed + 1 if reason is None else 0
        if passed >= in_a_row:
            return
        left = end - clock.monotonic()
        if left <= 0:
            raise TimedOut(what, deadline_s, reason or f"only {passed} of {in_a_row} successes in a row")
        # Retry soon after a success; back off after failures.
        pause = FIRST_PAUSE_S if reason is None else min(pause * 1.5, MAX_PAUSE_S)
        clock.sleep(min(pause, left))

from __future__ import annotations

import pytest

from ami.boot.retrying import Deadline, TransientError, retry


class Clock:
    """Time that passes only during sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.pauses.append(seconds)
        self.now += seconds


class Flaky:
    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_a_transient_failure_is_retried_after_growing_pauses() -> None:
    clock = Clock()
    action = Flaky(*(TransientError(str(number)) for number in range(7)))
    assert retry(action, what="it", deadline=Deadline(60, clock=clock)) == "done"
    assert clock.pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_permanent_failure_is_raised_at_once() -> None:
    clock = Clock()
    action = Flaky(ValueError("wrong"), ValueError("never seen"))
    with pytest.raises(ValueError, match="wrong"):
        retry(action, what="it", deadline=Deadline(60, clock=clock))
    assert action.calls == 1


def test_the_last_error_is_raised_at_the_deadline_and_no_sleep_passes_it() -> None:
    clock = Clock()
    action = Flaky(*(TransientError(f"try {number}") for number in range(1, 100)))
    with pytest.raises(TransientError, match="try 5"):
        retry(action, what="it", deadline=Deadline(4, clock=clock))
    assert clock.now <= 104


def test_attempts_can_be_counted() -> None:
    action = Flaky(*(TransientError(f"try {number}") for number in range(1, 100)))
    with pytest.raises(TransientError, match="try 3"):
        retry(action, what="it", deadline=Deadline(1000, clock=Clock()), attempts=3)


def test_a_deadline_never_outlives_the_one_around_it() -> None:
    clock = Clock()
    total = Deadline(10, clock=clock)
    step = Deadline(60, within=total, clock=clock)
    assert step.remaining() == 10
    clock.sleep(11)
    assert step.passed
    assert step.remaining() == 0

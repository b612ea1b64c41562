from __future__ import annotations

import pytest

from fleet.waiting import MAX_PAUSE_S, TimedOut, tolerate_transient_errors, wait_until


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_asks_until_no_reason_is_left() -> None:
    clock, answers = Clock(), iter(["no machine", "1 of 2", None])
    wait_until(lambda: next(answers), what="blue", deadline_s=10, clock=clock)
    assert len(clock.pauses) == 2


def test_what_is_ready_costs_no_pause() -> None:
    clock = Clock()
    wait_until(lambda: None, what="blue", deadline_s=0, clock=clock)
    assert clock.pauses == []


def test_the_error_tells_the_last_reason() -> None:
    clock, answers = Clock(), iter(["no machine", *["1 of 2 healthy"] * 99])
    with pytest.raises(TimedOut, match="waited 10 s for blue: 1 of 2 healthy"):
        wait_until(lambda: next(answers), what="blue", deadline_s=10, clock=clock)
    assert clock.now == pytest.approx(110)


def test_pauses_grow_up_to_a_cap() -> None:
    clock = Clock()
    with pytest.raises(TimedOut):
        wait_until(lambda: "no", what="blue", deadline_s=60, clock=clock)
    assert clock.pauses[0] < clock.pauses[1] < clock.pauses[2]
    assert max(clock.pauses) == MAX_PAUSE_S


def test_good_answers_must_come_in_a_row() -> None:
    answers = [None, "failed again", None, None, None]
    asked = iter(answers)
    wait_until(lambda: next(asked), what="blue", deadline_s=10, clock=Clock(), in_a_row=3)
    with pytest.raises(StopIteration):
        next(asked)


def test_too_few_good_answers_in_a_row_are_told() -> None:
    with pytest.raises(TimedOut, match="only 1 of 3 successes in a row"):
        wait_until(lambda: None, what="blue", deadline_s=0, clock=Clock(), in_a_row=3)


def test_aws_that_is_away_for_a_moment_is_asked_again() -> None:
    from botocore.exceptions import ClientError, EndpointConnectionError

    def refused(code: str) -> ClientError:
        return ClientError({"Error": {"Code": code, "Message": "no"}}, "Describe")

    clock, errors = Clock(), [EndpointConnectionError(endpoint_url="https://a"), refused("Throttling")]

    def ask() -> str | None:
        if errors:
            raise errors.pop()
        return None

    wait_until(tolerate_transient_errors(ask), what="blue", deadline_s=10, clock=clock)
    assert len(clock.pauses) == 2
    errors.append(refused("AccessDenied"))
    with pytest.raises(ClientError, match="AccessDenied"):
        wait_until(tolerate_transient_errors(ask), what="blue", deadline_s=10, clock=clock)
    errors += [refused("Throttling")] * 50
    with pytest.raises(TimedOut, match=r"AWS can't be reached: .*Throttling"):
        wait_until(tolerate_transient_errors(ask), what="blue", deadline_s=1, clock=clock)

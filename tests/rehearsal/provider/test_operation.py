"""Waits of a provider call: polling, timeout, cancellation."""

from __future__ import annotations

import threading

import pytest

from rehearsal.provider.operation import CancelledError, Operation, current, performing, until


def test_a_wait_without_a_reason_returns_at_once() -> None:
    until(lambda: None, what="a stream", timeout_s=0)


def test_a_wait_polls_until_there_is_no_reason_left() -> None:
    reasons = iter(["it is CREATING", "it is CREATING", None])
    until(lambda: next(reasons), what="a stream", timeout_s=60, pause_s=0)
    assert list(reasons) == []


def test_a_wait_times_out_with_the_last_reason() -> None:
    with pytest.raises(TimeoutError, match=r"^waited 0\.01 s for a stream: it is CREATING$"):
        until(lambda: "it is CREATING", what="a stream", timeout_s=0.01, pause_s=0)


def test_a_custom_timeout_replaces_the_waits_own() -> None:
    with (
        performing(Operation(timeout_s=0.01)),
        pytest.raises(TimeoutError, match=r"^waited 0\.01 s for a stream: it is CREATING$"),
    ):
        until(lambda: "it is CREATING", what="a stream", timeout_s=60, pause_s=0)


def test_a_wait_ends_when_its_operation_is_cancelled() -> None:
    operation = Operation()
    operation.cancelled.set()
    with (
        performing(operation),
        pytest.raises(CancelledError, match=r"^cancelled while waiting for a stream: it is new$"),
    ):
        until(lambda: "it is new", what="a stream", timeout_s=60, pause_s=60)


def test_each_call_has_its_own_operation() -> None:
    found: list[Operation] = []
    with performing(Operation(timeout_s=1)):
        other = threading.Thread(target=lambda: found.append(current()))
        other.start()
        other.join()
        assert current().timeout_s == 1
    assert [each.timeout_s for each in (*found, current())] == [0, 0]

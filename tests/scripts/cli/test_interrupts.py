from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from scripts.cli.interrupts import SIGNALS, defer_signals, handle_sigterm, uninterruptible


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_cancel_and_a_closed_terminal_are_like_ctrl_c(number: signal.Signals) -> None:
    handle_sigterm()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


@pytest.mark.parametrize("number", SIGNALS)
def test_what_runs_comes_to_its_end_first(number: signal.Signals) -> None:
    handle_sigterm()
    done: list[str] = []

    def work() -> None:
        signal.raise_signal(number)
        done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        defer_signals(work)
    assert done == ["all of it"]


@pytest.mark.parametrize("number", SIGNALS)
def test_what_puts_things_right_is_not_cut_short(number: signal.Signals) -> None:
    handle_sigterm()
    with uninterruptible():
        signal.raise_signal(number)


def test_what_nohup_has_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    handle_sigterm()
    signal.raise_signal(signal.SIGHUP)
    defer_signals(lambda: signal.raise_signal(signal.SIGHUP))
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

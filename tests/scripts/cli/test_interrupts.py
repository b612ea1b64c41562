from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from scripts.cli.interrupts import SIGNALS, shielded, terminate_like_ctrl_c, to_the_end


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_cancel_and_a_closed_terminal_are_like_ctrl_c(number: signal.Signals) -> None:
    terminate_like_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


@pytest.mark.parametrize("number", SIGNALS)
def test_what_runs_comes_to_its_end_first(number: signal.Signals) -> None:
    terminate_like_ctrl_c()
    done: list[str] = []

    def work() -> None:
        signal.raise_signal(number)
        done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        to_the_end(work)
    assert done == ["all of it"]


@pytest.mark.parametrize("number", SIGNALS)
def test_what_puts_things_right_is_not_cut_short(number: signal.Signals) -> None:
    terminate_like_ctrl_c()
    with shielded():
        signal.raise_signal(number)


def test_what_nohup_has_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    terminate_like_ctrl_c()
    signal.raise_signal(signal.SIGHUP)
    to_the_end(lambda: signal.raise_signal(signal.SIGHUP))
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

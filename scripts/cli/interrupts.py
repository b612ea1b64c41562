"""Signal handling: Ctrl-C, SIGTERM and a closed terminal end a command only between its steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def handle_sigterm() -> None:
    """Handle SIGTERM, which CI sends on cancel, and a closed terminal's SIGHUP like Ctrl-C."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for number in _handled_signals():
            if number != signal.SIGINT:
                signal.signal(number, interrupt)


def _handled_signals() -> list[signal.Signals]:
    """All but those that the parent process set to be ignored, as `nohup` does."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def uninterruptible() -> Iterator[None]:
    """Ignore further signals while a cleanup runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _handled_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def defer_signals(work: Callable[[], T]) -> T:
    """Run `work` to its end and raise an interrupt only then, so that nothing goes on in the background.

    A Ctrl-C in a terminal reaches the engine's own process too, which shuts down cleanly.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    received = list[int]()
    before = {
        number: signal.signal(number, lambda number, _frame: received.append(number)) for number in _handled_signals()
    }
    try:
        result = work()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise KeyboardInterrupt
    return result

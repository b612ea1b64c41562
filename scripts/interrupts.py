"""Ctrl-C and SIGTERM end a script in order: what runs comes to its end, what must be put back is put back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def terminate_like_ctrl_c() -> None:
    """Let SIGTERM, which CI sends on cancel, take the same way out as Ctrl-C."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)


@contextmanager
def shielded() -> Iterator[None]:
    """Further signals don't cut short what puts things right."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def to_the_end(work: Callable[[], T]) -> T:
    """Do `work` whole: an interrupt takes effect only when it is over, so that nothing goes on behind our back.

    A Ctrl-C in a terminal reaches the engine's own process too, which ends in order by itself.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    came = list[int]()
    before = {number: signal.signal(number, lambda given, _frame: came.append(given)) for number in SIGNALS}
    try:
        done = work()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
    return done

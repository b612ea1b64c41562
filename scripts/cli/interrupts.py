"""Ctrl-C, SIGTERM and a closed terminal end a script in order: what runs comes to its end, and is put right."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def terminate_like_ctrl_c() -> None:
    """Let SIGTERM, which CI sends on cancel, and a closed terminal's SIGHUP take the same way out as Ctrl-C."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for number in _heeded():
            if number != signal.SIGINT:
                signal.signal(number, interrupt)


def _heeded() -> list[signal.Signals]:
    """Without those that whoever started this script has it ignore, as `nohup` does."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def shielded() -> Iterator[None]:
    """Further signals don't cut short what puts things right."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _heeded()}
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
    before = {number: signal.signal(number, lambda given, _frame: came.append(given)) for number in _heeded()}
    try:
        done = work()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
    return done

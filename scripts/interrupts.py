"""Ctrl-C and SIGTERM end a script in order: what runs comes to its end, what must be put back is put back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


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
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def to_the_end(work: Callable[[], T]) -> T:
    """Run `work`; an interrupt waits for its end before it goes on, so that nothing still changes behind our back."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        try:
            return running.result()
        except KeyboardInterrupt:
            with shielded():
                failed = running.exception()
            # What went wrong inside must be dealt with all the same.
            if failed:
                raise failed from None
            raise

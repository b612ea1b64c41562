"""Requests of a watcher's own, a few a second, so that a bad release shows within seconds of its first bad answer."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType

import requests
from urllib3.exceptions import HTTPError

from fleet.error_budget import RequestCounts

PER_SECOND = 5.0
TIMEOUT_S = 5.0
# One alone would be held up by an app that hangs, and meet too few answers to judge it by.
AT_ONCE = 10
# What still waits for an answer when all is over is not waited for: users may have to go back.
FAREWELL_S = 0.5
CHUNK = 1024


class Probes:
    """GETs from threads of their own, for as long as the `with` block lasts. A 5xx, or no answer, is an error."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url, self._headers = url, dict(headers)
        self._over, self._lock = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=self._ask, args=(number / PER_SECOND,), name=f"probes-{number}", daemon=True)
            for number in range(AT_ONCE)
        ]
        self._by_minute: dict[datetime, RequestCounts] = defaultdict(RequestCounts)
        self.answers = RequestCounts()
        self.first_error: float | None = None
        """When, by `time.monotonic()`."""

    def __enter__(self) -> Probes:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        end = time.monotonic() + FAREWELL_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def in_minute(self, minute: datetime) -> RequestCounts:
        """What the balancer has answered in this minute, and counts among the users' requests; errors are 5xx."""
        with self._lock:
            return self._by_minute.get(minute, RequestCounts())

    def count(self, status: int | None) -> None:
        """Of an answer; None: there was none."""
        failed = status is None or status >= 500
        with self._lock:
            if failed and self.first_error is None:
                self.first_error = time.monotonic()
            self.answers += RequestCounts(requests=1, errors=int(failed))
            if status is not None:
                self._by_minute[_minute()] += RequestCounts(requests=1, errors=int(failed))

    def beside(self) -> None:
        """A request of the watcher's that is no probe: the balancer counts it, too."""
        with self._lock:
            self._by_minute[_minute()] += RequestCounts(requests=1)

    def _ask(self, pause: float) -> None:
        with requests.Session() as session:
            session.headers.update(self._headers)
            while not self._over.wait(pause):
                began = time.monotonic()
                self.count(_status(session, self._url))
                pause = max(0.0, AT_ONCE / PER_SECOND - (time.monotonic() - began))


def _minute() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0)


def _status(session: requests.Session, url: str) -> int | None:
    """Of a whole answer; None where it never came, or broke off."""
    end = time.monotonic() + TIMEOUT_S
    try:
        with session.get(url, timeout=TIMEOUT_S, allow_redirects=False, stream=True) as answer:
            for _ in answer.iter_content(CHUNK):
                if time.monotonic() > end:
                    break  # a page that goes on and on is none that fails
            return answer.status_code
    # Not only its own errors: some of what lies below comes through, and a thread that ends would see nothing more.
    except (requests.RequestException, HTTPError, OSError, ValueError):
        return None

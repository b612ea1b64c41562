"""Probes of a release with traffic: a few requests a second, so that a failure shows within seconds."""

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
# Threads: an app that hangs would hold up a single one, and leave too few responses to decide by.
CONCURRENCY = 10
# Requests that are still open at the end are not waited for: a rollback may be due.
SHUTDOWN_S = 0.5
CHUNK = 1024


class Probes:
    """GET requests from background threads while the `with` block runs. A 5xx, or no response, is an error."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url, self._headers = url, dict(headers)
        self._over, self._lock = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=self._probe, args=(number / PER_SECOND,), name=f"probes-{number}", daemon=True)
            for number in range(CONCURRENCY)
        ]
        self._by_minute: dict[datetime, RequestCounts] = defaultdict(RequestCounts)
        self.answers = RequestCounts()
        self.first_error: float | None = None
        """Its time, by `time.monotonic()`."""

    def __enter__(self) -> Probes:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        end = time.monotonic() + SHUTDOWN_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def in_minute(self, minute: datetime) -> RequestCounts:
        """Own requests answered in this minute, which the load balancer's metrics count too; errors are 5xx."""
        with self._lock:
            return self._by_minute.get(minute, RequestCounts())

    def count(self, status: int | None) -> None:
        """Count a response by its status; None: there was none."""
        failed = status is None or status >= 500
        with self._lock:
            if failed and self.first_error is None:
                self.first_error = time.monotonic()
            self.answers += RequestCounts(requests=1, errors=int(failed))
            if status is not None:
                self._by_minute[_minute()] += RequestCounts(requests=1, errors=int(failed))

    def count_own_request(self) -> None:
        """Count a request of the bake that is no probe: the load balancer's metrics have it too."""
        with self._lock:
            self._by_minute[_minute()] += RequestCounts(requests=1)

    def _probe(self, pause: float) -> None:
        with requests.Session() as session:
            session.headers.update(self._headers)
            while not self._over.wait(pause):
                began = time.monotonic()
                self.count(_status(session, self._url))
                pause = max(0.0, CONCURRENCY / PER_SECOND - (time.monotonic() - began))


def _minute() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0)


def _status(session: requests.Session, url: str) -> int | None:
    """Status of a complete response; None where it never came, or broke off."""
    end = time.monotonic() + TIMEOUT_S
    try:
        with session.get(url, timeout=TIMEOUT_S, allow_redirects=False, stream=True) as response:
            for _ in response.iter_content(CHUNK):
                if time.monotonic() > end:
                    break  # a response that streams without end is no failure
            return response.status_code
    # Not only the errors of requests: some of urllib3 come through, and a thread that ends would probe no more.
    except (requests.RequestException, HTTPError, OSError, ValueError):
        return None

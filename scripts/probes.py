"""Requests of a watcher's own, a few a second, so that a bad release shows within seconds of its first bad answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from types import TracebackType

import requests

from checks.budget import Answers

PER_SECOND = 5.0
TIMEOUT_S = 5.0


class Probes:
    """GETs from a thread of its own, for as long as the `with` block lasts. A 5xx, or no answer, is an error."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url, self._headers = url, dict(headers)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="probes", daemon=True)
        self.answers = Answers()
        self.first_error: float | None = None
        """When, by `time.monotonic()`."""

    def __enter__(self) -> Probes:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(TIMEOUT_S + 1)

    def _ask(self) -> None:
        with requests.Session() as session:
            session.headers.update(self._headers)
            while not self._over.is_set():
                began = time.monotonic()
                self._count(failed=_fails(session, self._url))
                self._over.wait(max(0.0, 1 / PER_SECOND - (time.monotonic() - began)))

    def _count(self, *, failed: bool) -> None:
        if failed and self.first_error is None:
            self.first_error = time.monotonic()
        self.answers += Answers(requests=1, errors=int(failed))


def _fails(session: requests.Session, url: str) -> bool:
    try:
        return session.get(url, timeout=TIMEOUT_S, allow_redirects=False).status_code >= 500
    except requests.RequestException:
        return True

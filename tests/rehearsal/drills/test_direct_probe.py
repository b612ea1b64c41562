"""Direct probe: no retries, and every error with its time."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from rehearsal.drills.direct_probe import DirectProbe


class _AppHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.requested.set()  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class AppServer(ThreadingHTTPServer):
    def __init__(self, port: int = 0, status: int = 200) -> None:
        super().__init__(("127.0.0.1", port), _AppHandler)
        self.status, self.requested = status, Event()
        self.port = self.server_address[1]
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


@pytest.fixture
def app() -> Iterator[AppServer]:
    server = AppServer()
    yield server
    server.close()


def test_an_available_app_causes_no_error(app: AppServer) -> None:
    with DirectProbe("127.0.0.1", app.port) as probe:
        assert app.requested.wait(5)
    assert probe.requests >= 1
    assert probe.errors == []


def test_a_short_outage_is_detected() -> None:
    before = AppServer()
    with DirectProbe("127.0.0.1", before.port) as probe:
        assert before.requested.wait(5)
        before.close()
        wait_for_error(probe)
        after = AppServer(before.port)
        assert after.requested.wait(5)
    after.close()
    assert 0 < len(probe.errors) < probe.requests
    assert probe.errors[0].startswith("after ")


def test_another_status_than_200_is_an_error() -> None:
    failing = AppServer(status=503)
    with DirectProbe("127.0.0.1", failing.port) as probe:
        wait_for_error(probe)
    failing.close()
    assert probe.errors[0].endswith("answered 503")


def wait_for_error(probe: DirectProbe) -> None:
    """Returns at the first error; the test's own time limit is the deadline."""
    while not probe.errors:
        Event().wait(0.005)

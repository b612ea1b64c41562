"""What is asked at one address is asked once, and every refusal is kept with its time."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from rehearsal.drills.direct_probe import Knocks


class _Door(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.set()  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class Door(ThreadingHTTPServer):
    def __init__(self, port: int = 0, status: int = 200) -> None:
        super().__init__(("127.0.0.1", port), _Door)
        self.status, self.asked = status, Event()
        self.port = self.server_address[1]
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


@pytest.fixture
def door() -> Iterator[Door]:
    opened = Door()
    yield opened
    opened.close()


def test_a_door_that_is_open_all_the_while_leaves_no_error(door: Door) -> None:
    with Knocks("127.0.0.1", door.port) as knocks:
        assert door.asked.wait(5)
    assert knocks.asked >= 1
    assert knocks.errors == []


def test_a_door_that_is_shut_for_a_moment_is_found_out() -> None:
    before = Door()
    with Knocks("127.0.0.1", before.port) as knocks:
        assert before.asked.wait(5)
        before.close()
        refused(knocks)
        after = Door(before.port)
        assert after.asked.wait(5)
    after.close()
    assert 0 < len(knocks.errors) < knocks.asked
    assert knocks.errors[0].startswith("after ")


def test_another_answer_than_200_is_an_error() -> None:
    failing = Door(status=503)
    with Knocks("127.0.0.1", failing.port) as knocks:
        refused(knocks)
    failing.close()
    assert knocks.errors[0].endswith("answered 503")


def refused(knocks: Knocks) -> None:
    """Returns at the first error; the test's own time limit is the deadline."""
    while not knocks.errors:
        Event().wait(0.005)

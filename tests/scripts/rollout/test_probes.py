"""Probes against servers that answer, break off, never end or are not there."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import pytest
import requests

from fleet.error_budget import RequestCounts
from scripts.rollout import probes
from scripts.rollout.probes import Probes


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Each connection is read once and then answered by `answer`, which leaves it to be closed."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=one, args=(listening.accept()[0],), daemon=True).start()

        def one(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.recv(65536)
                answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        listening.shutdown(socket.SHUT_RDWR)


def status(url: str) -> int | None:
    with requests.Session() as session:
        return probes._status(session, url)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 302),
        (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno", 500),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbroken off", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", None),
        (b"\x00\xff nonsense", None),
        (b"", None),
    ],
)
def test_an_answer_counts_when_it_is_whole(answer: bytes, told: int | None) -> None:
    with server(lambda connection: connection.sendall(answer)) as url:
        assert status(url) == told


def test_a_page_that_goes_on_and_on_is_no_failure_and_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "TIMEOUT_S", 0.2)

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1\r\n.\r\n")
            time.sleep(0.01)

    with server(drip) as url:
        assert status(url) == 200


def test_an_address_that_is_none_is_a_failure() -> None:
    assert status("http://" + "x" * 70 + ".invalid/") is None
    assert status("http://[::1/") is None


def test_what_the_balancer_counts_is_told_by_minute() -> None:
    watching = Probes("http://127.0.0.1:1/", {})
    minutes = [datetime.now(UTC).replace(second=0, microsecond=0)]
    for told in (200, 404, 502, None):
        watching.count(told)
    watching.count_own_request()
    minutes.append(datetime.now(UTC).replace(second=0, microsecond=0))
    assert watching.answers == RequestCounts(requests=4, errors=2)
    # What had no answer may not have reached the balancer.
    counted = [watching.in_minute(minute) for minute in sorted(set(minutes))]
    assert sum(counted, RequestCounts()) == RequestCounts(requests=4, errors=1)


def test_the_end_does_not_wait_for_answers_that_never_come() -> None:
    over = threading.Event()

    def never(_: socket.socket) -> None:
        over.wait(30)

    with server(never) as url:
        with Probes(url, {}):
            time.sleep(0.1)
            began = time.monotonic()
        assert time.monotonic() - began < 2
        over.set()

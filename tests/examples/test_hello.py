from __future__ import annotations

import http.client
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from rehearsal.host.database import DatabaseServer
from rehearsal.host.sandbox import wait_until
from tests.examples.conftest import Freeze
from tests.examples.hello_process import Hello

Start = Callable[..., Hello]
Silent = tuple[str, socket.socket]
# The contract's 2 s for the database, and what a busy machine may add.
ANSWERED_WITHIN = 2.0 + 1.5
VISITED_WITHIN = 6.0 + 1.5  # longer than a health check
# The sessions that are not psql's own.
OTHERS = "FROM pg_stat_activity WHERE datname = 'hello' AND pid <> pg_backend_pid()"


def connections(listener: socket.socket) -> int:
    """Number of pending connections to the silent database."""
    count = 0
    listener.setblocking(False)
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def deep_failure(app: Hello) -> str | None:
    answer = app.deep()
    return None if answer.status_code == 200 else answer.text


def test_every_answer_names_release_and_color(hello: Start) -> None:
    app = hello(RELEASE="v7", COLOR="green", GREETING="Bonjour", ENVIRONMENT="dev")
    answer = app.get("/", {"Accept": "application/json"})
    assert answer.json() == {"greeting": "Bonjour", "release": "v7", "color": "green", "environment": "dev"}
    for path, status in (("/", 200), ("/health", 200), ("/health?deep=1", 200), ("/visits", 503), ("/nothing", 404)):
        answer = app.get(path)
        assert (answer.status_code, answer.headers["X-Release"], answer.headers["X-Color"]) == (status, "v7", "green")


def test_a_browser_gets_a_page_with_the_values_escaped(hello: Start) -> None:
    app = hello(GREETING="<script>", COLOR="'><script>")
    answer = app.get("/", {"Accept": "text/html,application/xhtml+xml"})
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "&lt;script&gt; from v1" in answer.text
    assert "<script>" not in answer.text


def test_shallow_health_and_the_start_leave_the_database_alone(hello: Start, silent_database: Silent) -> None:
    url, listener = silent_database
    app = hello(DATABASE_URL=url)
    for _ in range(5):
        answer = app.get("/health")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok", "release": "v1", "checks": {}})
    assert connections(listener) == 0
    app.deep()
    assert connections(listener) > 0


def test_deep_health_queries_the_database(hello: Start, database: DatabaseServer) -> None:
    answer = hello(DATABASE_URL=database.url).deep()
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "release": "v1", "checks": {"database": "ok"}})


def test_without_a_database_the_app_is_healthy_and_counts_no_visits(hello: Start) -> None:
    app = hello()
    answer = app.deep()
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "release": "v1", "checks": {}})
    visits = app.get("/visits")
    assert (visits.status_code, visits.json()) == (503, {"error": "DATABASE_URL is not set"})


def test_a_release_that_names_its_databases_host_needs_the_url(hello: Start) -> None:
    answer = hello(DATABASE_HOST="10.0.0.5").deep()
    assert answer.status_code == 503
    assert answer.json() == {"status": "failing", "release": "v1", "checks": {"database": "DATABASE_URL is not set"}}


def test_deep_health_gives_up_on_a_silent_database_after_two_seconds(hello: Start, silent_database: Silent) -> None:
    app = hello(DATABASE_URL=silent_database[0])
    started = time.monotonic()
    answer = app.deep()
    assert 1.9 < time.monotonic() - started < ANSWERED_WITHIN
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"database": "no answer within 2 s"}


@pytest.mark.parametrize("url", ["not a url", "postgresql://hello:secret@127.0.0.1:notaport/hello", "mysql://x/y"])
def test_a_malformed_database_url_is_a_failing_check_without_the_password(hello: Start, url: str) -> None:
    app = hello(DATABASE_URL=url, DATABASE_HOST="127.0.0.1")
    answer = app.deep()
    assert answer.status_code == 503
    assert "secret" not in answer.text + app.log.read_text()
    assert app.get("/").status_code == 200


def test_the_releases_own_database_host_replaces_the_one_in_the_url(hello: Start, database: DatabaseServer) -> None:
    wrong = hello(DATABASE_URL=database.url, DATABASE_HOST="127.0.0.2")
    assert wrong.deep().status_code == 503
    assert wrong.get("/health").status_code == 200
    right = hello(DATABASE_URL=database.url.replace("127.0.0.1", "127.0.0.2"), DATABASE_HOST="127.0.0.1")
    assert right.deep().status_code == 200


def test_visits_are_counted_by_release_through_a_bounded_pool(hello: Start, database: DatabaseServer) -> None:
    first, second = hello(RELEASE="c1", DATABASE_URL=database.url), hello(RELEASE="c2", DATABASE_URL=database.url)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: first.get("/visits"), range(60)))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["visits"] for answer in answers) == list(range(1, 61))
    assert second.get("/visits").json() == {"release": "c2", "visits": 1}
    open_now = database.query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = 'hello' AND pid <> pg_backend_pid()"
    )
    assert 1 <= int(open_now) <= 2 * 5


def test_broken_connections_are_replaced(hello: Start, database: DatabaseServer) -> None:
    app = hello(RELEASE="broken", DATABASE_URL=database.url)
    assert app.get("/visits").json()["visits"] == 1
    database.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'hello' AND pid <> pg_backend_pid()"
    )
    wait_until(
        lambda: None if app.deep().status_code == 200 else "the database check fails", what="the pool", deadline=5
    )
    assert app.get("/visits").json()["visits"] == 2


def test_an_outage_neither_hangs_the_app_nor_outlives_itself(
    hello: Start, database: DatabaseServer, frozen: Freeze
) -> None:
    app = hello(RELEASE="outage", DATABASE_URL=database.url)
    assert app.get("/visits").status_code == 200
    with frozen(), ThreadPoolExecutor(12) as pool:
        started = time.monotonic()
        deep = [pool.submit(app.get, "/health?deep=1") for _ in range(6)]
        visits = [pool.submit(app.get, "/visits") for _ in range(6)]
        quick = [app.get(path) for path in ("/", "/health") for _ in range(5)]
        assert time.monotonic() - started < 1.5
        assert {answer.status_code for answer in quick} == {200}
        assert {answer.result().status_code for answer in deep} == {503}
        assert time.monotonic() - started < ANSWERED_WITHIN
        assert {answer.result().status_code for answer in visits} == {503}
        assert time.monotonic() - started < VISITED_WITHIN
    wait_until(lambda: deep_failure(app), what="hello", deadline=5)
    assert app.get("/visits").status_code == 200


def test_sigterm_finishes_requests_in_flight_and_accepts_no_more(hello: Start, silent_database: Silent) -> None:
    url, listener = silent_database
    app = hello(DATABASE_URL=url)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(app.get, "/visits")
        connected = listener.accept()  # the app calls its database: the request is in flight while this is open
        app.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: not_refused_reason(app.port), what="the listener to close", deadline=1.5)
        assert not answer.done()
        assert answer.result().status_code == 503
    connected[0].close()
    assert app.popen.wait(timeout=5) == 0


def test_sigterm_does_not_wait_for_idle_connections(hello: Start, database: DatabaseServer) -> None:
    app = hello(DATABASE_URL=database.url)
    idle = http.client.HTTPConnection("127.0.0.1", app.port, timeout=10)
    idle.request("GET", "/visits")
    assert idle.getresponse().read()
    started = time.monotonic()
    app.popen.send_signal(signal.SIGTERM)
    assert app.popen.wait(timeout=10) == 0
    assert time.monotonic() - started < 3


def test_the_health_path_is_configurable(hello: Start) -> None:
    app = hello(HEALTH_PATH="/up")
    assert app.get("/up").status_code == 200
    assert app.get("/health").status_code == 404


def test_an_answer_costs_well_under_a_millisecond_of_cpu(hello: Start) -> None:
    """1,000 requests a second must leave most of a core to others."""
    app = hello()
    with requests.Session() as session:
        session.get(app.url + "/", timeout=5)
        before = app.cpu_seconds()
        for _ in range(1000):
            session.get(app.url + "/", timeout=5)
    assert app.cpu_seconds() - before < 0.6


def not_refused_reason(port: int) -> str | None:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return None
    return f"port {port} still accepts connections"

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fleet.smoke_test import CheckResult, PathCheck, failures, smoke


class Site:
    """A local server whose answers a test sets; it notes what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, Any]]] = {}
        self.asked: list[tuple[str, str]] = []

    def health(self, *bodies: Any, status: int = 200, deep: bool = True) -> None:
        self.answers["/health" + ("?deep=1" if deep else "")] = [(status, body) for body in bodies]

    def answer(self, path: str) -> tuple[int, Any]:
        left = self.answers.get(path, [(404, "nothing here")])
        return left.pop(0) if len(left) > 1 else left[0]


def ok(**more: Any) -> dict[str, Any]:
    return {"status": "ok", "release": "v2", "checks": {"database": "ok"}, **more}


@contextmanager
def serving(site: Site, context: ssl.SSLContext | None = None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append((self.path, self.headers.get("X-Preview", "")))
            status, body = site.answer(self.path)
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Color", "green")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def judge(site: Site, **options: Any) -> list[CheckResult]:
    with serving(site) as url:
        return smoke(url, **{"deadline": 0.0, "expect_release": "v2", **options})


def found(results: list[CheckResult]) -> dict[str, bool]:
    return {result.name: result.ok for result in results}


def test_a_good_release_passes_every_check() -> None:
    site = Site()
    site.health(ok())
    results = judge(site, headers={"X-Preview": "token-green"}, expect_color="green")
    assert found(results) == {"health": True, "database": True, "release": True, "color": True}
    assert failures(results) is None
    assert site.asked == [("/health?deep=1", "token-green")]


def test_a_failing_database_is_named() -> None:
    site = Site()
    site.health(ok(status="failing", checks={"database": "timeout", "cache": "ok"}), status=503)
    results = judge(site)
    assert found(results) == {"health": False, "database": False, "cache": True, "release": True}
    assert "database: timeout" in (failures(results) or "")


def test_another_release_is_told() -> None:
    site = Site()
    site.health(ok(release="v1"))
    assert failures(judge(site)) == "release: v1 answered, not v2"


def test_the_wrong_color_is_told() -> None:
    site = Site()
    site.health(ok())
    assert failures(judge(site, expect_color="blue")) == "color: green answered, not blue"


def test_a_status_other_than_ok_is_not_enough_with_200() -> None:
    site = Site()
    site.health(ok(status="starting"))
    assert "status 'starting', not 200 with 'ok'" in (failures(judge(site)) or "")


@pytest.mark.parametrize("body", ["<html>", "[1]", ""])
def test_an_answer_that_is_no_json_object_fails(body: str) -> None:
    site = Site()
    site.health(body)
    assert "answered 200 without a JSON object" in (failures(judge(site)) or "")


def test_nobody_there_fails_with_the_cause() -> None:
    with serving(Site()) as url:
        gone = url
    assert "got no answer: Connection refused" in (failures(smoke(gone, deadline=0.0)) or "")


def test_what_passes_late_passes() -> None:
    site = Site()
    site.health("not yet", ok(release="v1"), ok())
    assert failures(judge(site, deadline=20.0)) is None
    assert len(site.asked) == 3


def test_good_answers_in_a_row_are_asked_for() -> None:
    site = Site()
    site.health(ok(), ok(release="v1"), ok(), ok(), ok())
    assert failures(judge(site, deadline=20.0, in_a_row=3)) is None
    assert len(site.asked) == 5


def test_a_deep_check_that_the_app_lacks_can_be_required() -> None:
    site = Site()
    site.health(ok(checks={"cache": "ok"}))
    reason = failures(judge(site, require=["database"]))
    assert reason == "database: the app answers no check of this name, only ['cache']"


def test_shallow_leaves_the_deep_checks_out() -> None:
    site = Site()
    site.health({"status": "ok", "release": "v2"}, deep=False)
    assert found(judge(site, deep=False)) == {"health": True, "release": True}
    assert site.asked[0][0] == "/health"


def test_further_paths_must_answer_their_status_and_text() -> None:
    site = Site()
    site.health(ok())
    site.answers |= {"/": [(200, "Hello")], "/old": [(301, "")], "/bad": [(500, "")]}
    results = judge(
        site,
        paths=[
            PathCheck(path="/", contains="Hello"),
            PathCheck(path="/", contains="Bonjour"),
            PathCheck(path="/old", status=301),
            PathCheck(path="/bad"),
        ],
    )
    assert [(one.ok, one.detail) for one in results[-4:]] == [
        (True, "answered 200"),
        (False, "answered without the text 'Bonjour'"),
        (True, "answered 301"),
        (False, "answered 500, not 200"),
    ]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for days in (1, 90):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost", "-days", str(days), "-keyout", f"{days}.key", "-out", f"{days}.pem"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
    return folder


@pytest.mark.parametrize(("days", "fine"), [(90, True), (1, False)])
def test_a_certificate_must_be_valid_and_for_a_while(
    certificates: Path, monkeypatch: pytest.MonkeyPatch, days: int, fine: bool
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates / f"{days}.pem"))
    site = Site()
    site.health(ok())
    with serving(site, _context(certificates, days)) as url:
        results = smoke(url, expect_release="v2", deadline=0.0)
    assert found(results) == {"health": True, "database": True, "release": True, "tls": fine}
    assert f"valid for {days - 1} more days" in results[-1].detail


def test_a_certificate_that_nobody_vouches_for_fails(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with serving(Site(), _context(certificates, 90)) as url:
        results = smoke(url, deadline=0.0)
    assert found(results) == {"health": False, "tls": False}
    assert "certificate verify failed" in results[-1].detail


def _context(certificates: Path, days: int) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{days}.pem", certificates / f"{days}.key")
    return context


def test_what_an_app_says_of_itself_is_quoted_as_everything_can_hold_it() -> None:
    site = Site()
    site.health(ok(status="\ud800" + "x" * 10_000, release="\udfff", checks={"db": "\ud800down" + "!" * 10_000}))
    told = failures(judge(site)) or ""
    assert told.encode()
    assert len(told) < 1_000
    assert "db: ?down!!" in told

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.host.sandbox import wait_until
from rehearsal.load import request_log
from rehearsal.load.generator import LoadError, parse, percentile
from rehearsal.load.request_log import Request, RequestLog
from tests.rehearsal.backends import Backend, Backends, load_process

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def backends() -> Iterator[Backends]:
    started = Backends()
    yield started
    started.close()


def finished(url: str, out: Path, *options: str) -> dict[str, Any]:
    with load_process(url, out, *options) as process:
        assert process.wait(60) == 0
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


def url_of(backend: Backend) -> str:
    return f"http://127.0.0.1:{backend.port}"


def test_every_request_is_sent_counted_and_named(backends: Backends, tmp_path: Path) -> None:
    backend = backends.start("blue", "v7")
    summary = finished(url_of(backend), tmp_path, "--rate", "400", "--paths", "/,/visits", "--seconds", "1")
    assert summary["requests"] == 400
    assert summary["failed"] == 0
    assert summary["releases"] == {"v7": 400}
    assert summary["colors"] == {"blue": 400}
    assert summary["statuses"] == {"200": 400}
    assert backend.paths == {"/": 200, "/visits": 200}
    assert summary["rps"] == pytest.approx(400, rel=0.05)
    log = RequestLog.read(tmp_path)
    assert len(log.requests) == 400
    assert {request.release for request in log.requests} == {"v7"}


def test_with_keep_the_log_files_are_rotated(backends: Backends, tmp_path: Path) -> None:
    backend = backends.start("blue", "v7")
    summary = finished(url_of(backend), tmp_path, "--rate", "200", "--seconds", "2.5", "--keep", str(1 / 60))
    assert (summary["requests"], summary["failed"]) == (500, 0)
    kept = RequestLog.read(tmp_path).requests
    assert 0 < len(kept) < 200
    assert {path.name for path in tmp_path.glob("*.old")} == {
        *("requests.tsv.old", "retried.tsv.old", "series.jsonl.old", "status.jsonl.old")
    }
    before = (tmp_path / "requests.tsv.old").read_text().splitlines()
    assert 100 < len(before) < 300
    assert float(before[-1].split("\t")[0]) < kept[0].due


def test_more_than_an_hour_needs_a_bounded_log(tmp_path: Path) -> None:
    argv = ["--url", "http://127.0.0.1:1", "--out", str(tmp_path), "--seconds", "4000"]
    with pytest.raises(LoadError, match="up to 3600, with --keep up to 604800"):
        parse(argv)
    assert parse([*argv, "--keep", "15"]).keep == 15
    with pytest.raises(LoadError, match="--keep -1"):
        parse([*argv, "--keep", "-1"])


def test_a_thousand_requests_per_second_need_well_under_one_core(backends: Backends, tmp_path: Path) -> None:
    backend = backends.start("blue")
    summary = finished(url_of(backend), tmp_path, "--rate", "1000", "--seconds", "2")
    assert summary["requests"] == 2000
    assert summary["failed"] == 0
    assert summary["cpu_share"] < 0.6


def test_a_slow_server_does_not_slow_the_schedule(backends: Backends, tmp_path: Path) -> None:
    """Closed-loop generators would send less; here latency counts from the due time of the request."""
    backend = backends.start("blue")
    backend.delay = 0.5
    summary = finished(url_of(backend), tmp_path, "--rate", "200", "--seconds", "1.5")
    assert summary["requests"] == 300
    assert summary["failed"] == 0
    assert summary["p50_ms"] >= 500


def test_what_can_not_be_sent_has_failed(backends: Backends, tmp_path: Path) -> None:
    backend = backends.start("blue")
    backend.delay = 60
    options = ("--rate", "100", "--seconds", "1", "--in-flight", "10", "--timeout", "1.5")
    summary = finished(url_of(backend), tmp_path, *options)
    assert summary["requests"] == 100
    assert summary["failed"] == 100
    errors = [request.error for request in RequestLog.read(tmp_path).requests]
    assert errors.count("no response within 1.5 s") >= 10
    assert set(errors) == {"no response within 1.5 s", "not sent: 10 requests are in flight already"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "status 503"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "status 404"),
        (b"SSH-2.0-Ready\r\n\r\n", "response not understood: status line b'SSH-2.0-Ready'"),
    ],
)
def test_bad_responses_have_failed_with_their_reason(
    backends: Backends, tmp_path: Path, answer: bytes, error: str
) -> None:
    backend = backends.start("blue")
    backend.raw_answer = answer
    summary = finished(url_of(backend), tmp_path, "--rate", "60", "--seconds", "0.5")
    assert summary["failed"] == summary["requests"] == 30
    assert {failure["error"] for failure in summary["failures"]} == {error}
    assert len(summary["failures"]) == 20


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX-Release: v1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nblue\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Release: v1\r\nContent-Length: 4\r\nConnection: close\r\n\r\nblue",
        b"HTTP/1.1 204 No Content\r\nX-Release: v1\r\n\r\n",
    ],
)
def test_all_ways_to_end_a_body_are_understood(backends: Backends, tmp_path: Path, answer: bytes) -> None:
    backend = backends.start("blue")
    backend.raw_answer = answer
    summary = finished(url_of(backend), tmp_path, "--rate", "60", "--seconds", "0.5")
    assert summary["failed"] == 0
    assert summary["releases"] == {"v1": 30}


def test_an_outage_and_its_end_are_in_the_log(backends: Backends, tmp_path: Path) -> None:
    backend = backends.start("blue")
    with load_process(url_of(backend), tmp_path, "--rate", "200") as process:
        wait_until(lambda: None if backend.served > 40 else "no load", what="load", deadline=10)
        stopping = time.time()
        backends.stop(backend)
        gone = time.time()
        wait_until(lambda: failing(tmp_path), what="failures", deadline=10)
        back = time.time()
        backends.restart(backend)
        returned = time.time()
        before = backend.served
        wait_until(lambda: None if backend.served > before + 100 else "no load", what="load", deadline=10)
        summary = request_log.stop(tmp_path)
        assert process.wait(10) == 0
    log = RequestLog.read(tmp_path)
    # A delayed request may be due before the outage and reach the server during it, or likewise at its end.
    during = [one for one in log.requests if one.due >= gone and one.responded_at < back]
    assert during
    assert all(one.error for one in during)
    assert not any(one.error for one in log.requests if one.responded_at < stopping or one.due >= returned)
    assert summary["failed"] >= len(during)
    assert any(one.error.startswith("no connection: Connect call failed") for one in log.requests)


def failing(out: Path) -> str | None:
    log = RequestLog.read(out)
    return None if sum(bool(one.error) for one in log.requests) > 20 else "no failure yet"


def test_a_dropped_connection_is_a_failed_request(backends: Backends, tmp_path: Path) -> None:
    backend = backends.start("blue")
    backend.drop = True
    summary = finished(url_of(backend), tmp_path, "--rate", "40", "--seconds", "0.5")
    assert summary["failed"] == 20
    assert all("connection lost before the response" in failure["error"] for failure in summary["failures"])


BAD_GATEWAY_RESPONSE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(("drop", "raw"), [(True, b""), (False, BAD_GATEWAY_RESPONSE)])
def test_a_lost_request_is_retried_and_counted_separately(
    backends: Backends, tmp_path: Path, drop: bool, raw: bytes
) -> None:
    backend = backends.start("blue")
    backend.drop, backend.raw_answer = drop, raw
    started = time.time()
    summary = finished(url_of(backend), tmp_path, "--rate", "40", "--seconds", "0.5", "--tries", "3")
    assert (summary["requests"], summary["failed"]) == (20, 20)
    assert RequestLog.read(tmp_path).between(started, time.time()).retried == 20
    assert RequestLog.read(tmp_path).between(0, started).retried == 0
    if raw:
        assert backend.paths == {"/": 60}


def test_an_error_of_the_release_itself_is_not_retried(backends: Backends, tmp_path: Path) -> None:
    backend = backends.start("blue")
    backend.status = 502
    summary = finished(url_of(backend), tmp_path, "--rate", "40", "--seconds", "0.5", "--tries", "3")
    assert summary["failed"] == 20
    assert backend.paths == {"/": 20}
    assert RequestLog.read(tmp_path).between(0, time.time()).retried == 0


def test_a_request_that_succeeds_on_a_retry_has_not_failed(backends: Backends, tmp_path: Path) -> None:
    backend = backends.start("blue")
    backend.raw_answer = BAD_GATEWAY_RESPONSE
    with load_process(url_of(backend), tmp_path, "--rate", "20", "--tries", "5", "--seconds", "20") as process:
        backend.delay = 0.5
        wait_until(lambda: None if tried(tmp_path) else "no request was lost yet", what="a lost request", deadline=10)
        backend.raw_answer = b""
        wait_until(lambda: None if answered(tmp_path) > 10 else "no answers", what="answers", deadline=10)
        summary = request_log.stop(tmp_path)
        assert process.wait(10) == 0
    assert summary["failed"] == 0
    assert tried(tmp_path) > 0


def tried(out: Path) -> int:
    return len(RequestLog.read(out).retried) if (out / "retried.tsv").exists() else 0


def answered(out: Path) -> int:
    return len(RequestLog.read(out).requests)


def test_marks_status_and_series_can_be_read_while_it_runs(backends: Backends, tmp_path: Path) -> None:
    backend = backends.start("green", "v2")
    with load_process(url_of(backend), tmp_path, "--rate", "100") as process:
        wait_until(lambda: request_log.not_ready_reason(tmp_path), what="the load generator", deadline=10)
        request_log.command(tmp_path, "mark cut over now")
        wait_until(lambda: None if request_log.last_status(tmp_path) else "no status", what="status", deadline=10)
        status = request_log.last_status(tmp_path)
        summary = request_log.stop(tmp_path)
        assert process.wait(10) == 0
    assert status["releases"].keys() == {"v2"}
    assert {"requests", "failed", "p50_ms", "p99_ms", "lag_p99_ms", "total", "in_flight"} <= status.keys()
    assert [mark["name"] for mark in summary["marks"]] == ["cut over now"]
    series = [json.loads(line) for line in (tmp_path / "series.jsonl").read_text().splitlines()]
    assert sum(moment["releases"].get("v2", 0) for moment in series) >= status["requests"]
    assert series[1]["time"] - series[0]["time"] == pytest.approx(0.1, abs=0.08)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_a_summary(backends: Backends, tmp_path: Path, number: signal.Signals) -> None:
    backend = backends.start("blue")
    with load_process(url_of(backend), tmp_path, "--rate", "100") as process:
        wait_until(lambda: None if backend.served else "no load", what="load", deadline=10)
        process.send_signal(number)
        assert process.wait(10) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["requests"] == backend.served
    assert summary["failed"] == 0


def test_its_own_lag_is_recorded(backends: Backends, tmp_path: Path) -> None:
    """After a pause it sends the overdue requests and records their lag; none of them has failed."""
    backend = backends.start("blue")
    # More requests become due in the pause (150) than may be in flight (120, or 1.2 s without a response).
    with load_process(url_of(backend), tmp_path, "--rate", "100", "--in-flight", "120") as process:
        wait_until(lambda: None if backend.served else "no load", what="load", deadline=10)
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(1.5)
        os.kill(process.pid, signal.SIGCONT)
        before = backend.served
        wait_until(lambda: None if backend.served > before + 150 else "no load", what="load", deadline=10)
        summary = request_log.stop(tmp_path)
        process.wait(10)
    assert summary["failed"] == 0, summary["failures"]
    assert summary["requests"] == backend.served
    assert summary["lag_max_ms"] >= 1400
    assert summary["p99_ms"] >= 1000


@pytest.mark.parametrize("url", ["http://192.0.2.7/", "http://0.0.0.0:80", "https://127.0.0.1/", "ftp://127.0.0.1/"])
def test_only_loopback_targets_of_this_host_are_allowed(url: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "rehearsal.load.generator", "--url", url, "--out", str(tmp_path / "out")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"--url {url}: allowed are http:// URLs of this host's loopback addresses\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--rate", "0", "--rate 0: allowed are more than 0 and up to 5000"),
        ("--rate", "9000", "--rate 9000: allowed"),
        ("--seconds", "4000", "--seconds 4000: allowed are more than 0 and up to 3600"),
        ("--tries", "6", "--tries 6: allowed are 1 to 5"),
        ("--paths", "visits", "--paths visits: allowed are paths that begin with /"),
        ("--paths", "/a b", "allowed are paths that begin with / and hold no space"),
    ],
)
def test_an_invalid_option_is_named_with_its_value_and_what_is_allowed(
    option: str, value: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(LoadError, match=message):
        parse(["--url", "http://127.0.0.1:1", "--out", str(tmp_path), option, value])


def request(at: float, release: str, *, error: str = "") -> Request:
    return Request(due=at, lag_ms=0, latency_ms=10, status=200, release=release, color="", error=error)


def test_the_log_shows_when_the_new_release_took_over() -> None:
    releases = ["v1"] * 5 + ["v2", "v1", "v2", "v2", "v1"] + ["v2"] * 25
    log = RequestLog([request(100 + number, release) for number, release in enumerate(releases)])
    assert log.first_streak("v2", after=0) == pytest.approx(110.01)
    assert log.first_streak("v2", after=0, length=2) == pytest.approx(107.01)
    assert log.first_streak("v2", after=112) == pytest.approx(112.01)
    assert log.first_streak("v1", after=0) is None
    assert log.last_response("v1", after=0) == pytest.approx(109.01)
    assert log.last_response("v1", after=120) is None


def test_a_window_counts_what_was_due_in_it() -> None:
    log = RequestLog([request(1, "v1"), request(2, "v1", error="status 503"), request(3, "v1")])
    assert (log.between(1, 3).requests, log.between(1, 3).failed) == (2, 1)


def test_percentiles_of_known_values() -> None:
    values = [number / 1000 for number in range(1, 101)]
    assert percentile(values, 50) == 51
    assert percentile(values, 99) == 100
    assert percentile([], 99) == 0

"""Parsing and counting of HAProxy's log lines. For those of a running HAProxy see test_emulator."""

from __future__ import annotations

import socket
from collections import Counter

import pytest

from rehearsal.load_balancer.access_log import AccessLog, RequestOutcome, parse

GROUPS = {"app-blue-1f": "arn:blue", "app-blue-1f-open": "arn:blue"}


def answered(**changes: object) -> RequestOutcome:
    defaults = {
        "port": 80,
        "target_group": "arn:blue",
        "status": 200,
        "from_target": True,
        "by_rule": False,
        "failed_connections": 0,
        "seconds": 0.012,
    }
    return RequestOutcome(**defaults | changes)  # type: ignore[arg-type]


def failed(status: int, **changes: object) -> RequestOutcome:
    """A response of the load balancer itself."""
    return answered(**{"status": status, "from_target": False, "seconds": None} | changes)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("listener-80 app-blue-1f a_1 200 -- 0 12", answered()),
        ("listener-80 app-blue-1f-open a_1 500 -- 0 12", answered(status=500)),
        # A retry on another target: the request succeeded, one connection failed.
        ("listener-80 app-blue-1f b_2 200 -- +1 12", answered(failed_connections=1)),
        ("listener-80 app-blue-1f a_1 503 SC 3 -1", failed(503, failed_connections=4)),
        ("listener-80 app-blue-1f <NOSRV> 503 SC +1 -1", failed(503, failed_connections=1)),
        ("listener-80 app-blue-1f a_1 502 SH 0 -1", failed(502)),
        ("listener-80 app-blue-1f a_1 504 sH 0 -1", failed(504)),
        ("listener-80 app-blue-1f a_1 200 SD 0 12", answered()),
        ("listener-80 app-blue-1f a_1 -1 CH 0 -1", failed(0)),
        ("listener-80 no-target <NOSRV> 503 SC 0 -1", failed(503, target_group="")),
        ("listener-8080 listener-8080 <NOSRV> 503 LR 0 -1", failed(503, port=8080, target_group="", by_rule=True)),
        ("listener-80 listener-80 <NOSRV> 400 PR 0 -1", failed(400, target_group="")),
        ("Server app-blue-1f/a_1 is DOWN", None),
    ],
)
def test_a_line_is_parsed_to_a_request_outcome(line: str, expected: RequestOutcome | None) -> None:
    assert parse(line, GROUPS) == expected


def test_equal_lines_are_counted_once() -> None:
    log = AccessLog()
    host, _, port = log.address.partition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as haproxy:
        for waited in (12, 12, 30):
            haproxy.sendto(f"listener-80 app-blue-1f a_1 200 -- 0 {waited}\n".encode(), (host, int(port)))
    log.read()
    assert log.pop_counts(GROUPS) == Counter({answered(): 2, answered(seconds=0.03): 1})
    assert log.pop_counts(GROUPS) == Counter()
    log.close()

"""HAProxy's lines as they are written, and what is counted of them. What a running HAProxy writes: test_front_door."""

from __future__ import annotations

import socket
from collections import Counter

import pytest

from rehearsal.load_balancer.access_log import Answered, Traffic, parse

GROUPS = {"app-blue-1f": "arn:blue", "app-blue-1f-open": "arn:blue"}


def answered(**changes: object) -> Answered:
    given = {
        "port": 80,
        "target_group": "arn:blue",
        "status": 200,
        "by_target": True,
        "ordered": False,
        "failed_connections": 0,
        "seconds": 0.012,
    }
    return Answered(**given | changes)  # type: ignore[arg-type]


def failed(status: int, **changes: object) -> Answered:
    """What the balancer itself answered."""
    return answered(**{"status": status, "by_target": False, "seconds": None} | changes)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("listener-80 app-blue-1f a_1 200 -- 0 12", answered()),
        ("listener-80 app-blue-1f-open a_1 500 -- 0 12", answered(status=500)),
        # A second try on another target: the user has his answer, one connection failed.
        ("listener-80 app-blue-1f b_2 200 -- +1 12", answered(failed_connections=1)),
        ("listener-80 app-blue-1f a_1 503 SC 3 -1", failed(503, failed_connections=4)),
        ("listener-80 app-blue-1f <NOSRV> 503 SC +1 -1", failed(503, failed_connections=1)),
        ("listener-80 app-blue-1f a_1 502 SH 0 -1", failed(502)),
        ("listener-80 app-blue-1f a_1 504 sH 0 -1", failed(504)),
        ("listener-80 app-blue-1f a_1 200 SD 0 12", answered()),
        ("listener-80 app-blue-1f a_1 -1 CH 0 -1", failed(0)),
        ("listener-80 nobody <NOSRV> 503 SC 0 -1", failed(503, target_group="")),
        ("listener-8080 listener-8080 <NOSRV> 503 LR 0 -1", failed(503, port=8080, target_group="", ordered=True)),
        ("listener-80 listener-80 <NOSRV> 400 PR 0 -1", failed(400, target_group="")),
        ("Server app-blue-1f/a_1 is DOWN", None),
    ],
)
def test_a_line_says_what_became_of_a_request(line: str, expected: Answered | None) -> None:
    assert parse(line, GROUPS) == expected


def test_equal_lines_are_counted_together_and_only_once() -> None:
    traffic = Traffic()
    host, _, port = traffic.log.partition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as haproxy:
        for waited in (12, 12, 30):
            haproxy.sendto(f"listener-80 app-blue-1f a_1 200 -- 0 {waited}\n".encode(), (host, int(port)))
    traffic.read()
    assert traffic.take(GROUPS) == Counter({answered(): 2, answered(seconds=0.03): 1})
    assert traffic.take(GROUPS) == Counter()
    traffic.close()

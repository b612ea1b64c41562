from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from ami.boot.docker_events import NANOSECONDS, Event, Stream, StreamEndedError, moment, parse

Docker = Callable[..., str]
DIED = {
    "status": "die",
    "Type": "container",
    "Action": "die",
    "Actor": {"ID": "f6523c19c743", "Attributes": {"exitCode": "7", "image": "tiny:1", "name": "app"}},
    "time": 1795269617,
    "timeNano": 1795269617494270802,
}


def test_an_event_is_read() -> None:
    attributes = {"exitCode": "7", "image": "tiny:1", "name": "app"}
    expected = Event(at=1795269617494270802, action="die", container="f6523c19c743", attributes=attributes)
    assert parse(json.dumps(DIED), "app") == expected


@pytest.mark.parametrize(
    "line", ["unexpected EOF", "{}", "[]", "3", '{"Actor": 3}', "", '{"Actor": {"Attributes": 1}}']
)
def test_other_lines_are_no_events(line: str) -> None:
    assert parse(line, "app") is None


def test_a_container_whose_name_begins_so_is_skipped() -> None:
    other: dict[str, Any] = {**DIED, "Actor": {"ID": "f", "Attributes": {"name": "app-of-others"}}}
    assert parse(json.dumps(other), "app") is None


def test_a_moment_keeps_its_nanoseconds() -> None:
    assert moment(1795269617004270802) == "1795269617.004270802"


def actions(stream: Stream, until: str) -> list[str]:
    """Up to and with this one."""
    found, deadline = list[str](), time.monotonic() + 20
    while until not in found and time.monotonic() < deadline:
        event = stream.next(0.5)
        found += [event.action] if event else []
    return found


@pytest.mark.docker
def test_earlier_and_live_events_are_streamed_in_order(docker: Docker, base_image: str) -> None:
    since = time.time_ns()
    docker("run", "--detach", "--name", "app-of-others", base_image, "sleep", "60")
    docker(
        "run", "--detach", "--name", "app", base_image, "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done"
    )
    with Stream("app", since) as stream:
        assert [action for action in actions(stream, "start") if action != "attach"] == ["create", "start"]
        docker("stop", "app")
        assert actions(stream, "stop") == ["kill", "die", "stop"]
    with Stream("app", time.time_ns() + 60 * NANOSECONDS) as later:
        assert later.next(0.2) is None


def test_an_unreachable_docker_ends_the_stream_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with Stream("app", 0) as stream, pytest.raises(StreamEndedError, match="nowhere"):
        actions(stream, "never")


def test_a_missing_docker_client_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(StreamEndedError, match="No such file"):
        Stream("app", 0)

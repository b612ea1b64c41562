"""Exit detection from the orders of events that Docker 20.10 was seen to send."""

from __future__ import annotations

import pytest

from ami.boot.container_exits import SETTLE_SECONDS, ContainerExit, ExitDetector
from ami.boot.docker_events import NANOSECONDS, Event

KILL = "kill:15"


def event(word: str, at: float) -> Event:
    """`kill:15` is a kill with that signal, `die:137` an exit with that code."""
    action, _, value = word.partition(":")
    names = {"kill": "signal", "die": "exitCode"}
    attributes = {names[action]: value} if action in names else {}
    return Event(at=int(at * NANOSECONDS), action=action, container="c1", attributes=attributes)


def detect(*words: str, apart: float = 0.1) -> tuple[ExitDetector, list[ContainerExit]]:
    """All confirmed exits, with events that far apart, and then a while without events."""
    detector, found = ExitDetector(), list[ContainerExit | None]()
    for number, word in enumerate(words, start=1):
        at = number * apart
        found += [detector.confirm(at), detector.process(event(word, at), at)]
    found.append(detector.confirm(len(words) * apart + SETTLE_SECONDS))
    return detector, [exited for exited in found if exited is not None]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["start", KILL, "die:0", "stop"], id="docker stop"),
        pytest.param(["start", KILL, "kill:9", "die:137", "stop"], id="docker stop of an app that ignores SIGTERM"),
        pytest.param(["start", KILL, "die:0", "stop", "start", "restart"], id="docker restart"),
        pytest.param(["start", "kill:9", "die:137"], id="docker kill"),
        pytest.param(["start", "kill:9", "die:137", "destroy"], id="docker rm --force"),
        pytest.param(["start", "die:137", "kill:9"], id="docker kill, reported after the exit"),
        pytest.param(["start", "kill:28", "die:0", "stop"], id="docker stop of an image with a STOPSIGNAL of its own"),
        pytest.param([KILL, "die:0", "stop"], id="a new daemon that stops what the old one left running"),
    ],
)
def test_a_requested_exit_is_not_reported(words: list[str]) -> None:
    assert detect(*words)[1] == []


@pytest.mark.parametrize(
    ("words", "code", "memory"),
    [
        pytest.param(["start", "die:7", "start"], 7, False, id="crash"),
        pytest.param(["start", "die:0", "start"], 0, False, id="exit with 0"),
        pytest.param(["start", "die:7"], 7, False, id="crash without a restart"),
        pytest.param(["start", "oom", "die:137", "start"], 137, True, id="memory"),
        pytest.param(["start", "die:137", "oom", "start"], 137, True, id="memory, reported after the exit"),
        pytest.param(["start", "kill:1", "die:5"], 5, False, id="crash after a SIGHUP"),
        pytest.param(["start", "die:7", "start", KILL, "die:0", "stop"], 7, False, id="crash, then docker stop"),
        pytest.param(["start", KILL, "die:0", "stop", "start", "die:7"], 7, False, id="docker restart, then a crash"),
        pytest.param(["start", "die:"], -1, False, id="an exit without a code"),
    ],
)
def test_an_unexpected_exit_is_reported_once(words: list[str], code: int, memory: bool) -> None:
    assert [(exited.exit_code, exited.out_of_memory) for exited in detect(*words)[1]] == [(code, memory)]


def test_each_exit_of_a_crash_loop_is_reported() -> None:
    _, found = detect("start", "die:1", "start", "die:2", "start", "die:3")
    assert [exited.exit_code for exited in found] == [1, 2, 3]


def test_an_earlier_oom_kill_of_a_worker_is_not_the_cause_of_the_exit() -> None:
    _, found = detect("start", "oom", "die:1", apart=11.0)
    assert [exited.out_of_memory for exited in found] == [False]


def test_without_a_start_an_exit_is_confirmed_after_the_settling_time() -> None:
    detector = ExitDetector()
    detector.process(event("die:1", 5.0), 5.0)
    assert detector.is_pending
    assert detector.confirm(5.0 + SETTLE_SECONDS / 2) is None
    assert detector.confirm(5.0 + SETTLE_SECONDS) == ContainerExit(at=5 * NANOSECONDS, container="c1", exit_code=1)
    assert not detector.is_pending


@pytest.mark.parametrize(
    ("words", "checkpoint"),
    [(["start"], 1), (["start", KILL], 1), (["start", KILL, "die:0", "stop"], 1), (["start", "die:1"], 2)],
)
def test_a_new_stream_resumes_at_the_checkpoint(words: list[str], checkpoint: int) -> None:
    detector, _ = detect(*words)
    assert detector.checkpoint == int(checkpoint * 0.1 * NANOSECONDS)

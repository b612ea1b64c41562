"""The orders of events that Docker 20.10 was seen to tell, and what they mean."""

from __future__ import annotations

import pytest

from ami.boot.docker_events import NANOSECONDS, Event
from ami.boot.ends import SETTLE_SECONDS, End, Ends

KILL = "kill:15"


def event(word: str, at: float) -> Event:
    """`kill:15` is a kill with that signal, `die:137` a death with that code."""
    action, _, value = word.partition(":")
    names = {"kill": "signal", "die": "exitCode"}
    attributes = {names[action]: value} if action in names else {}
    return Event(at=int(at * NANOSECONDS), action=action, container="c1", attributes=attributes)


def heard(*words: str, apart: float = 0.1) -> tuple[Ends, list[End]]:
    """All ends that are told, each word that long after the one before, and then a while of silence."""
    ends, found = Ends(), list[End | None]()
    for number, word in enumerate(words, start=1):
        at = number * apart
        found += [ends.settle(at), ends.hear(event(word, at), at)]
    found.append(ends.settle(len(words) * apart + SETTLE_SECONDS))
    return ends, [end for end in found if end is not None]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["start", KILL, "die:0", "stop"], id="docker stop"),
        pytest.param(["start", KILL, "kill:9", "die:137", "stop"], id="docker stop of an app that does not listen"),
        pytest.param(["start", KILL, "die:0", "stop", "start", "restart"], id="docker restart"),
        pytest.param(["start", "kill:9", "die:137"], id="docker kill"),
        pytest.param(["start", "kill:9", "die:137", "destroy"], id="docker rm --force"),
        pytest.param(["start", "die:137", "kill:9"], id="docker kill, told after the death"),
        pytest.param(["start", "kill:28", "die:0", "stop"], id="docker stop of an image with a STOPSIGNAL of its own"),
        pytest.param([KILL, "die:0", "stop"], id="a new daemon that ends what its dead one left"),
    ],
)
def test_an_end_that_was_asked_for_is_none(words: list[str]) -> None:
    assert heard(*words)[1] == []


@pytest.mark.parametrize(
    ("words", "code", "memory"),
    [
        pytest.param(["start", "die:7", "start"], 7, False, id="crash"),
        pytest.param(["start", "die:0", "start"], 0, False, id="went by itself"),
        pytest.param(["start", "die:7"], 7, False, id="crash that Docker does not answer"),
        pytest.param(["start", "oom", "die:137", "start"], 137, True, id="memory"),
        pytest.param(["start", "die:137", "oom", "start"], 137, True, id="memory, told after the death"),
        pytest.param(["start", "kill:1", "die:5"], 5, False, id="crash after a SIGHUP"),
        pytest.param(["start", "die:7", "start", KILL, "die:0", "stop"], 7, False, id="crash, then docker stop"),
        pytest.param(["start", KILL, "die:0", "stop", "start", "die:7"], 7, False, id="docker restart, then a crash"),
        pytest.param(["start", "die:"], -1, False, id="a death without a code"),
    ],
)
def test_an_end_that_nobody_asked_for_is_told_once(words: list[str], code: int, memory: bool) -> None:
    assert [(end.exit_code, end.out_of_memory) for end in heard(*words)[1]] == [(code, memory)]


def test_each_end_of_an_app_that_crashes_again_and_again_is_told() -> None:
    _, found = heard("start", "die:1", "start", "die:2", "start", "die:3")
    assert [end.exit_code for end in found] == [1, 2, 3]


def test_a_worker_that_was_killed_for_its_memory_long_ago_is_not_what_the_app_ended_by() -> None:
    _, found = heard("start", "oom", "die:1", apart=11.0)
    assert [end.out_of_memory for end in found] == [False]


def test_without_a_start_an_end_is_told_only_once_it_can_no_longer_be_explained() -> None:
    ends = Ends()
    ends.hear(event("die:1", 5.0), 5.0)
    assert ends.is_open
    assert ends.settle(5.0 + SETTLE_SECONDS / 2) is None
    assert ends.settle(5.0 + SETTLE_SECONDS) == End(at=5 * NANOSECONDS, container="c1", exit_code=1)
    assert not ends.is_open


@pytest.mark.parametrize(
    ("words", "settled"),
    [(["start"], 1), (["start", KILL], 1), (["start", KILL, "die:0", "stop"], 1), (["start", "die:1"], 2)],
)
def test_who_begins_anew_begins_behind_what_is_settled(words: list[str], settled: int) -> None:
    ends, _ = heard(*words)
    assert ends.settled_at == int(settled * 0.1 * NANOSECONDS)

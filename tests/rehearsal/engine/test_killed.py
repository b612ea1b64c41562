"""Killed at any call of any run, a stack serves on and the next run puts it right: users notice neither."""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import requests
from botocore import session as botocore_session
from pulumi.automation import ConfigValue
from pulumi.automation.errors import CommandError
from werkzeug.wrappers import Response

from rehearsal.engine import Stack
from rehearsal.engine import stack as stack_module

from .census import Census
from .conftest import Traffic, deliver
from .front import Client, Front
from .within import Within

SEEDS = [int(each) for each in os.environ.get("KILLED_SEEDS", "1 2").split()]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One change of a stack's life. `writes`: calls that change the cloud, no more than the run makes."""

    name: str
    configure: Callable[[Stack], None]
    writes: int
    before: dict[str, int]
    after: dict[str, int]
    """Live weights that users may meet, before the change and after it."""


def _color(color: str, release: str) -> Callable[[Stack], None]:
    return lambda stack: deliver(stack, color, release)


def _config(**values: str) -> Callable[[Stack], None]:
    def configure(stack: Stack) -> None:
        for key, value in values.items():
            stack.set_config(key, ConfigValue(value))

    return configure


BLUE, GREEN = {"blue": 100, "green": 0}, {"blue": 0, "green": 100}
LIFE = [
    Stage(name="network and balancer", configure=_config(), writes=60, before={}, after={}),
    Stage(name="first color", configure=_color("blue", "v1"), writes=4, before={}, after=BLUE),
    Stage(name="second color", configure=_color("green", "v2"), writes=3, before=BLUE, after=BLUE),
    Stage(name="cutover", configure=_config(activeColor="green"), writes=1, before=BLUE, after=GREEN),
    Stage(name="release of the idle color", configure=_color("blue", "v3"), writes=5, before=GREEN, after=GREEN),
    Stage(name="both fleets anew", configure=_config(drainTimeout="31"), writes=9, before=GREEN, after=GREEN),
]


class Users:
    """Ask for a page without a pause, each answer noted that a user would complain of."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.asked = 0
        self.lost: list[str] = []

    def start(self) -> None:
        self._thread.start()

    def _ask(self) -> None:
        with requests.Session() as session:
            while not self._ended.is_set():
                answer = session.get(self._url, timeout=30)
                self.asked += 1
                if answer.status_code != 200:
                    self.lost.append(f"request {self.asked}: {answer.status_code} {answer.headers.get('X-Color')}")

    def end(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()


@pytest.fixture
def users(front: Front) -> Iterator[Users]:
    asking = Users(front.port)
    yield asking
    asking.end()


def _engine() -> psutil.Process:
    """The engine's process: the only child of this one."""
    (found,) = [each for each in psutil.Process().children() if "rehearsal.engine.process" in each.cmdline()]
    return found


@dataclass(frozen=True, kw_only=True)
class Kill:
    """At a write call: before the engine heard of its end, or at the very next call after that."""

    seed: int
    stage: str
    call: int
    heard: bool

    def __str__(self) -> str:
        moment = "after its answer" if self.heard else "before its answer"
        return f"seed {self.seed}, {self.stage}: killed at write call {self.call}, {moment}"

    def plan(self, traffic: Traffic) -> None:
        traffic.happens(self.call, self._then(traffic) if self.heard else self._now(traffic))

    def _now(self, traffic: Traffic) -> Callable[[Callable[[], Response]], Response]:
        def accident(act: Callable[[], Response]) -> Response:
            response = act()
            self._strike(traffic)
            return response

        return accident

    def _then(self, traffic: Traffic) -> Callable[[Callable[[], Response]], Response]:
        def next_call(act: Callable[[], Response]) -> Response:
            self._strike(traffic)
            return Response(status=503)  # this call never reaches the cloud

        def accident(act: Callable[[], Response]) -> Response:
            response = act()
            traffic.happens(1, next_call, any_call=True)
            return response

        return accident

    def _strike(self, traffic: Traffic) -> None:
        traffic.bar()
        engine = _engine()
        engine.send_signal(signal.SIGKILL)
        while engine.is_running() and engine.status() != psutil.STATUS_ZOMBIE:
            pass


@dataclass(frozen=True, kw_only=True)
class Journey:
    """A stack, its users and the emulated account, through one life."""

    stack: Stack
    front: Front
    traffic: Traffic
    census: Census
    users: Users

    def interrupted(self, kill: Kill, stage: Stage, act: Callable[[], Any]) -> bool:
        """Whether the kill came: a run may end before its call."""
        kill.plan(self.traffic)
        told = ""
        try:
            act()
        except CommandError as error:
            told = str(error)
        self.traffic.mend()
        assert not told or "run it again to converge" in told, f"{kill}: {told}"
        self.serves(kill, [stage.before, stage.after])
        return bool(told)

    def serves(self, when: object, allowed: list[dict[str, int]]) -> None:
        weights = self.front.weights()
        assert weights in allowed, f"{when}: the live rule says {weights}"
        for color in (color for color, weight in weights.items() if weight):
            assert self.front.machines(color), f"{when}: {color} has users and no machine"
        assert self.users.lost == [], f"{when}: users lost requests"

    def converges(self, when: object, stage: Stage) -> None:
        self.stack.up()
        self.serves(when, [stage.after])
        self.census.agrees(self.stack, str(when))
        self.traffic.actions.clear()
        self.stack.up()
        assert self.traffic.writes() == [], f"{when}: an unchanged run changed something"


@pytest.fixture
def journey(
    stack: Stack,
    front: Front,
    traffic: Traffic,
    onlooker: Client,
    users: Users,
    leaving: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Journey:
    """Runs that are to be killed have a process of their own, the others none."""

    def popen(arguments: list[str], **options: Any) -> Any:
        killed = traffic.awaits_accident
        return subprocess.Popen(arguments, **options) if killed else Within(arguments, **options)

    monkeypatch.setattr(stack_module, "subprocess", SimpleNamespace(Popen=popen, PIPE=subprocess.PIPE))
    monkeypatch.setattr(botocore_session, "create_loader", functools.cache(botocore_session.create_loader))
    return Journey(stack=stack, front=front, traffic=traffic, census=Census(onlooker), users=users)


@pytest.mark.parametrize("seed", SEEDS)
def test_users_notice_no_kill_and_the_next_run_puts_things_right(journey: Journey, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a choice that can be repeated
    for stage in LIFE:
        stage.configure(journey.stack)
        heard = stage.writes > 1 and chance.random() < 0.5
        kill = Kill(seed=seed, stage=stage.name, call=chance.randint(1, stage.writes - heard), heard=heard)
        assert journey.interrupted(kill, stage, journey.stack.up), f"{kill}: the run ended before"
        if chance.random() < 0.3:  # once more, on the way back
            again = Kill(seed=seed, stage=f"{stage.name}, again", call=chance.randint(1, 3), heard=False)
            journey.interrupted(again, stage, journey.stack.up)
        journey.converges(kill, stage)
        if stage.after and not journey.users.asked:
            journey.users.start()
    journey.users.end()
    assert journey.users.asked > 10
    _end(journey, seed, chance)


def _end(journey: Journey, seed: int, chance: random.Random) -> None:
    stage = Stage(name="destroy", configure=_config(), writes=40, before=GREEN, after={})
    kill = Kill(seed=seed, stage=stage.name, call=chance.randint(1, stage.writes), heard=chance.random() < 0.5)
    kill.plan(journey.traffic)
    with pytest.raises(CommandError, match="run it again to converge"):
        journey.stack.destroy()
    journey.traffic.mend()
    journey.stack.destroy()
    journey.census.agrees(journey.stack, str(kill))
    assert journey.census.taken() == {}, f"{kill}: left over"

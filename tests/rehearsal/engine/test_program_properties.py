"""Whatever valid settings the program sees one after the other, the account holds what they declare, and only that."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore import session as botocore_session
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from pulumi.automation import ConfigValue

from rehearsal.engine import Stack, open_stack
from rehearsal.engine import stack as stack_module

from .census import Census
from .conftest import Traffic, deliver
from .front import Client, Front
from .within import Within

PLAIN = {
    "logRetentionDays": ("7", "30"),
    "natGateways": ("none", "single", "per-zone"),
    "zoneCount": ("2", "3"),
    "instanceType": ("t3.small", "t3.medium"),
    "drainTimeout": ("30", "31"),
    "deregistrationDelay": ("30", "0"),
    "containerPort": ("8080", "8081"),
    "healthPath": ("/health", "/ready"),
    "targetCpuPercent": ("60", "50"),
    "flowLogs": ("true", "false"),
    "accessLogs": ("true", "false"),
    "alertEmails": ("[]", '["ops@example.org"]'),
    "ingressCidrs": ('["0.0.0.0/0"]', '["192.0.2.0/24", "198.51.100.0/24"]'),
    "aws:defaultTags": ('{"tags": {"Project": "bluegreen"}}', '{"tags": {"Project": "other", "Owner": "ann"}}'),
}


# These make new fleets of the same releases: a gate refuses to move users while old machines stand beside the new.
RENEWING = {"drainTimeout", "healthPath"}
# It makes new target groups, for which users would have to leave the old ones in the same run.
FIXED_ONCE_SERVING = {"containerPort"}


@dataclass
class Wish:
    """What the stack's config asks for, by the program's own rules: what serves users keeps its release."""

    active: str = "blue"
    canary: int = 0
    releases: dict[str, str] = field(default_factory=lambda: {"blue": "", "green": ""})

    @property
    def idle(self) -> str:
        return {"blue": "green", "green": "blue"}[self.active]

    def deliver(self, number: int) -> None:
        color = self.idle if self.releases[self.active] else self.active
        if not self.canary:
            self.releases[color] = f"v{number}"

    def retire(self, _: int) -> None:
        if not self.canary:
            self.releases[self.idle] = ""

    def cut_over(self, _: int) -> None:
        if self.releases[self.idle]:
            self.active, self.canary = self.idle, 0

    def send_some(self, number: int) -> None:
        if self.releases[self.idle]:
            self.canary = number

    def weights(self) -> dict[str, int]:
        return {self.active: 100 - self.canary, self.idle: self.canary} if self.releases[self.active] else {}


MOVES: list[Callable[[Wish, int], None]] = [Wish.deliver, Wish.deliver, Wish.retire, Wish.cut_over, Wish.send_some]
Step = tuple[list[tuple[Callable[[Wish, int], None], int]], dict[str, str]]


@st.composite
def steps(draw: st.DrawFn) -> Step:
    moves = draw(st.lists(st.tuples(st.sampled_from(MOVES), st.integers(1, 99)), min_size=1, max_size=1))
    keys = draw(st.lists(st.sampled_from(sorted(PLAIN)), unique=True, max_size=4))
    return moves, {key: draw(st.sampled_from(PLAIN[key])) for key in keys}


class Life:
    """One stack of the program, from nothing to nothing."""

    def __init__(self, stack: Stack, front: Front, traffic: Traffic, census: Census) -> None:
        self.stack, self.front, self.traffic, self.census = stack, front, traffic, census
        self.wish = Wish()
        self.given: dict[str, str] = {}

    def step(self, moves: list[tuple[Callable[[Wish, int], None], int]], values: dict[str, str]) -> None:
        before = self.wish.weights()
        for move, number in moves:
            move(self.wish, number)
        barred = FIXED_ONCE_SERVING if before else set()
        barred |= RENEWING if before and before != self.wish.weights() else set()
        values = {key: value for key, value in values.items() if key not in barred}
        self.given |= values
        self._configure(values)
        self.stack.up()
        self._holds()
        self.traffic.actions.clear()
        self.stack.up()
        assert self.traffic.writes() == [], "an unchanged run changed something"

    def _configure(self, values: dict[str, str]) -> None:
        for key, value in values.items():
            # Objects and lists go into the file as such, as a person writes them.
            own = self.stack.config.own()
            full = key if ":" in key else f"bluegreen:{key}"
            self.stack.config._save(own | {full: json.loads(value) if value[:1] in "[{" else value})
        for color, release in self.wish.releases.items():
            if release:
                deliver(self.stack, color, release)
            else:
                self.stack.remove_config(color)
        self.stack.set_config("activeColor", ConfigValue(self.wish.active))
        self.stack.set_config("canaryPercent", ConfigValue(str(self.wish.canary)))

    def _holds(self) -> None:
        when = f"{self.wish} {self.given}"
        self.census.agrees(self.stack, when)
        assert self.front.weights() == self.wish.weights(), when
        machines = {color: len(self.front.machines(color)) for color in self.wish.releases}
        assert machines == {color: int(bool(release)) for color, release in self.wish.releases.items()}, when
        found = self.census.taken()
        assert len(found["aws:ec2/subnet:Subnet"]) == 2 * int(self.given.get("zoneCount", "2")), when
        gateways = {"none": 0, "single": 1, "per-zone": int(self.given.get("zoneCount", "2"))}
        nat = len(found.get("aws:ec2/natGateway:NatGateway", []))
        assert nat == gateways[self.given.get("natGateways", "single")], when

    def end(self) -> None:
        self.stack.destroy()
        assert self.census.taken() == {}, f"{self.wish} {self.given}"


@pytest.fixture
def lives(
    tmp_path_factory: pytest.TempPathFactory,
    front: Front,
    traffic: Traffic,
    onlooker: Client,
    leaving: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], Life]:
    monkeypatch.setattr(stack_module, "subprocess", SimpleNamespace(Popen=Within, PIPE=subprocess.PIPE))
    monkeypatch.setattr(botocore_session, "create_loader", functools.cache(botocore_session.create_loader))
    for key in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(key, "eu-central-1")

    def new() -> Life:
        traffic.reset()  # what a failed life left would confuse the next
        census = Census(onlooker)
        folder: Path = tmp_path_factory.mktemp("life")
        monkeypatch.setenv("BLUEGREEN_STATE_DIR", str(folder))
        stack = open_stack("dev")
        stack.set_config("httpPort", ConfigValue(str(front.port)))
        stack.up()
        return Life(stack, front, traffic, census)

    return new


CHANGED = {key: values[1] for key, values in PLAIN.items()}
# Every value changes while the first color serves, and again while both do; then the other takes over alone.
WHOLE: list[Step] = [
    ([(Wish.deliver, 1)], {}),
    ([(Wish.deliver, 2)], CHANGED),
    ([(Wish.send_some, 10)], {key: values[0] for key, values in PLAIN.items()}),
    ([(Wish.cut_over, 0)], {"zoneCount": "3", "natGateways": "per-zone"}),
    ([(Wish.retire, 0)], {"zoneCount": "2"}),
]


@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # a step takes seconds: shrinking would take an hour
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(sequence=WHOLE)
@given(sequence=st.lists(steps(), min_size=3, max_size=4))
def test_any_sequence_of_settings_converges(lives: Callable[[], Life], sequence: list[Step]) -> None:
    life: Any = lives()
    for moves, values in sequence:
        life.step(moves, values)
    life.end()

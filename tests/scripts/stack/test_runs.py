"""How a run ends, whatever fails beside it."""

from __future__ import annotations

import io
import os
import sys
from dataclasses import replace
from typing import Any

import pytest

from fleet.colors import Color
from fleet.state import client, describe
from scripts import status
from scripts.cli.display import Display
from scripts.cli.exits import RollbackFailedError, RolledBackError
from scripts.cutover import CutoverArgs, cut_over
from scripts.stack.automation import read_facts
from scripts.stack.history import read
from scripts.stack.lock import holder, me
from tests.scripts.world import BUCKET, STACK, World, two_colors

QUIET = Display(as_json=True)


def denied(*_: Any, **__: Any) -> Any:
    from botocore.exceptions import ClientError

    raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not for you"}}, "PutObject")


class Broken(io.StringIO):
    """A pipe that nobody reads, or a terminal that was closed."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def write(self, _: str) -> int:
        raise OSError(5, "Input/output error") if self._terminal else BrokenPipeError(32, "Broken pipe")


def without_history(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    put_object = world.s3.put_object

    def put(**what: Any) -> Any:
        return denied() if "/history/" in what["Key"] else put_object(**what)

    monkeypatch.setattr(world.s3, "put_object", put, raising=False)


def test_a_cutover_that_went_well_but_could_not_be_recorded_went_well(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_history(world, monkeypatch)
    record = cut_over(two_colors(world), CutoverArgs(target=Color.GREEN), Display())
    assert record is not None
    assert (record.outcome, world.served()) == ("ok", "v2")
    assert record.error.startswith("the history has no record of this run: An error occurred (AccessDenied)")
    assert record.error in capsys.readouterr().err
    assert holder(world.s3, BUCKET, STACK) is None


def test_an_end_that_can_not_be_recorded_keeps_its_own_words(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = two_colors(world)
    stack.checks_after = False
    world.apps["v2"].fails_with_users = True
    without_history(world, monkeypatch)
    with pytest.raises(RolledBackError, match="traffic is back on blue"):
        cut_over(stack, CutoverArgs(target=Color.GREEN, smoke_deadline_s=0.3), QUIET)
    assert holder(world.s3, BUCKET, STACK) is None


def test_a_way_back_of_which_aws_says_nothing_is_an_emergency(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = two_colors(world)
    stack.checks_after = False
    world.apps["v2"].fails_with_users = True
    ups: list[int] = []

    def aws_goes_away() -> None:
        ups.append(1)
        if len(ups) == 2:
            monkeypatch.setattr(world.elbv2, "get_paginator", denied, raising=False)

    stack.before_up = aws_goes_away
    with pytest.raises(RollbackFailedError, match="Act now: config says blue already"):
        cut_over(stack, CutoverArgs(target=Color.GREEN, smoke_deadline_s=0.3), QUIET)


def test_a_switch_after_which_aws_says_nothing_is_an_emergency(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = two_colors(world)
    stack.before_up = lambda: monkeypatch.setattr(world.elbv2, "get_paginator", denied, raising=False)
    told = (
        r"the switch to green failed \(.*AccessDenied.*\), and AWS does not say where the traffic goes now: .*Act now: "
    )
    with pytest.raises(RollbackFailedError, match=told):
        cut_over(stack, CutoverArgs(target=Color.GREEN), QUIET)
    assert read(world.s3, BUCKET, STACK)[0].outcome == "rollback_failed"


@pytest.mark.parametrize("terminal", [False, True])
def test_users_go_back_though_nobody_reads_what_is_said(
    world: World, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    stack = two_colors(world)
    stack.checks_after = False
    world.apps["v2"].fails_with_users = True
    monkeypatch.setattr(sys, "stderr", Broken(terminal=terminal))
    with pytest.raises(RolledBackError, match="traffic is back on blue"):
        cut_over(stack, CutoverArgs(target=Color.GREEN, smoke_deadline_s=0.3), Display())
    assert world.served() == "v1"


def test_the_lock_tells_the_stage_while_it_runs(world: World) -> None:
    stack = two_colors(world)
    seen: list[str] = []

    def look() -> None:
        found = holder(world.s3, BUCKET, STACK)
        seen.append(found.stage if found else "")

    stack.before_up = look
    display = Display(as_json=True)
    cut_over(stack, CutoverArgs(target=Color.GREEN), display)
    assert seen == ["production traffic shift: blue to green"]
    with display.stage("after the run"):
        assert holder(world.s3, BUCKET, STACK) is None


def test_a_stage_that_cant_be_noted_holds_nothing_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(**what: Any) -> Any:
        asked.append(what["Key"])
        return denied()

    s3 = client(world.session, "s3", fail_fast=True)
    monkeypatch.setattr(s3, "get_object", counted, raising=False)
    cut_over(two_colors(world), CutoverArgs(target=Color.GREEN), QUIET)
    assert (world.served(), len(asked)) == ("v2", 1)
    assert read(world.s3, BUCKET, STACK)[0].outcome == "ok"


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        ("bake: watch green for 60 s", "traffic is on blue, and its bake never ended"),
        ("smoke test: of the public endpoint", "traffic is on blue, and the public endpoint was not checked"),
        ("production traffic shift: blue to green", "traffic is on blue, and config may say otherwise"),
        ("scale up: green", "left no record; traffic is on blue: `./bluegreen smoke-test --stack dev`"),
    ],
)
def test_status_tells_what_a_killed_script_left(world: World, stage: str, told: str) -> None:
    stack = two_colors(world)
    facts = read_facts(stack)
    fleet = describe(STACK, facts.session)
    dead = replace(me("cutover"), pid=2**22 + 1, stage=stage)
    found = status.StackStatus(facts=facts, fleet=fleet, holder=dead, records=[])
    assert found.left.startswith("that process is gone, it left no record; ")
    assert told in found.left
    assert found.as_json()["lock"]["left"] == found.left
    target = "green" if "to green" in stage else "blue"
    resume = f"`./bluegreen cutover {target} --resume --stack dev` on that host continues from there"
    assert (resume in found.left) == (not stage.startswith("scale up"))
    assert "--resume" not in replace(found, holder=replace(dead, action="canary")).left
    away = replace(found, holder=replace(dead, host="elsewhere"))
    assert away.left.startswith("if that process is dead, it left no record; ")
    assert replace(found, holder=replace(dead, pid=os.getpid())).left == ""


def test_status_says_so_beside_the_lock(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    stack = two_colors(world)
    facts = read_facts(stack)
    fleet = describe(STACK, facts.session)
    dead = replace(me("cutover"), pid=2**22 + 1, stage="bake: watch green for 60 s", stage_since="2026-11-21")
    found = status.StackStatus(facts=facts, fleet=fleet, holder=dead, records=[])
    status.show(Display(), found)
    printed = capsys.readouterr().out
    assert f"locked by {dead}\n{found.left}\n" in printed
    assert "in the stage `bake: watch green for 60 s` since 2026-11-21" in printed

"""A cutover that was killed goes on: dead locks are released, living ones are not, and nothing is done twice."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, replace

import pytest
from pulumi.automation._cmd import CommandResult
from pulumi.automation.errors import ConcurrentUpdateError

from fleet.colors import Color
from scripts.cli.display import Display, PulumiLockHolder
from scripts.cli.exits import LockedError, RolledBackError
from scripts.cutover import CutoverArgs, cut_over
from scripts.rollout.resume import require_gone
from scripts.stack.history import read
from scripts.stack.lock import Holder, holder, me
from tests.scripts.world import BUCKET, STACK, World, WorldStack, two_colors

DEAD = 2**22 + 1
BLUE, GREEN = Color.BLUE, Color.GREEN
RESUME = CutoverArgs(target=GREEN, resume=True)


def killed(world: World, *, stage: str, pid: int = DEAD, host: str = "") -> Holder:
    """The lock of a cutover that ended without a word."""
    left = replace(me("cutover"), pid=pid, host=host or socket.gethostname(), stage=stage)
    world.s3.put_object(Bucket=BUCKET, Key=f"deployments/{STACK}/lock.json", Body=json.dumps(asdict(left)).encode())
    return left


def pulumi_locked(stack: WorldStack, *, pid: int, host: str = "") -> None:
    text = (
        "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete the "
        "lock file with `pulumi cancel`.\n  s3://state/.pulumi/locks/organization/bluegreen/dev/1f.json?region=x: "
        f"created by ada@{host or socket.gethostname()} (pid {pid}) at 2026-11-29T05:00:00Z"
    )

    def refuse() -> None:
        raise ConcurrentUpdateError(CommandResult(stdout="", stderr=text, code=255))

    stack.before_up = refuse


@pytest.fixture
def stack(world: World) -> WorldStack:
    """Killed between config and rule: config names green, blue has the traffic."""
    made = two_colors(world)
    made.config["activeColor"] = "green"
    return made


def test_a_cutover_that_was_killed_before_the_rule_changed_is_finished(world: World, stack: WorldStack) -> None:
    left = killed(world, stage="production traffic shift: blue to green")
    pulumi_locked(stack, pid=DEAD)
    record = cut_over(stack, RESUME, Display(as_json=True))
    assert record is not None
    assert (record.outcome, record.lock_broken) == ("ok", str(left))
    assert world.weights() == {BLUE: 0, GREEN: 100}
    assert [call for call in world.calls if call in ("up", "up refreshed", "cancel")] == [
        "up",
        "cancel",
        "up refreshed",
    ]
    assert holder(world.s3, BUCKET, STACK) is None


def test_pulumis_lock_of_a_process_that_lives_or_of_another_host_is_not_released(
    world: World, stack: WorldStack
) -> None:
    for pid, host in ((os.getpid(), ""), (DEAD, "elsewhere")):
        pulumi_locked(stack, pid=pid, host=host)
        with pytest.raises(LockedError, match=r"traffic stays on blue: Pulumi's own lock of the stack is held since"):
            cut_over(stack, RESUME, Display(as_json=True))
    assert "cancel" not in world.calls
    assert world.weights() == {BLUE: 100, GREEN: 0}


@pytest.mark.parametrize(
    ("pid", "host", "told"),
    [
        (os.getpid(), "", "which still runs: wait for it to end"),
        (DEAD, "elsewhere", "only that host knows whether the process has ended; resume there, or, when you know"),
    ],
    ids=["it runs", "on another host"],
)
def test_a_lock_whose_holder_may_live_is_not_taken(
    world: World, stack: WorldStack, pid: int, host: str, told: str
) -> None:
    left = killed(world, stage="bake: watch green", pid=pid, host=host)
    with pytest.raises(LockedError, match=told):
        cut_over(stack, RESUME, Display(as_json=True))
    assert holder(world.s3, BUCKET, STACK) == left
    assert "up" not in world.calls


def test_a_cutover_that_was_killed_after_the_switch_is_checked_and_watched(world: World, stack: WorldStack) -> None:
    world.set_weights({BLUE: 0, GREEN: 100})
    killed(world, stage="smoke test: of the public endpoint")
    display = Display(as_json=True)
    record = cut_over(stack, RESUME, display)
    assert record is not None
    assert record.outcome == "ok"
    assert [stage["name"].partition(":")[0] for stage in display.stages] == [
        "reconcile",
        "production traffic shift",
        "smoke test",
    ]


def test_a_release_that_nobody_had_checked_and_is_bad_loses_its_traffic(world: World, stack: WorldStack) -> None:
    world.set_weights({BLUE: 0, GREEN: 100})
    world.apps["v2"].fails_with_users = True
    killed(world, stage="smoke test: of the public endpoint")
    with pytest.raises(RolledBackError, match="traffic is back on blue"):
        cut_over(stack, replace(RESUME, smoke_deadline_s=0.3), Display(as_json=True))
    assert world.weights() == {BLUE: 100, GREEN: 0}
    assert read(world.s3, BUCKET, STACK)[0].outcome == "rolled_back"


def test_without_any_lock_it_is_a_cutover(world: World, stack: WorldStack) -> None:
    require_gone(None)
    cut_over(stack, RESUME, Display(as_json=True))
    assert world.served() == "v2"


def test_who_holds_pulumis_lock_is_read_from_its_message_or_not_known() -> None:
    text = "file:///b/.pulumi/locks/organization/bluegreen/dev/1f.json?no_tmp_dir=true: created by a@b (pid 7) at then"
    assert PulumiLockHolder.parse(text) == PulumiLockHolder(stack="dev", user="a", host="b", pid=7, since="then")
    assert PulumiLockHolder.parse("another update is in progress") is None

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ami.boot.messages import Kind
from fleet.colors import Color
from fleet.deployments import ALLOW_RETIRE
from fleet.gates import GateClosed
from scripts.cli.display import Display
from scripts.cli.exits import InterruptedByUserError, LockedError, RefusedError, RollbackFailedError, RolledBackError
from scripts.cutover import CutoverArgs, cut_over
from scripts.releases.bucket import Migration
from scripts.rollout.traffic import allowed
from scripts.stack.history import read
from scripts.stack.lock import holder, locked
from tests.scripts.world import BUCKET, STACK, World, WorldStack, two_colors


def go(stack: WorldStack, target: Color | None = Color.GREEN, **options: Any) -> Any:
    return cut_over(
        stack,
        CutoverArgs(target=target, preview_deadline_s=0.3, smoke_deadline_s=0.3, **options),
        Display(as_json=True),
    )


class InterruptedIn(Display):
    """A Ctrl-C comes as soon as the stage begins that is so called."""

    def __init__(self, stage: str) -> None:
        super().__init__(as_json=True)
        self.fatal = stage

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[str], None]]:
        with super().stage(name) as tell:
            if name.startswith(self.fatal):
                signal.raise_signal(signal.SIGINT)
            yield tell


def test_all_users_move_and_only_the_live_rule_changes(world: World) -> None:
    stack = two_colors(world)
    record = go(stack)
    assert world.served() == "v2"
    assert world.weights() == {Color.BLUE: 0, Color.GREEN: 100}
    assert record.changed_resources == 1
    assert world.calls == ["config activeColor=green", "up", "weights blue=0 green=100"]


def test_the_run_is_recorded_and_the_lock_given_back(world: World) -> None:
    go(two_colors(world))
    [record] = read(world.s3, BUCKET, STACK)
    assert (record.kind, record.outcome) == ("cutover", "ok")
    assert (record.source.color, record.source.release) == ("blue", "v1")
    assert (record.target.color, record.target.release, record.target.ami) == ("green", "v2", world.ami)
    assert record.target.asg == world.machines_of(Color.GREEN)[0]["group"]
    assert holder(world.s3, BUCKET, STACK) is None


def test_judged_through_the_preview_before_any_user_is_switched(world: World) -> None:
    stack = two_colors(world)
    stack.before_up = lambda: world.requests.append("up begins")
    go(stack)
    before = world.requests[: world.requests.index("up begins")]
    assert before == ["preview green /health?deep=1"]


def test_the_target_is_brought_to_the_serving_capacity_first(world: World) -> None:
    stack = two_colors(world, sizes=(3, 1))
    go(stack)
    assert len(world.machines_of(Color.GREEN)) == 3
    assert world.served() == "v2"


def test_more_than_the_target_may_have_is_refused(world: World) -> None:
    stack = two_colors(world, sizes=(3, 1))
    world.autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=world.machines_of(Color.GREEN)[0]["group"], MaxSize=2
    )
    with pytest.raises(
        RefusedError,
        match=r"serves with 3 instances, but green may have 2 at most.*set --stack dev --path green.maxSize 3",
    ):
        go(stack)
    assert world.served() == "v1"


def test_a_color_that_is_off_is_refused(world: World) -> None:
    stack = two_colors(world)
    stack.config["green"]["release"] = ""
    with allowed(ALLOW_RETIRE):
        stack.up()
    with pytest.raises(RefusedError, match=r"green is off, it has no instances; deploy a release to it first"):
        go(stack)
    assert (world.served(), stack.config["activeColor"]) == ("v1", "blue")


def test_a_color_of_another_release_than_configured_is_refused(world: World) -> None:
    stack = two_colors(world)
    stack.config["green"]["release"] = "v3"
    with pytest.raises(RefusedError, match=r"green has release v2, but the stack's config says v3"):
        go(stack)
    assert world.served() == "v1"


def test_a_release_that_fails_its_deep_check_gets_no_user(world: World) -> None:
    stack = two_colors(world, green="v3")
    world.apps["v3"].database = "connection refused"
    with pytest.raises(GateClosed, match=r"green is not ready for traffic.*release v3.*database: connection refused"):
        go(stack)
    assert "up" not in world.calls
    assert world.served() == "v1"
    [record] = read(world.s3, BUCKET, STACK)
    assert record.outcome == "refused"


def test_users_go_back_when_the_smoke_test_after_the_switch_fails(world: World) -> None:
    stack = two_colors(world)
    stack.checks_after = False
    world.apps["v2"].fails_with_users = True
    with pytest.raises(RolledBackError, match=r"traffic is back on blue; the release on green was bad: health"):
        go(stack)
    assert (world.served(), stack.config["activeColor"]) == ("v1", "blue")
    assert [call for call in world.calls if call.startswith("weights")] == [
        "weights blue=0 green=100",
        "weights blue=100 green=0",
    ]
    [record] = read(world.s3, BUCKET, STACK)
    assert record.outcome == "rolled_back"


def test_users_go_back_when_the_program_s_own_check_fails_the_update(world: World) -> None:
    stack = two_colors(world)
    world.apps["v2"].fails_with_users = True
    with pytest.raises(RolledBackError, match="traffic is back on blue"):
        go(stack)
    assert (world.served(), stack.config["activeColor"]) == ("v1", "blue")


def test_a_way_back_that_fails_too_says_where_users_are(world: World) -> None:
    stack = two_colors(world)
    stack.checks_after = False
    world.apps["v2"].fails_with_users = True
    blue = {one["instance"] for one in world.machines_of(Color.BLUE)}
    ups = iter([set[str](), blue, set[str]()])
    stack.before_up = lambda: world.ill.update(next(ups))
    with pytest.raises(
        RollbackFailedError,
        match=r"^the release on green is bad .*rolling back to blue failed too: .*blue has 0 of 2 healthy",
    ):
        go(stack)
    assert stack.config["activeColor"] == "blue"


def test_a_gate_that_refuses_inside_the_update_leaves_config_as_it_was(world: World) -> None:
    stack = two_colors(world)
    ill = world.machines_of(Color.GREEN)[0]["instance"]
    stack.before_up = lambda: world.ill.add(ill)
    with pytest.raises(
        RefusedError, match=r"traffic stays on blue: .*green has 1 of 2 healthy instances of release v2"
    ):
        go(stack)
    assert (world.served(), stack.config["activeColor"]) == ("v1", "blue")


def test_a_second_cutover_is_refused_and_names_the_holder(world: World) -> None:
    stack = two_colors(world)
    with locked(world.s3, BUCKET, STACK, "cutover") as first:
        with pytest.raises(LockedError) as refused:
            go(stack)
        assert f"locked by {first.holder} on {first.host} (pid {first.pid}) for cutover since" in str(refused.value)
        assert world.calls == []
    go(stack)
    assert world.served() == "v2"


def test_two_at_the_same_moment_one_wins(world: World) -> None:
    stack = two_colors(world)
    inside, refused = threading.Event(), list[str]()

    def meanwhile() -> None:
        inside.set()
        second.join()

    def try_too() -> None:
        inside.wait(10)
        try:
            go(WorldStack(world, stack.config))
        except LockedError as error:
            refused.append(str(error))

    stack.before_up = meanwhile
    second = threading.Thread(target=try_too)
    second.start()
    go(stack)
    assert len(refused) == 1
    assert world.calls.count("up") == 1


def test_break_lock_takes_it_from_a_dead_holder(world: World) -> None:
    stack = two_colors(world)
    dead = {"holder": "ann", "host": "elsewhere", "pid": 1, "since": "2024-05-01", "action": "cutover", "id": "x"}
    world.s3.put_object(Bucket=BUCKET, Key=f"deployments/{STACK}/lock.json", Body=json.dumps(dead))
    with pytest.raises(LockedError, match="ann on elsewhere"):
        go(stack)
    go(stack, break_lock=True)
    assert world.served() == "v2"
    assert holder(world.s3, BUCKET, STACK) is None
    assert read(world.s3, BUCKET, STACK)[0].lock_broken == "ann on elsewhere (pid 1) for cutover since 2024-05-01"


def test_break_lock_takes_nothing_over_where_nobody_holds_it(world: World) -> None:
    go(two_colors(world), break_lock=True)
    assert read(world.s3, BUCKET, STACK)[0].lock_broken == ""


def test_ctrl_c_before_the_switch_changes_nothing_and_gives_the_lock_back(world: World) -> None:
    stack = two_colors(world)
    ill = world.machines_of(Color.GREEN)[0]["instance"]
    world.ill.add(ill)
    with pytest.raises(InterruptedByUserError, match="interrupted; nothing was changed"):
        cut_over(stack, CutoverArgs(target=Color.GREEN), InterruptedIn("scale up"))
    assert (world.served(), stack.config["activeColor"]) == ("v1", "blue")
    assert holder(world.s3, BUCKET, STACK) is None
    assert read(world.s3, BUCKET, STACK)[0].outcome == "interrupted"


@pytest.mark.parametrize("stage", ["reconcile", "test traffic"])
def test_ctrl_c_in_other_stages_before_the_switch_changes_nothing_either(world: World, stage: str) -> None:
    stack = two_colors(world)
    with pytest.raises(InterruptedByUserError, match="interrupted; nothing was changed"):
        cut_over(stack, CutoverArgs(target=Color.GREEN), InterruptedIn(stage))
    assert world.calls == []
    assert holder(world.s3, BUCKET, STACK) is None


@pytest.mark.parametrize("stage", ["smoke test", "bake"])
def test_ctrl_c_after_the_switch_leaves_users_and_config_on_the_new_color(world: World, stage: str) -> None:
    stack = two_colors(world)
    with pytest.raises(InterruptedByUserError, match="traffic is on green, and config says so"):
        cut_over(stack, CutoverArgs(target=Color.GREEN, bake_s=5), InterruptedIn(stage))
    assert (world.served(), stack.config["activeColor"]) == ("v2", "green")
    assert holder(world.s3, BUCKET, STACK) is None


def test_ctrl_c_during_the_update_waits_for_its_end_and_tells_where_users_are(world: World) -> None:
    stack = two_colors(world)
    stack.before_up = lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    with pytest.raises(InterruptedByUserError, match="traffic is on green, and config says so"):
        go(stack)
    assert (world.served(), stack.config["activeColor"]) == ("v2", "green")
    assert holder(world.s3, BUCKET, STACK) is None


def test_ctrl_c_during_an_update_that_then_fails_puts_config_back(world: World) -> None:
    stack = two_colors(world)

    def interrupt_and_fall_ill() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        world.ill.update(one["instance"] for one in world.machines_of(Color.GREEN))

    stack.before_up = interrupt_and_fall_ill
    with pytest.raises(RefusedError, match="traffic stays on blue"):
        go(stack)
    assert (world.served(), stack.config["activeColor"]) == ("v1", "blue")
    assert holder(world.s3, BUCKET, STACK) is None


def test_the_way_back_judges_the_old_color_and_turns_it_on_before_the_new_one_is_off(world: World) -> None:
    stack = two_colors(world)
    go(stack)
    world.calls.clear()
    world.requests.clear()
    stack.before_up = lambda: world.requests.append("up begins")
    record = go(stack, None, kind=Kind.ROLLBACK)
    assert world.served() == "v1"
    assert record.kind == "rollback"
    assert world.requests[0] == "preview blue /health?deep=1"
    # One change of one rule: there is no moment without a color that serves.
    assert world.calls == ["config activeColor=blue", "up", "weights blue=100 green=0"]


def test_a_way_back_to_an_ill_color_is_refused_and_the_new_one_stays_on(world: World) -> None:
    stack = two_colors(world)
    go(stack)
    world.apps["v1"].answers = False
    with pytest.raises(GateClosed, match="blue is not ready for traffic"):
        go(stack, None)
    assert world.served() == "v2"


def test_the_way_back_over_a_breaking_migration_must_be_asked_for(world: World) -> None:
    stack = two_colors(world)
    world.publish("v2", Migration.BREAKING, second=1)
    go(stack)
    with pytest.raises(RefusedError, match=r"v1, which can't run on the database that v2 left.*--accept-breaking"):
        go(stack, None)
    assert world.served() == "v2"
    go(stack, None, accept_breaking_migration=True)
    assert world.served() == "v1"


def test_additive_migrations_leave_the_way_back_free(world: World) -> None:
    stack = two_colors(world)
    world.publish("v2", Migration.ADDITIVE, second=1)
    go(stack)
    go(stack, None)
    assert world.served() == "v1"


def test_a_breaking_release_between_the_two_counts_as_well(world: World) -> None:
    stack = two_colors(world, green="v3")
    world.publish("v2", Migration.BREAKING, second=1)
    go(stack)
    with pytest.raises(RefusedError, match="the database that v2 left"):
        go(stack, None)


def test_to_the_color_that_serves_already_is_refused(world: World) -> None:
    with pytest.raises(RefusedError, match="blue has all traffic already, with release v1"):
        go(two_colors(world), Color.BLUE)


def test_users_that_are_not_where_config_says_can_be_brought_there(world: World) -> None:
    stack = two_colors(world)
    world.set_weights({Color.BLUE: 0, Color.GREEN: 100})
    go(stack, Color.BLUE)
    assert world.served() == "v1"


def test_config_that_runs_ahead_of_the_users_must_be_cleared_up_first(world: World) -> None:
    stack = two_colors(world)
    stack.config["activeColor"] = "green"
    with pytest.raises(RefusedError, match=r"blue has all traffic already"):
        go(stack, Color.BLUE)
    go(stack, Color.GREEN)
    assert world.served() == "v2"


def test_a_canary_ends_with_the_cutover(world: World) -> None:
    stack = two_colors(world)
    stack.config["canaryPercent"] = "10"
    stack.up()
    go(stack)
    assert world.weights() == {Color.BLUE: 0, Color.GREEN: 100}
    assert stack.config["canaryPercent"] == "0"


def test_a_canary_returns_when_the_cutover_is_refused(world: World) -> None:
    stack = two_colors(world)
    stack.config["canaryPercent"] = "10"
    stack.up()
    stack.before_up = lambda: world.ill.update(one["instance"] for one in world.machines_of(Color.GREEN))
    with pytest.raises(RefusedError, match="traffic stays on blue"):
        go(stack)
    assert stack.config["canaryPercent"] == "10"
    assert world.weights() == {Color.BLUE: 90, Color.GREEN: 10}


def test_before_the_first_release_there_is_nothing_to_cut_over_from(world: World) -> None:
    with pytest.raises(RefusedError, match=r"no release is live yet.*deploy a first release to blue"):
        go(WorldStack(world, {}))

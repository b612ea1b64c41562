from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ami.boot.messages import Kind
from fleet.colors import Color
from scripts.canary import CanaryArgs, cli, set_weight
from scripts.cli.display import Display
from scripts.cli.exits import Exit, LockedError, RefusedError
from scripts.cutover import CutoverArgs, cut_over
from scripts.stack.history import read
from scripts.stack.lock import locked
from tests.scripts.world import BUCKET, STACK, World, WorldStack, two_colors

QUIET = Display(as_json=True)


def test_a_share_of_the_users_meets_the_other_color_and_the_rest_stays(world: World) -> None:
    stack = two_colors(world)
    record = set_weight(stack, CanaryArgs(percent=10), QUIET)
    assert world.weights() == {Color.BLUE: 90, Color.GREEN: 10}
    assert record is not None
    assert (record.kind, record.outcome, record.changed_resources) == ("canary", "ok", 1)
    assert (record.target.color, record.target.release) == ("green", "v2")
    set_weight(stack, CanaryArgs(percent=0), QUIET)
    assert world.weights() == {Color.BLUE: 100, Color.GREEN: 0}


def test_a_release_that_is_not_fit_gets_nobody_and_config_says_so(world: World) -> None:
    stack = two_colors(world)
    world.apps["v2"].database = "down"
    with pytest.raises(RefusedError, match=r"green keeps its 0 %: .*fails the smoke test"):
        set_weight(stack, CanaryArgs(percent=10), QUIET)
    assert world.weights() == {Color.BLUE: 100, Color.GREEN: 0}
    assert "canaryPercent" not in stack.config
    [record] = read(world.s3, BUCKET, STACK)
    assert (record.kind, record.outcome) == ("canary", "refused")


def test_a_larger_share_that_is_refused_leaves_the_smaller_one(world: World) -> None:
    stack = two_colors(world)
    set_weight(stack, CanaryArgs(percent=10), QUIET)
    world.apps["v2"].database = "down"
    with pytest.raises(RefusedError, match="green keeps its 10 %"):
        set_weight(stack, CanaryArgs(percent=50), QUIET)
    assert (world.weights()[Color.GREEN], stack.config["canaryPercent"]) == (10, "10")


def test_without_users_or_with_them_elsewhere_than_config_says_nothing_is_shared(world: World) -> None:
    world.publish("v1")
    with pytest.raises(RefusedError, match="no release is live yet"):
        set_weight(WorldStack(world, {}), CanaryArgs(percent=10), QUIET)
    stack = two_colors(world)
    stack.config["activeColor"] = "green"
    with pytest.raises(RefusedError, match=r"config says .*green 100 %, but the stack's last update left blue 100 %"):
        set_weight(stack, CanaryArgs(percent=10), QUIET)


def test_whoever_holds_the_lock_is_not_disturbed(world: World) -> None:
    stack = two_colors(world)
    with locked(world.s3, BUCKET, STACK, "deploy", break_lock=False), pytest.raises(LockedError):
        set_weight(stack, CanaryArgs(percent=10), QUIET)
    assert world.calls == []


@pytest.mark.parametrize("percent", ["-1", "100", "x"])
def test_all_users_are_a_cutover_and_no_share(percent: str) -> None:
    assert CliRunner().invoke(cli, ["--", percent]).exit_code == Exit.USAGE


def test_a_rollback_during_a_canary_does_not_send_everybody_to_it(world: World) -> None:
    stack = two_colors(world)
    set_weight(stack, CanaryArgs(percent=10), QUIET)
    with pytest.raises(RefusedError, match=r"green holds release v2 for 10 % of the traffic: that is a canary"):
        cut_over(stack, CutoverArgs(kind=Kind.ROLLBACK), QUIET)
    assert world.weights() == {Color.BLUE: 90, Color.GREEN: 10}

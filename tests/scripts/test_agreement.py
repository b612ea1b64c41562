"""Every command from every disagreement of config, stack and AWS on who is live: who has the traffic afterwards."""

from __future__ import annotations

import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pulumi.automation.errors import CommandError, ConcurrentUpdateError

from ami.boot.messages import Kind
from fleet.colors import Color
from fleet.deployments import ALLOW_RETIRE
from scripts.canary import CanaryArgs, set_weight
from scripts.cli.display import Display
from scripts.cli.exits import LockedError, RefusedError, UsageError
from scripts.cutover import CutoverArgs, cut_over
from scripts.deploy import DeployArgs, deploy
from scripts.retire import RetireArgs, retire
from scripts.rollout.traffic import allowed
from scripts.sync_config import SyncArgs, sync_config
from scripts.up import UpArgs, bring_up
from tests.scripts.world import World, WorldStack, two_colors

QUIET = Display(as_json=True)
BLUE, GREEN = Color.BLUE, Color.GREEN
PAUSE_S = 0.01


# -- states: blue v1 and green v2 are on, and somebody has done something --------------------------------------------


def good(stack: WorldStack, world: World) -> WorldStack:
    return stack


def wish(stack: WorldStack, world: World) -> WorldStack:
    """`pulumi config set activeColor green`, and no `up` yet."""
    stack.config["activeColor"] = "green"
    return stack


def canary(stack: WorldStack, world: World) -> WorldStack:
    stack.config["canaryPercent"] = "10"
    stack.up()
    return stack


def killed(stack: WorldStack, world: World) -> WorldStack:
    """A cutover to green was killed after AWS had the weights; the stack's state still says blue."""
    stack.config["activeColor"] = "green"
    stack.config["revision"] = stack.change().revision_at_begin
    world.set_weights({BLUE: 0, GREEN: 100})
    stack.recorded = {BLUE: 100, GREEN: 0}
    return stack


def begun(stack: WorldStack, world: World) -> WorldStack:
    """A cutover to green was killed before AWS had the weights."""
    stack.config["activeColor"] = "green"
    stack.config["revision"] = stack.change().revision_at_begin
    return stack


def stale(stack: WorldStack, world: World) -> WorldStack:
    """Another checkout has cut over to green since."""
    other = WorldStack(world, {**stack.config, "activeColor": "green"})
    other.applied = stack.applied
    other.up()
    stack.applied = other.applied
    return stack


def fresh(stack: WorldStack, world: World) -> WorldStack:
    """A clone with what Git has."""
    clone = WorldStack(world, {"blue": {"minSize": 2}, "green": {"minSize": 2}})
    clone.applied = stack.applied
    return clone


def moved(stack: WorldStack, world: World) -> WorldStack:
    """A direct rollback of another checkout: AWS has green, config and state say blue."""
    world.set_weights({BLUE: 0, GREEN: 100})
    stack.recorded = {BLUE: 100, GREEN: 0}
    return stack


def idle_off(stack: WorldStack, world: World) -> WorldStack:
    stack.config["green"] = {"minSize": 2, "maxSize": 4}
    with allowed(ALLOW_RETIRE):
        stack.up()
    return stack


def locked(stack: WorldStack, world: World) -> WorldStack:
    """Like `killed`, and Pulumi's own lock was left."""
    killed(stack, world)

    def refuse() -> None:
        raise ConcurrentUpdateError(_result("the stack is currently locked by 1 lock(s)"))

    stack.before_up = refuse
    return stack


def _result(text: str) -> Any:
    from pulumi.automation._cmd import CommandResult

    return CommandResult(stdout="", stderr=f"error: {text}", code=255)


STATES: dict[str, Callable[[WorldStack, World], WorldStack]] = {
    each.__name__: each for each in (good, wish, canary, killed, begun, stale, fresh, moved, idle_off, locked)
}


# -- commands --------------------------------------------------------------------------------------------------------


def _cut_over(target: Color | None, **values: Any) -> Callable[[WorldStack], Any]:
    args = CutoverArgs(target=target, preview_deadline_s=0.3, smoke_deadline_s=0.3, **values)
    return lambda stack: cut_over(stack, args, QUIET)


COMMANDS: dict[str, Callable[[WorldStack], Any]] = {
    "pulumi up": lambda stack: stack.up(),
    "up --refresh": lambda stack: stack.up(refresh=True),
    "up": lambda stack: bring_up(stack, UpArgs(), QUIET),
    "deploy v3": lambda stack: deploy(stack, DeployArgs(version="v3", deadline_s=5), QUIET),
    "cutover blue": _cut_over(BLUE),
    "cutover green": _cut_over(GREEN),
    "rollback": _cut_over(None, kind=Kind.ROLLBACK),
    "canary 20": lambda stack: set_weight(stack, CanaryArgs(percent=20), QUIET),
    "retire": lambda stack: retire(stack, RetireArgs(deadline_s=5), QUIET),
    "recall": lambda stack: sync_config(stack, SyncArgs()),
}
# For each state what blue has before, and for each command what it has afterwards: `-` when it was refused, where
# nothing may have changed; `lock` when Pulumi's lock barred it.
TABLE = """
            before  pulumi up  up --refresh  up    deploy v3  cutover blue  cutover green  rollback  canary 20  retire  recall
good           100        100           100  100         100             -              0         0         80     100     100
wish           100          0             0    0           -             -              0         -          -       -     100
canary          90         90            90   90           -           100              0         -         80       -      90
killed           0          0             0    0           -           100              -       100          -       -       0
begun          100          0             0    0           -             -              0         -          -       -     100
stale            0          -             -    -           -             -              -       100          -       -       0
fresh          100          -             -    -           -             -              -         0          -       -     100
moved            0          0             -    -           -           100              -         -          -       -       0
idle_off       100        100           100  100         100             -              -         -          -     100     100
locked           0       lock          lock lock           -          lock              -      lock          -       -       0
"""  # noqa: E501


def _cells() -> Iterator[Any]:
    header, *rows = TABLE.strip("\n").splitlines()
    names = re.split(r"\s{2,}", header.strip())
    for row in rows:
        state, before, *cells = row.split()
        for name, cell in zip(names[1:], cells, strict=True):
            yield pytest.param(state, int(before), name, cell, id=f"{state}: {name}")


@contextmanager
def users(world: World) -> Iterator[list[int]]:
    """Somebody asks for the start page all the while; the statuses of what wasn't answered well."""
    failed, over = list[int](), threading.Event()

    def ask() -> None:
        while not over.wait(PAUSE_S):
            try:
                with urllib.request.urlopen(f"{world.url}/", timeout=5) as answer:
                    answer.read()
            except urllib.error.HTTPError as error:
                failed.append(error.code)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield failed
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(("state", "before", "command", "cell"), list(_cells()))
def test_who_has_the_traffic_afterwards(world: World, state: str, before: int, command: str, cell: str) -> None:
    stack = STATES[state](two_colors(world), world)
    assert world.weights() == {BLUE: before, GREEN: 100 - before}
    config = {key: value for key, value in stack.config.items() if key != "revision"}
    world.calls.clear()
    outcome = "done"
    with users(world) as failed:
        try:
            COMMANDS[command](stack)
        except (ConcurrentUpdateError, LockedError):
            outcome = "locked"
        except (RefusedError, UsageError, CommandError) as error:
            outcome, said = "refused", str(error)
        time.sleep(2 * PAUSE_S)
    found = world.weights()[BLUE]
    assert failed == []
    if cell.isdigit():
        assert (outcome, found) == ("done", int(cell))
        return
    assert (outcome, found) == ("refused" if cell == "-" else "locked", before)
    if cell == "-":
        assert "`" in said or "has all traffic already" in said or "until blue and green both have a" in said, said
        assert {key: value for key, value in stack.config.items() if key != "revision"} == config
        assert [call for call in world.calls if call.startswith(("create", "delete", "weights"))] == []

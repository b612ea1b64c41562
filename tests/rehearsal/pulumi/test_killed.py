"""Pulumi's own engine, killed at random points: the lock is explained, the next run goes on, users have one color."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pulumi.automation as auto
import pytest

from tests.rehearsal.cloud.fleet import Running
from tests.rehearsal.pulumi.front import Front

from .conftest import OpenStack
from .test_life import Life, both_colors, touched

SEED = 20261121
KILLS = 10
LONGEST_PAUSE_S = 0.3
UP = ("pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", "dev")
pytestmark = [pytest.mark.engine, pytest.mark.timeout(1500)]


def killed(stack: auto.Stack, *, after: int, pause: float) -> None:
    """An `up` whose engine and plugins are killed a moment after it told of so many starts of steps, or at its end."""
    process = subprocess.Popen(
        UP,
        cwd=stack.workspace.work_dir,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        after -= "ing (0s)" in line
        if not after:
            break
    time.sleep(pause)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def pending(stack: auto.Stack) -> list[Mapping[str, Any]]:
    """Operations of which the state knows only that they began."""
    return list((stack.export_stack().deployment or {}).get("pending_operations") or ())


def lock_is_explained(stack: auto.Stack) -> None:
    with pytest.raises(auto.ConcurrentUpdateError, match=r"pulumi cancel.*\n.*created by .*pid \d+"):
        stack.up()
    stack.cancel()


def test_killed_ten_times_on_its_way_the_next_run_converges(stack_in_bucket: OpenStack, cloud: Running) -> None:
    life = Life(stack_in_bucket("dev"), cloud)
    both_colors(life)
    chance = random.Random(SEED)  # noqa: S311 - the same points in every run
    points = [(chance.randint(1, 14), chance.uniform(0, LONGEST_PAUSE_S)) for _ in range(KILLS)]
    for number, (after, pause) in enumerate(points):
        killed(life.stack, after=after, pause=pause)
        if number == 0:
            lock_is_explained(life.stack)
        else:
            life.stack.cancel()
    unsure = {each["resource"]["urn"] for each in pending(life.stack) if each["type"] == "creating"}
    up_again(life, unsure)
    assert life.up("unchanged") == {}
    assert life.weights() == {"blue": 100, "green": 0}
    assert life.groups() == ["dev-blue-v1", "dev-green-v2"]
    life.stack.destroy()
    assert len(networks(cloud)) <= sum("::network" in urn for urn in unsure)


def up_again(life: Life, unsure: set[str]) -> None:
    """What was being made under a name of its own bars the update, which says so; without it the update converges."""
    try:
        life.up("after the kills")
    except auto.CommandError as error:
        barring = [name for name in ("app", "boot", "system") if any(f"::logs-{name}" in urn for urn in unsure)]
        if "ResourceAlreadyExistsException" not in str(error) or not barring:
            raise
        logs = life.cloud.client("logs")
        for name in barring:
            with suppress(logs.exceptions.ResourceNotFoundException):  # killed before the call
                logs.delete_log_group(logGroupName=f"/bluegreen/dev/{name}")
        life.up("after the kills")


def networks(cloud: Running) -> list[str]:
    """What a kill between a creation and its record leaves, and the engine warns of as a pending operation."""
    own = [{"Name": "is-default", "Values": ["false"]}]
    return [each["VpcId"] for each in cloud.client("ec2").describe_vpcs(Filters=own)["Vpcs"]]


def test_killed_in_a_cutover_users_have_one_whole_color(stack: OpenStack, cloud: Running, front: Front) -> None:
    life = Life(stack("dev"), cloud)
    both_colors(life)
    life.up("both colors")
    chance = random.Random(SEED)  # noqa: S311 - the same points in every run
    for number in range(3):
        wanted = "green" if number % 2 == 0 else "blue"
        life.set("activeColor", wanted)
        killed(life.stack, after=1, pause=chance.uniform(0, 3))
        assert life.weights() in ({"blue": 100, "green": 0}, {"blue": 0, "green": 100})
        life.stack.cancel()
        assert touched(life.stack.up(refresh=True).summary.resource_changes) in ({}, {"update": 1})
        assert life.weights() == {"blue": 0, "green": 0} | {wanted: 100}
        assert life.groups() == ["dev-blue-v1", "dev-green-v2"]
    life.stack.destroy()

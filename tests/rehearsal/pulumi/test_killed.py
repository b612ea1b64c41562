"""Pulumi's engine killed at random points: the lock is explained, the next run converges, one color has all traffic."""

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
from tests.rehearsal.pulumi.load_balancer_stub import LoadBalancerStub

from .conftest import OpenStack
from .test_stack_lifecycle import StackLifecycle, both_colors, changed_counts

SEED = 20261121
KILLS = 10
MAX_PAUSE_S = 0.3
UP = ("pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", "dev")
pytestmark = [pytest.mark.engine, pytest.mark.timeout(1500)]


def killed(stack: auto.Stack, *, after: int, pause: float) -> None:
    """Run `up` and kill engine and plugins a moment after it has reported this many started steps, or at its end."""
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
    """Pending operations of the state."""
    return list((stack.export_stack().deployment or {}).get("pending_operations") or ())


def assert_lock_is_explained(stack: auto.Stack) -> None:
    with pytest.raises(auto.ConcurrentUpdateError, match=r"pulumi cancel.*\n.*created by .*pid \d+"):
        stack.up()
    stack.cancel()


def test_after_ten_killed_runs_the_next_run_converges(stack_in_bucket: OpenStack, cloud: Running) -> None:
    lifecycle = StackLifecycle(stack_in_bucket("dev"), cloud)
    both_colors(lifecycle)
    chance = random.Random(SEED)  # noqa: S311 - the same points in every run
    points = [(chance.randint(1, 14), chance.uniform(0, MAX_PAUSE_S)) for _ in range(KILLS)]
    for number, (after, pause) in enumerate(points):
        killed(lifecycle.stack, after=after, pause=pause)
        if number == 0:
            assert_lock_is_explained(lifecycle.stack)
        else:
            lifecycle.stack.cancel()
    pending_urns = {each["resource"]["urn"] for each in pending(lifecycle.stack) if each["type"] == "creating"}
    up_again(lifecycle, pending_urns)
    assert lifecycle.up("unchanged") == {}
    assert lifecycle.weights() == {"blue": 100, "green": 0}
    assert lifecycle.groups() == ["dev-blue-v1", "dev-green-v2"]
    lifecycle.stack.destroy()
    assert len(networks(cloud)) <= sum("::network" in urn for urn in pending_urns)


def up_again(lifecycle: StackLifecycle, pending_urns: set[str]) -> None:
    """A resource with a declared name whose creation was interrupted makes `up` fail until it is deleted."""
    try:
        lifecycle.up("after the kills")
    except auto.CommandError as error:
        existing = [name for name in ("app", "boot", "system") if any(f"::logs-{name}" in urn for urn in pending_urns)]
        if "ResourceAlreadyExistsException" not in str(error) or not existing:
            raise
        logs = lifecycle.cloud.client("logs")
        for name in existing:
            with suppress(logs.exceptions.ResourceNotFoundException):  # killed before the call
                logs.delete_log_group(logGroupName=f"/bluegreen/dev/{name}")
        lifecycle.up("after the kills")


def networks(cloud: Running) -> list[str]:
    """VPCs of killed creations that were not recorded; the engine warns of them as pending operations."""
    own = [{"Name": "is-default", "Values": ["false"]}]
    return [each["VpcId"] for each in cloud.client("ec2").describe_vpcs(Filters=own)["Vpcs"]]


def test_after_a_killed_cutover_one_color_has_all_traffic(
    stack: OpenStack, cloud: Running, load_balancer: LoadBalancerStub
) -> None:
    lifecycle = StackLifecycle(stack("dev"), cloud)
    both_colors(lifecycle)
    lifecycle.up("both colors")
    chance = random.Random(SEED)  # noqa: S311 - the same points in every run
    for number in range(3):
        color = "green" if number % 2 == 0 else "blue"
        lifecycle.set("activeColor", color)
        killed(lifecycle.stack, after=1, pause=chance.uniform(0, 3))
        assert lifecycle.weights() in ({"blue": 100, "green": 0}, {"blue": 0, "green": 100})
        lifecycle.stack.cancel()
        assert changed_counts(lifecycle.stack.up(refresh=True).summary.resource_changes) in ({}, {"update": 1})
        assert lifecycle.weights() == {"blue": 0, "green": 0} | {color: 100}
        assert lifecycle.groups() == ["dev-blue-v1", "dev-green-v2"]
    lifecycle.stack.destroy()

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fleet import launches
from fleet.colors import Color
from fleet.launches import (
    CapacityWait,
    LaunchesStoppedError,
    LaunchFailure,
    launch_failures,
    missing_capacity,
    past_activity_ids,
    wait_for_capacity,
)
from fleet.waiting import TimedOut
from tests.fleet.test_waiting import Clock
from tests.scripts.world import World, two_colors

ABANDONED = (
    "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token e85eb647 was abandoned: "
    "Lifecycle Action Completed with ABANDON Result"
)
BEGAN = datetime(2026, 11, 21, tzinfo=UTC)


def activity(number: int, description: str, status: str = "Successful", **more: str) -> dict[str, Any]:
    return {
        "ActivityId": f"a{number}",
        "Description": description,
        "StatusCode": status,
        "StartTime": BEGAN + timedelta(seconds=number),
        "Cause": more.pop("cause", "At 2026-11-21T00:00:00Z an instance was started"),
        **more,
    }


def abandoned(number: int, instance: str) -> dict[str, Any]:
    return activity(
        number,
        f"Launching a new EC2 instance: {instance}.  Status Reason: {ABANDONED}",
        "Cancelled",
        StatusMessage=ABANDONED,
    )


def test_abandoned_launches_are_losses_the_oldest_first() -> None:
    told = [abandoned(2, "i-0b"), activity(1, "Launching a new EC2 instance: i-0c"), abandoned(0, "i-0a")]
    assert launch_failures(told) == [
        LaunchFailure(instance="i-0a", reason=ABANDONED),
        LaunchFailure(instance="i-0b", reason=ABANDONED),
    ]


def test_a_launch_that_never_gave_a_machine_is_a_loss_each_time() -> None:
    why = "We currently do not have sufficient t3.small capacity. Launching EC2 instance failed."
    told = [activity(n, "Launching a new EC2 instance", "Failed", StatusMessage=why) for n in range(2)]
    assert launch_failures(told) == [LaunchFailure(instance="", reason=why)] * 2


@pytest.mark.parametrize("check", ["an ELB system health check failure", "a user health-check"])
def test_a_machine_that_a_health_check_ended_is_a_loss(check: str) -> None:
    cause = f"At 2026-11-21T00:00:00Z an instance was taken out of service in response to {check}."
    assert launch_failures([activity(1, "Terminating EC2 instance: i-0a", cause=cause)]) == [
        LaunchFailure(instance="i-0a", reason=cause)
    ]


def test_a_machine_that_was_not_needed_any_more_is_none() -> None:
    cause = "At 2026-11-21T00:00:00Z a user request update of AutoScalingGroup constraints, shrinking the capacity"
    assert launch_failures([activity(1, "Terminating EC2 instance: i-0a", cause=cause)]) == []


def test_one_machine_is_lost_once() -> None:
    cause = "At 2026-11-21T00:00:00Z an instance was taken out of service in response to a user health-check."
    told = [activity(2, "Terminating EC2 instance: i-0a", cause=cause), abandoned(1, "i-0a")]
    assert launch_failures(told) == [LaunchFailure(instance="i-0a", reason=ABANDONED)]


def test_what_happened_before_is_left_out_by_its_id() -> None:
    assert launch_failures([abandoned(1, "i-0a"), abandoned(2, "i-0b")], before={"a1"}) == [
        LaunchFailure(instance="i-0b", reason=ABANDONED)
    ]


@pytest.fixture
def blue(world: World) -> CapacityWait:
    two_colors(world)
    group = next(name for name, (color, _) in world.running.items() if color is Color.BLUE)
    return CapacityWait(group=group, instances=2, target_groups=[world.groups[Color.BLUE]])


def test_machines_in_service_and_healthy_have_arrived(world: World, blue: CapacityWait) -> None:
    assert missing_capacity(world.session, blue) is None
    wait_for_capacity(world.session, blue, 0)


def test_an_ill_machine_is_named(world: World, blue: CapacityWait) -> None:
    ill = world.machines_of(Color.BLUE)[0]["instance"]
    world.ill.add(ill)
    reason = f"1 of 2 instances are healthy ({ill}: unhealthy Health checks failed with these codes: [503])"
    assert missing_capacity(world.session, blue) == reason
    with pytest.raises(TimedOut) as caught:
        wait_for_capacity(world.session, blue, 7, Clock())
    assert str(caught.value) == f"waited 7 s for instances of Auto Scaling group {blue.group}: {reason}"


def test_waiting_for_a_stopped_group_ends_at_once(world: World, blue: CapacityWait) -> None:
    world.ill.update(one["instance"] for one in world.machines_of(Color.BLUE))
    launches.stop(world.autoscaling, blue.group)
    with pytest.raises(
        LaunchesStoppedError, match=f"group {blue.group} may launch no more instances: 0 of 2 instances"
    ):
        wait_for_capacity(world.session, blue, 600)
    launches.resume(world.autoscaling, blue.group)
    assert "0 of 2" in (missing_capacity(world.session, blue) or "")


def test_waiting_for_a_group_that_is_gone_ends_at_once(world: World, blue: CapacityWait) -> None:
    world.stop_group(blue.group)
    with pytest.raises(LaunchesStoppedError, match="is gone"):
        wait_for_capacity(world.session, blue, 600)


def test_it_asks_twice_a_second_however_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    sleep: Callable[[float], None] = slept.append
    monkeypatch.setattr("time.sleep", sleep)
    for seconds in (0.1, 2.0):
        launches.POLLING_CLOCK.sleep(seconds)
    assert slept == [0.1, 0.5]


def test_a_launch_under_way_is_no_older_story() -> None:
    cause = "At 2026-11-21T00:00:00Z an instance was taken out of service in response to a user health-check."
    told = [
        activity(1, "Launching a new EC2 instance: i-0a"),
        activity(2, "Launching a new EC2 instance: i-0b", "MidLifecycleAction"),
        abandoned(3, "i-0c"),
        activity(4, "Terminating EC2 instance: i-0d", "InProgress", cause=cause),
    ]
    before = past_activity_ids(told)
    assert before == {"a1", "a3", "a4"}
    told[1] = abandoned(2, "i-0b")
    assert launch_failures(told, before=before) == [LaunchFailure(instance="i-0b", reason=ABANDONED)]

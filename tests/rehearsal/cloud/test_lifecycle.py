"""Lifecycle of Auto Scaling group instances: hooks, health checks, standby, scaling, termination."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rehearsal.cloud.client import CloudClient
from tests.rehearsal.cloud.fleet import BOOT, DRAIN, Fleet, Maker, wait


def autoscaling(fleet: Fleet) -> Any:
    return fleet.cloud.client("autoscaling")


def test_an_instance_waits_for_its_launch_hook_before_it_is_in_service(make_fleet: Maker) -> None:
    fleet = make_fleet()
    assert fleet.states() == ["Pending:Wait"]
    assert fleet.targets() == {}
    instance = fleet.member()
    fleet.complete(instance, "boot", "CONTINUE")
    fleet.wait_for(["InService"])
    assert fleet.targets() == {instance: "healthy"}


def test_without_hooks_an_instance_is_in_service_when_its_container_runs(make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[])
    fleet.wait_for(["InService"])


def test_an_abandoned_launch_is_replaced(make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[BOOT])
    abandoned = fleet.member()
    fleet.complete(abandoned, "boot", "ABANDON")
    wait(
        lambda: None if abandoned not in [m["InstanceId"] for m in fleet.members()] else "still there",
        "the abandoned instance's removal",
    )
    # Launches are paused after a failed one: the replacement starts a little later.
    fleet.wait_for(["Pending:Wait"])
    assert activity(fleet, abandoned, "Launching") == (
        "Cancelled",
        "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token … was abandoned: "
        "Lifecycle Action Completed with ABANDON Result",
    )


def activity(fleet: Fleet, instance: str, kind: str) -> tuple[str, str]:
    """Status and message of the only activity of that kind."""
    activities = autoscaling(fleet).describe_scaling_activities(AutoScalingGroupName=fleet.group)["Activities"]
    (only,) = (each for each in activities if each["Description"].startswith(f"{kind} ") and instance in str(each))
    message = re.sub(r"token \S+", "token …", only.get("StatusMessage", ""))
    assert only["Description"].endswith(f"Status Reason: {only['StatusMessage']}" if message else instance)
    assert json.loads(only["Details"])["Availability Zone"].startswith("eu-central-1")
    return only["StatusCode"], message


def test_an_activity_is_in_progress_until_it_finishes(make_fleet: Maker) -> None:
    fleet = make_fleet(MinSize=0, DesiredCapacity=1)
    instance = fleet.member()
    assert activity(fleet, instance, "Launching") == ("MidLifecycleAction", "")
    fleet.complete(instance, "boot", "CONTINUE")
    fleet.wait_for(["InService"])
    assert activity(fleet, instance, "Launching") == ("Successful", "")
    autoscaling(fleet).set_desired_capacity(AutoScalingGroupName=fleet.group, DesiredCapacity=0)
    fleet.wait_for(["Terminating:Wait"])
    assert activity(fleet, instance, "Terminating") == ("InProgress", "")
    fleet.complete(instance, "drain", "CONTINUE")
    fleet.wait_for([])
    assert activity(fleet, instance, "Terminating") == ("Successful", "")


def test_a_launch_that_is_not_completed_is_cancelled_at_its_heartbeat_timeout(make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[BOOT | {"HeartbeatTimeout": 1}])
    silent = fleet.member()
    wait(lambda: None if activity(fleet, silent, "Launching")[0] == "Cancelled" else "waits", "the end of the launch")
    assert activity(fleet, silent, "Launching")[1].endswith("was abandoned: Heartbeat Timeout")


def test_a_launch_whose_instance_becomes_unhealthy_is_cancelled(make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[BOOT])
    unhealthy = fleet.member()
    autoscaling(fleet).set_instance_health(InstanceId=unhealthy, HealthStatus="Unhealthy")
    wait(
        lambda: None if activity(fleet, unhealthy, "Launching")[0] == "Cancelled" else "waits", "the end of the launch"
    )
    assert activity(fleet, unhealthy, "Launching")[1].startswith(
        "Instance became unhealthy while waiting for instance to be"
    )


def test_a_group_whose_launches_are_suspended_starts_none_until_they_are_resumed(make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[BOOT], MaxSize=2)
    client, launches = autoscaling(fleet), {"AutoScalingGroupName": fleet.group, "ScalingProcesses": ["Launch"]}
    client.suspend_processes(**launches)
    fleet.complete(fleet.member(), "boot", "ABANDON")
    fleet.wait_for([])
    client.set_desired_capacity(AutoScalingGroupName=fleet.group, DesiredCapacity=2)
    assert fleet.states() == []
    client.resume_processes(**launches)
    fleet.wait_for(["Pending:Wait", "Pending:Wait"])


def test_a_hook_whose_heartbeat_times_out_has_its_default_result(make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[BOOT | {"HeartbeatTimeout": 1, "DefaultResult": "CONTINUE"}])
    fleet.wait_for(["InService"])


def test_a_heartbeat_extends_the_timeout(make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[BOOT | {"HeartbeatTimeout": 1, "DefaultResult": "CONTINUE"}])
    end, seen = time.monotonic() + 1.8, set()
    while time.monotonic() < end:
        autoscaling(fleet).record_lifecycle_action_heartbeat(
            AutoScalingGroupName=fleet.group, LifecycleHookName="boot", InstanceId=fleet.member()
        )
        seen.update(fleet.states())
        time.sleep(0.2)  # between two heartbeats
    assert seen == {"Pending:Wait"}
    fleet.wait_for(["InService"])


def test_a_terminated_instance_waits_for_its_hook_and_is_replaced(make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[DRAIN])
    fleet.wait_for(["InService"])
    instance = fleet.member()
    autoscaling(fleet).terminate_instance_in_auto_scaling_group(
        InstanceId=instance, ShouldDecrementDesiredCapacity=False
    )
    fleet.wait_for(["InService", "Terminating:Wait"])
    assert instance not in fleet.targets()
    fleet.complete(instance, "drain", "CONTINUE")
    fleet.wait_for(["InService"])
    ec2 = fleet.cloud.client("ec2").describe_instances(InstanceIds=[instance])
    assert ec2["Reservations"][0]["Instances"][0]["State"]["Name"] == "terminated"


def test_scale_in_terminates_pending_instances_first(make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[BOOT], MinSize=0, DesiredCapacity=1)
    serving = fleet.member()
    fleet.complete(serving, "boot", "CONTINUE")
    fleet.wait_for(["InService"])
    autoscaling(fleet).set_desired_capacity(AutoScalingGroupName=fleet.group, DesiredCapacity=2)
    fleet.wait_for(["InService", "Pending:Wait"])
    autoscaling(fleet).set_desired_capacity(AutoScalingGroupName=fleet.group, DesiredCapacity=1)
    fleet.wait_for(["InService"])
    assert fleet.member() == serving


def test_with_a_maintenance_policy_the_replacement_is_launched_first(
    make_fleet: Maker,
) -> None:
    fleet = make_fleet(
        LifecycleHookSpecificationList=[BOOT],
        InstanceMaintenancePolicy={"MinHealthyPercentage": 100, "MaxHealthyPercentage": 200},
    )
    unhealthy = fleet.member()
    fleet.complete(unhealthy, "boot", "CONTINUE")
    fleet.wait_for(["InService"])
    autoscaling(fleet).set_instance_health(InstanceId=unhealthy, HealthStatus="Unhealthy")
    fleet.wait_for(["InService", "Pending:Wait"])
    fleet.complete(_waiting(fleet), "boot", "CONTINUE")
    fleet.wait_for(["InService"])
    assert fleet.member() != unhealthy


def test_without_a_maintenance_policy_the_unhealthy_instance_is_terminated_first(make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[BOOT])
    unhealthy = fleet.member()
    fleet.complete(unhealthy, "boot", "CONTINUE")
    fleet.wait_for(["InService"])
    autoscaling(fleet).set_instance_health(InstanceId=unhealthy, HealthStatus="Unhealthy")
    fleet.wait_for(["Pending:Wait"])
    assert _waiting(fleet) != unhealthy


def test_an_instance_on_standby_gets_no_traffic_and_is_not_replaced(make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[], MinSize=0, DesiredCapacity=1)
    fleet.wait_for(["InService"])
    instance = fleet.member()
    autoscaling(fleet).enter_standby(
        AutoScalingGroupName=fleet.group, InstanceIds=[instance], ShouldDecrementDesiredCapacity=True
    )
    fleet.wait_for(["Standby"])
    assert instance not in {i for i, state in fleet.targets().items() if state == "healthy"}
    autoscaling(fleet).exit_standby(AutoScalingGroupName=fleet.group, InstanceIds=[instance])
    fleet.wait_for(["InService"])
    assert fleet.targets() == {instance: "healthy"}


def test_instances_are_spread_over_the_subnets(make_fleet: Maker) -> None:
    fleet = make_fleet(DesiredCapacity=4)
    zones = sorted(member["AvailabilityZone"] for member in fleet.members())
    assert zones == ["eu-central-1a", "eu-central-1a", "eu-central-1b", "eu-central-1b"]


def test_a_group_with_instances_is_not_deleted_unless_forced(make_fleet: Maker) -> None:
    fleet = make_fleet()
    with pytest.raises(ClientError) as refused:
        autoscaling(fleet).delete_auto_scaling_group(AutoScalingGroupName=fleet.group)
    assert refused.value.response["Error"]["Code"] == "ResourceInUse"
    autoscaling(fleet).delete_auto_scaling_group(AutoScalingGroupName=fleet.group, ForceDelete=True)
    assert autoscaling(fleet).describe_auto_scaling_groups()["AutoScalingGroups"] == []


def test_an_emptied_group_can_be_deleted_once_its_instances_are_terminated(make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[DRAIN])
    fleet.wait_for(["InService"])
    instance = fleet.member()
    autoscaling(fleet).update_auto_scaling_group(AutoScalingGroupName=fleet.group, MinSize=0, MaxSize=0)
    fleet.wait_for(["Terminating:Wait"])
    fleet.complete(instance, "drain", "CONTINUE")
    fleet.wait_for([])
    autoscaling(fleet).delete_auto_scaling_group(AutoScalingGroupName=fleet.group)
    assert fleet.cloud.row(instance)["transitions"][-1]["state"] == "Terminating:Proceed"


def test_completing_a_lifecycle_action_that_is_not_pending_is_refused(make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[])
    fleet.wait_for(["InService"])
    with pytest.raises(ClientError, match="No active Lifecycle Action found with instance ID i-"):
        fleet.complete(fleet.member(), "boot", "CONTINUE")


def test_hooks_are_described_as_requested(make_fleet: Maker) -> None:
    fleet = make_fleet()
    hooks = autoscaling(fleet).describe_lifecycle_hooks(AutoScalingGroupName=fleet.group)["LifecycleHooks"]
    assert [{key: hook[key] for key in BOOT} for hook in hooks] == [BOOT, DRAIN]
    assert all("RoleARN" not in hook and "NotificationTargetARN" not in hook for hook in hooks)


def test_an_instance_that_is_terminated_outside_the_group_is_replaced(make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[])
    fleet.wait_for(["InService"])
    instance = fleet.member()
    fleet.cloud.client("ec2").terminate_instances(InstanceIds=[instance])
    fleet.wait_for(["InService"])
    assert fleet.member() != instance


def _waiting(fleet: Fleet) -> str:
    (waiting,) = (m["InstanceId"] for m in fleet.members() if m["LifecycleState"] == "Pending:Wait")
    return str(waiting)


def test_nothing_is_launched_in_a_failed_zone(make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[])
    client = CloudClient(control=fleet.cloud.control)
    client.set_failed_zones("eu-central-1a")
    try:
        autoscaling(fleet).update_auto_scaling_group(AutoScalingGroupName=fleet.group, MaxSize=5, DesiredCapacity=5)
        fleet.wait_for(["InService"] * 5)
        added = [zone for zone in zones(fleet) if zone != "eu-central-1a"]
    finally:
        client.set_failed_zones()
    assert len(added) >= 4
    autoscaling(fleet).update_auto_scaling_group(AutoScalingGroupName=fleet.group, MaxSize=8, DesiredCapacity=8)
    fleet.wait_for(["InService"] * 8)
    assert sorted(zones(fleet)) == ["eu-central-1a"] * 4 + ["eu-central-1b"] * 4


def zones(fleet: Fleet) -> list[str]:
    return [str(member["AvailabilityZone"]) for member in fleet.members()]

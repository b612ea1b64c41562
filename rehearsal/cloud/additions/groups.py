"""Auto Scaling groups with the lifecycle of their instances: pending, in service, standby, terminating."""

from __future__ import annotations

from collections import Counter
from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError
from moto.autoscaling.models import (
    AutoScalingBackend,
    FakeAutoScalingGroup,
    TerminateInstanceActivity,
)
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import EmptyResult
from moto.ec2.models.instances import StateReason

from rehearsal.cloud.additions import activities, events, images
from rehearsal.cloud.additions.activities import ActivityStatus
from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.members import LifecycleState, Member, Transition
from rehearsal.cloud.additions.patching import replace_methods

GAPS = [
    Gap(
        service="autoscaling",
        action="(lifecycle of instances)",
        reason="moto's instances are InService at once and terminated at once; here they wait for lifecycle hooks, "
        "drain, and leave the group when their container is removed",
    ),
    Gap(
        service="autoscaling",
        action="(health checks)",
        reason="moto marks an unhealthy instance and keeps it; here it is replaced, by ELB health after the grace "
        "period too, and by the group's instance maintenance policy",
    ),
    Gap(
        service="autoscaling",
        action="(EC2 status checks)",
        reason="an instance that powers itself off is stopped, whatever its launch template says, and replaced at "
        "once, also while it waits for its launch hook; one that is killed from outside stays running for EC2, which "
        "would take minutes to notice: only the load balancer's health checks fail",
    ),
    Gap(
        service="autoscaling",
        action="PutScalingPolicy",
        reason="policies are stored and described, but no alarm ever changes a group's capacity",
    ),
]

# Availability zones in which launches fail. Running instances stay: the caller ends them.
FAILED_ZONES: set[str] = set()
LAUNCHING = "Launching a new EC2 instance"
SHUT_DOWN = "Client.InstanceInitiatedShutdown: Instance initiated shutdown"

_notify_plain = AutoScalingBackend.notify_terminate_instances


def extend() -> None:
    replace_methods(
        FakeAutoScalingGroup,
        active_instances=_active_instances,
        replace_autoscaling_group_instances=_replace_autoscaling_group_instances,
        set_desired_capacity=_set_desired_capacity,
    )
    replace_methods(
        AutoScalingBackend,
        update_attached_target_groups=_update_attached_target_groups,
        terminate_instance=_terminate_instance,
        notify_terminate_instances=_notify_terminate_instances,
        enter_standby_instances=_enter_standby_instances,
        exit_standby_instances=_exit_standby_instances,
    )
    replace_methods(AutoScalingResponse, delete_auto_scaling_group=_delete_auto_scaling_group)


def members(group: Any) -> list[Member]:
    return list(group.instance_states)


def launch(group: Any, count: int, cause: str) -> bool:
    """False when a launch failed. Nothing is launched while the group's process Launch is suspended."""
    if "Launch" in group._suspended_processes:
        return True
    for _ in range(count):
        subnet = _least_used_subnet(group, cause)
        if error := images.image_error(group.ec2_backend, group.image_id):  # it existed when the group was created
            _fail_launch(group, subnet, cause, f"{error.message}. Launching EC2 instance failed.")
            return False
        instance = _run_instance(group, subnet.id if subnet else None)
        member = Member(instance, group)
        group.instance_states.append(member)
        waiting = member.wait_for_hooks(Transition.LAUNCHING)
        if waiting:
            member.move(LifecycleState.PENDING_WAIT)
        description, status = (
            f"{LAUNCHING}: {instance.id}",
            ActivityStatus.WAITING if waiting else ActivityStatus.IN_PROGRESS,
        )
        member.activity = activities.begin(group, description, cause, subnet=subnet, status=status)
    return True


def terminate(member: Member, cause: str) -> None:
    """Deregister a member and start its termination, which the controller finishes."""
    if LifecycleState(member.lifecycle_state).is_terminating:
        return
    deregister(member)
    if member.activity:
        activities.finish(member.activity)  # AWS doesn't document the status of an interrupted launch
    member.cause = cause
    member.move(LifecycleState.TERMINATING)
    _begin_termination(member, cause)


def abandon_launch(member: Member, message: str) -> None:
    """Cancel a launch and terminate its instance."""
    group, activity = member.auto_scaling_group, member.activity
    if activity:
        activities.finish(activity, ActivityStatus.CANCELLED, message)
        events.send(group, events.NOT_LAUNCHED, activity, member.instance_id)
    terminate(member, message)


def put_in_service(member: Member) -> None:
    if member.activity:
        activities.finish(member.activity)
    member.move(LifecycleState.IN_SERVICE)
    _update_attached_target_groups(member.auto_scaling_group.autoscaling_backend, member.auto_scaling_group_name)


def remove(member: Member) -> None:
    """Last step of a termination: the instance leaves its group."""
    group = member.auto_scaling_group
    group.instance_states = [other for other in group.instance_states if other is not member]
    if member.instance.state != "terminated":
        group.ec2_backend.terminate_instances([member.instance_id])
    if LifecycleState(member.lifecycle_state).is_terminating:
        _finish_termination(member)


def _begin_termination(member: Member, cause: str) -> None:
    group, description = member.auto_scaling_group, f"Terminating EC2 instance: {member.instance_id}"
    member.activity = activities.begin(group, description, cause, subnet=_subnet_of(member))


def _finish_termination(member: Member) -> None:
    """In AWS's event the activity is still in progress."""
    if member.activity:
        events.send(member.auto_scaling_group, events.TERMINATED, member.activity, member.instance_id)
        activities.finish(member.activity)


def _subnet_of(member: Member) -> Any:
    subnet = member.instance.subnet_id
    return member.auto_scaling_group.ec2_backend.get_subnet(subnet) if subnet else None


def power_off(member: Member) -> None:
    """Stop the instance, as EC2 does by default with one that shuts itself down."""
    if member.instance.state == "running":
        member.instance.stop()
        member.instance.state_reason = StateReason(SHUT_DOWN, SHUT_DOWN.partition(":")[0])


def target_groups(group: Any) -> list[Any]:
    known = group.autoscaling_backend.elbv2_backend.target_groups
    return [known[arn] for arn in group.target_group_arns or () if arn in known]


def deregister(member: Member) -> None:
    for target_group in target_groups(member.auto_scaling_group):
        if member.instance_id in target_group.targets:
            target_group.deregister([{"Id": member.instance_id}])


def _least_used_subnet(group: Any, cause: str) -> Any:
    """A launch in a failed zone fails; AWS tries the others then."""
    if not group.vpc_zone_identifier:
        return None
    subnets = [group.ec2_backend.get_subnet(subnet_id) for subnet_id in group.vpc_zone_identifier.split(",")]
    counts = Counter(m.instance.subnet_id for m in members(group) if LifecycleState(m.lifecycle_state).is_active)
    candidates = sorted(subnets, key=lambda subnet: counts[subnet.id])
    if all(subnet.availability_zone in FAILED_ZONES for subnet in candidates):
        return candidates[0]
    while candidates[0].availability_zone in FAILED_ZONES:
        zone = candidates[0].availability_zone
        reason = f"There is no capacity in the Availability Zone {zone}. Launching EC2 instance failed."
        _fail_launch(group, candidates.pop(0), cause, reason)
    return candidates[0]


def _fail_launch(group: Any, subnet: Any, cause: str, reason: str) -> None:
    activity = activities.begin(group, LAUNCHING, cause, subnet=subnet)
    activities.finish(activity, ActivityStatus.FAILED, reason)
    events.send(group, events.NOT_LAUNCHED, activity)


def _run_instance(group: Any, subnet: str | None) -> Any:
    template = group.ec2_launch_template
    tags = {**group.get_propagated_tags(), **group.instance_tags, "aws:autoscaling:groupName": group.name}
    version = template.get_version(group.launch_template_version) if template else None
    zones = group.availability_zones
    reservation = group.ec2_backend.run_instances(
        group.image_id,
        1,
        group.user_data,
        group.security_groups,
        instance_type=group.instance_type,
        tags={"instance": tags},
        placement=None if subnet else zones[len(members(group)) % len(zones)],
        launch_config=group.launch_config,
        launch_template={"LaunchTemplateId": template.id, "Version": version.number} if version else None,
        metadata_options=version.data.get("MetadataOptions", {}) if version else {},
        is_instance_type_default=False,
        associate_public_ip=None,
        subnet_id=subnet,
        region_name=group.region,
    )
    return reservation.instances[0]


def _active_instances(self: Any) -> list[Member]:
    return [member for member in members(self) if LifecycleState(member.lifecycle_state).is_active]


def _replace_autoscaling_group_instances(self: Any, count_needed: int, propagated_tags: dict[str, str]) -> None:
    launch(self, count_needed, activities.NEEDED)


def _set_desired_capacity(self: Any, new_capacity: int | None) -> None:
    self.desired_capacity = self.min_size if new_capacity is None else new_capacity
    actual, desired = len(self.active_instances()), int(self.desired_capacity or 0)
    if actual > desired:
        difference = "a difference between desired and actual capacity"
        for member in _scale_in_order(self)[: actual - desired]:
            terminate(
                member, f"{activities.OUT_OF_SERVICE} {difference}, shrinking the capacity from {actual} to {desired}."
            )
    elif actual < desired:
        launch(self, desired - actual, activities.NEEDED)


def _scale_in_order(group: Any) -> list[Member]:
    """Those not yet in service first, then the oldest, as with the default termination policy."""
    free = [member for member in group.active_instances() if not member.protected_from_scale_in]
    return sorted(
        free,
        key=lambda m: (
            m.lifecycle_state == LifecycleState.IN_SERVICE,
            m.health_status == "Healthy",
            m.transitions[0][1],
        ),
    )


def _update_attached_target_groups(self: Any, group_name: str) -> None:
    """Only members in service are targets."""
    group = self.autoscaling_groups.get(group_name)
    for target_group in target_groups(group) if group else ():
        for member in members(group):
            if member.lifecycle_state == LifecycleState.IN_SERVICE and member.instance_id not in target_group.targets:
                target_group.register([{"Id": member.instance_id, "Port": target_group.port}])


def _find(backend: Any, instance_id: str) -> Member:
    for group in backend.autoscaling_groups.values():
        for member in members(group):
            if member.instance_id == instance_id:
                return member
    raise AutoscalingClientError(
        "ValidationError", f"Instance Id not found - No managed instance found for: {instance_id}"
    )


def _terminate_instance(self: Any, instance_id: str, should_decrement: bool) -> Any:
    member = _find(self, instance_id)
    group = member.auto_scaling_group
    before = group.desired_capacity
    if should_decrement:
        group.desired_capacity = before - 1
    terminate(member, activities.REQUESTED)
    return TerminateInstanceActivity(member.instance, before)


def _notify_terminate_instances(self: Any, instance_ids: list[str]) -> None:
    """EC2 has terminated instances that are still in a group, by a call outside Auto Scaling."""
    for group in list(self.autoscaling_groups.values()):
        for member in members(group):
            if member.instance_id in instance_ids:
                member.cause = activities.STOPPED
                _begin_termination(member, activities.STOPPED)
                _finish_termination(member)
    _notify_plain(self, instance_ids)


def _enter_standby_instances(self: Any, group_name: str, instance_ids: list[str], should_decrement: bool) -> list[Any]:
    group = self.autoscaling_groups[group_name]
    entered = [_find(self, instance_id) for instance_id in instance_ids]
    if should_decrement and group.desired_capacity - len(entered) < group.min_size:
        raise AutoscalingClientError(
            "ValidationError",
            f"AutoScalingGroup {group_name} has min-size={group.min_size}, max-size={group.max_size}, and "
            f"desired-size={group.desired_capacity}. To place into standby {len(entered)} instances, the "
            f"AutoScalingGroup size must be updated to min-size={group.min_size - len(entered)}.",
        )
    if should_decrement:
        group.desired_capacity -= len(entered)
    for member in entered:
        deregister(member)
        member.move(LifecycleState.STANDBY)
    return [_standby_activity(member, "Moving EC2 instance to Standby", should_decrement) for member in entered]


def _exit_standby_instances(self: Any, group_name: str, instance_ids: list[str]) -> list[Any]:
    group = self.autoscaling_groups[group_name]
    returning = [_find(self, instance_id) for instance_id in instance_ids]
    for member in returning:
        group.desired_capacity += 1
        put_in_service(member)
    return [_standby_activity(member, "Moving EC2 instance out of Standby", True) for member in returning]


def _standby_activity(member: Member, verb: str, changed: bool) -> Any:
    activity = TerminateInstanceActivity(member.instance, member.auto_scaling_group.desired_capacity)
    activity.description = f"{verb}: {member.instance_id}"
    activity.cause = "in response to a user request" + (", changing the capacity" if changed else "")
    return activity


def _delete_auto_scaling_group(self: Any) -> Any:
    """Refused while the group has instances, as on AWS; ForceDelete terminates them without their hooks."""
    name, force = self._get_param("AutoScalingGroupName"), self._get_bool_param("ForceDelete", False)
    backend = self.autoscaling_backend
    group = backend.autoscaling_groups.get(name)
    if group is None:
        raise AutoscalingClientError("ValidationError", f"AutoScalingGroup name not found - '{name}' not found")
    if members(group) and not force:
        raise AutoscalingClientError(
            "ResourceInUse",
            "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) "
            f"still in the group: {', '.join(member.instance_id for member in members(group))}.",
        )
    for member in members(group):
        deregister(member)
        remove(member)
    del backend.autoscaling_groups[name]
    backend.lifecycle_hooks = {k: h for k, h in backend.lifecycle_hooks.items() if h.auto_scaling_group_name != name}
    return EmptyResult()


def launches_before_terminating(group: Any) -> bool:
    """Whether an unhealthy member stays until its replacement is in service (MinHealthyPercentage of at least 100)."""
    policy = getattr(group, "maintenance_policy", None) or {}
    return int(policy.get("MinHealthyPercentage", 0)) >= 100

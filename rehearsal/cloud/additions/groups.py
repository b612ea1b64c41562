"""Auto Scaling groups whose members have AWS's lifecycle: pending, in service, on standby, terminating."""

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
from rehearsal.cloud.additions.activities import Status
from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.members import Lifecycle, Member, Transition
from rehearsal.cloud.additions.patching import put_into

GAPS = [
    Gap(
        service="autoscaling",
        action="(lifecycle of instances)",
        reason="moto's instances are InService at once and gone at once; here they wait for their hooks, drain, and "
        "leave the group when their machine is gone",
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
        "once, also while it waits for its launch hook; one that is killed from outside runs on for EC2, which would "
        "take minutes to see it: only the load balancer notices",
    ),
    Gap(
        service="autoscaling",
        action="PutScalingPolicy",
        reason="policies are kept and described, but no alarm ever changes a group's capacity",
    ),
]

# Availability zones that fail: nothing can be launched there. What runs there is the caller's to end.
ZONES_GONE: set[str] = set()
LAUNCHING = "Launching a new EC2 instance"
SHUT_DOWN = "Client.InstanceInitiatedShutdown: Instance initiated shutdown"

_notify_plain = AutoScalingBackend.notify_terminate_instances


def extend() -> None:
    put_into(
        FakeAutoScalingGroup,
        active_instances=_active_instances,
        replace_autoscaling_group_instances=_replace_autoscaling_group_instances,
        set_desired_capacity=_set_desired_capacity,
    )
    put_into(
        AutoScalingBackend,
        update_attached_target_groups=_update_attached_target_groups,
        terminate_instance=_terminate_instance,
        notify_terminate_instances=_notify_terminate_instances,
        enter_standby_instances=_enter_standby_instances,
        exit_standby_instances=_exit_standby_instances,
    )
    put_into(AutoScalingResponse, delete_auto_scaling_group=_delete_auto_scaling_group)


def members(group: Any) -> list[Member]:
    return list(group.instance_states)


def launch(group: Any, count: int, cause: str) -> bool:
    """Whether it could; nothing is launched while the group's process Launch is suspended, whoever asks."""
    if "Launch" in group._suspended_processes:
        return True
    for _ in range(count):
        subnet = _emptiest_subnet(group, cause)
        if error := images.refusal(group.ec2_backend, group.image_id):  # it was there when the group was made
            _refuse(group, subnet, cause, f"{error.message}. Launching EC2 instance failed.")
            return False
        instance = _run_instance(group, subnet.id if subnet else None)
        member = Member(instance, group)
        group.instance_states.append(member)
        held = member.hold(Transition.LAUNCHING)
        if held:
            member.move(Lifecycle.PENDING_WAIT)
        doing, status = f"{LAUNCHING}: {instance.id}", Status.WAITING if held else Status.IN_PROGRESS
        member.activity = activities.begin(group, doing, cause, subnet=subnet, status=status)
    return True


def dismiss(member: Member, cause: str) -> None:
    """Takes a member out of the load balancer and begins its end; what follows is the controller's."""
    if Lifecycle(member.lifecycle_state).leaves:
        return
    deregister(member)
    if member.activity:
        activities.end(member.activity)  # of a launch that was under way nobody says what AWS calls it
    member.cause = cause
    member.move(Lifecycle.TERMINATING)
    _begin_end(member, cause)


def give_up(member: Member, message: str) -> None:
    """Ends a launch that came to nothing, and the machine of it."""
    group, activity = member.auto_scaling_group, member.activity
    if activity:
        activities.end(activity, Status.CANCELLED, message)
        events.send(group, events.NOT_LAUNCHED, activity, member.instance_id)
    dismiss(member, message)


def put_in_service(member: Member) -> None:
    if member.activity:
        activities.end(member.activity)
    member.move(Lifecycle.IN_SERVICE)
    _update_attached_target_groups(member.auto_scaling_group.autoscaling_backend, member.auto_scaling_group_name)


def forget(member: Member) -> None:
    """The last step: the instance is terminated and no longer a part of its group."""
    group = member.auto_scaling_group
    group.instance_states = [other for other in group.instance_states if other is not member]
    if member.instance.state != "terminated":
        group.ec2_backend.terminate_instances([member.instance_id])
    if Lifecycle(member.lifecycle_state).leaves:
        _finish_end(member)


def _begin_end(member: Member, cause: str) -> None:
    group, doing = member.auto_scaling_group, f"Terminating EC2 instance: {member.instance_id}"
    member.activity = activities.begin(group, doing, cause, subnet=_subnet_of(member))


def _finish_end(member: Member) -> None:
    """AWS's event still calls the activity in progress."""
    if member.activity:
        events.send(member.auto_scaling_group, events.TERMINATED, member.activity, member.instance_id)
        activities.end(member.activity)


def _subnet_of(member: Member) -> Any:
    subnet = member.instance.subnet_id
    return member.auto_scaling_group.ec2_backend.get_subnet(subnet) if subnet else None


def power_off(member: Member) -> None:
    """What EC2 does, by default, with an instance that shuts itself down."""
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


def _emptiest_subnet(group: Any, cause: str) -> Any:
    """A launch into a zone that is gone fails, and AWS tries the others."""
    if not group.vpc_zone_identifier:
        return None
    subnets = [group.ec2_backend.get_subnet(one) for one in group.vpc_zone_identifier.split(",")]
    taken = Counter(m.instance.subnet_id for m in members(group) if Lifecycle(m.lifecycle_state).counts)
    wanted = sorted(subnets, key=lambda subnet: taken[subnet.id])
    if all(subnet.availability_zone in ZONES_GONE for subnet in wanted):
        return wanted[0]
    while wanted[0].availability_zone in ZONES_GONE:
        zone = wanted[0].availability_zone
        why = f"There is no capacity in the Availability Zone {zone}. Launching EC2 instance failed."
        _refuse(group, wanted.pop(0), cause, why)
    return wanted[0]


def _refuse(group: Any, subnet: Any, cause: str, why: str) -> None:
    activity = activities.begin(group, LAUNCHING, cause, subnet=subnet)
    activities.end(activity, Status.FAILED, why)
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
    return [member for member in members(self) if Lifecycle(member.lifecycle_state).counts]


def _replace_autoscaling_group_instances(self: Any, count_needed: int, propagated_tags: dict[str, str]) -> None:
    launch(self, count_needed, activities.NEEDED)


def _set_desired_capacity(self: Any, new_capacity: int | None) -> None:
    self.desired_capacity = self.min_size if new_capacity is None else new_capacity
    actual, desired = len(self.active_instances()), int(self.desired_capacity or 0)
    if actual > desired:
        difference = "a difference between desired and actual capacity"
        for member in _least_needed(self)[: actual - desired]:
            dismiss(member, f"{activities.OUT} {difference}, shrinking the capacity from {actual} to {desired}.")
    elif actual < desired:
        launch(self, desired - actual, activities.NEEDED)


def _least_needed(group: Any) -> list[Member]:
    """Those not yet serving go first, then the oldest, as the default termination policy has it."""
    free = [member for member in group.active_instances() if not member.protected_from_scale_in]
    return sorted(
        free, key=lambda m: (m.lifecycle_state == Lifecycle.IN_SERVICE, m.health_status == "Healthy", m.moves[0][1])
    )


def _update_attached_target_groups(self: Any, group_name: str) -> None:
    """Members are targets while they are in service: earlier they can't answer, later they drain."""
    group = self.autoscaling_groups.get(group_name)
    for target_group in target_groups(group) if group else ():
        for member in members(group):
            if member.lifecycle_state == Lifecycle.IN_SERVICE and member.instance_id not in target_group.targets:
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
    dismiss(member, activities.REQUESTED)
    return TerminateInstanceActivity(member.instance, before)


def _notify_terminate_instances(self: Any, instance_ids: list[str]) -> None:
    """EC2 has ended instances that are still in a group: somebody did it behind the group's back."""
    for group in list(self.autoscaling_groups.values()):
        for member in members(group):
            if member.instance_id in instance_ids:
                member.cause = activities.STOPPED
                _begin_end(member, activities.STOPPED)
                _finish_end(member)
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
        member.move(Lifecycle.STANDBY)
    return [_standby_activity(member, "Moving EC2 instance to Standby", should_decrement) for member in entered]


def _exit_standby_instances(self: Any, group_name: str, instance_ids: list[str]) -> list[Any]:
    group = self.autoscaling_groups[group_name]
    back = [_find(self, instance_id) for instance_id in instance_ids]
    for member in back:
        group.desired_capacity += 1
        put_in_service(member)
    return [_standby_activity(member, "Moving EC2 instance out of Standby", True) for member in back]


def _standby_activity(member: Member, verb: str, changed: bool) -> Any:
    activity = TerminateInstanceActivity(member.instance, member.auto_scaling_group.desired_capacity)
    activity.description = f"{verb}: {member.instance_id}"
    activity.cause = "in response to a user request" + (", changing the capacity" if changed else "")
    return activity


def _delete_auto_scaling_group(self: Any) -> Any:
    """Refused while instances are left, as AWS does; ForceDelete ends them without their hooks."""
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
        forget(member)
    del backend.autoscaling_groups[name]
    backend.lifecycle_hooks = {k: h for k, h in backend.lifecycle_hooks.items() if h.auto_scaling_group_name != name}
    return EmptyResult()


def replacements_first(group: Any) -> bool:
    """Whether an unhealthy member stays until its replacement serves (maintenance policy of at least 100 percent)."""
    policy = getattr(group, "maintenance_policy", None) or {}
    return int(policy.get("MinHealthyPercentage", 0)) >= 100

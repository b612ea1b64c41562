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

from rehearsal.cloud.additions import activities
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
        action="PutScalingPolicy",
        reason="policies are kept and described, but no alarm ever changes a group's capacity",
    ),
]

# Availability zones that fail: nothing can be launched there. What runs there is the caller's to end.
ZONES_GONE: set[str] = set()


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
        enter_standby_instances=_enter_standby_instances,
        exit_standby_instances=_exit_standby_instances,
    )
    put_into(AutoScalingResponse, delete_auto_scaling_group=_delete_auto_scaling_group)


def members(group: Any) -> list[Member]:
    return list(group.instance_states)


def launch(group: Any, count: int, cause: str) -> None:
    """Nothing while the group's process Launch is suspended, whoever asks."""
    if "Launch" in group._suspended_processes:
        return
    for _ in range(count):
        subnet = _emptiest_subnet(group)
        instance = _run_instance(group, subnet)
        member = Member(instance, group)
        group.instance_states.append(member)
        if member.hold(Transition.LAUNCHING):
            member.move(Lifecycle.PENDING_WAIT)
        activities.record(group, f"Launching a new EC2 instance: {instance.id}", cause)


def dismiss(member: Member, cause: str) -> None:
    """Takes a member out of the load balancer and begins its end; what follows is the controller's."""
    if Lifecycle(member.lifecycle_state).leaves:
        return
    deregister(member)
    member.cause = cause
    member.move(Lifecycle.TERMINATING)
    activities.record(member.auto_scaling_group, f"Terminating EC2 instance: {member.instance_id}", cause)


def put_in_service(member: Member) -> None:
    member.move(Lifecycle.IN_SERVICE)
    _update_attached_target_groups(member.auto_scaling_group.autoscaling_backend, member.auto_scaling_group_name)


def forget(member: Member) -> None:
    """The last step: the instance is terminated and no longer a part of its group."""
    group = member.auto_scaling_group
    group.instance_states = [other for other in group.instance_states if other is not member]
    if member.instance.state != "terminated":
        group.ec2_backend.terminate_instances([member.instance_id])


def target_groups(group: Any) -> list[Any]:
    known = group.autoscaling_backend.elbv2_backend.target_groups
    return [known[arn] for arn in group.target_group_arns or () if arn in known]


def deregister(member: Member) -> None:
    for target_group in target_groups(member.auto_scaling_group):
        if member.instance_id in target_group.targets:
            target_group.deregister([{"Id": member.instance_id}])


def _emptiest_subnet(group: Any) -> str | None:
    if not group.vpc_zone_identifier:
        return None
    named = group.vpc_zone_identifier.split(",")
    # A launch into a zone that is gone fails, and AWS tries the others.
    subnets = [one for one in named if group.ec2_backend.get_subnet(one).availability_zone not in ZONES_GONE] or named
    taken = Counter(m.instance.subnet_id for m in members(group) if Lifecycle(m.lifecycle_state).counts)
    return str(min(subnets, key=lambda subnet: taken[subnet]))


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
    launch(
        self, count_needed, "an instance was started in response to a difference between desired and actual capacity"
    )


def _set_desired_capacity(self: Any, new_capacity: int | None) -> None:
    self.desired_capacity = self.min_size if new_capacity is None else new_capacity
    surplus = len(self.active_instances()) - int(self.desired_capacity or 0)
    if surplus > 0:
        for member in _least_needed(self)[:surplus]:
            dismiss(member, f"an instance was taken out, shrinking the capacity to {self.desired_capacity}")
    elif surplus < 0:
        launch(self, -surplus, f"capacity was set to {self.desired_capacity}")


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
    dismiss(member, "an instance was taken out of service in response to a user request")
    return TerminateInstanceActivity(member.instance, before)


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

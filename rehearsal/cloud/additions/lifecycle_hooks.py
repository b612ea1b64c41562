"""Lifecycle hooks of Auto Scaling groups: creation, CompleteLifecycleAction, RecordLifecycleActionHeartbeat."""

from __future__ import annotations

import time
from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.groups import members
from rehearsal.cloud.additions.members import Member, PendingAction
from rehearsal.cloud.additions.patching import replace_methods

GAPS = [
    Gap(
        service="autoscaling",
        action="CompleteLifecycleAction, RecordLifecycleActionHeartbeat",
        reason="moto lacks both; hooks send no notification to SNS, SQS or EventBridge here",
    ),
    Gap(
        service="autoscaling",
        action="CreateAutoScalingGroup",
        reason="moto drops LifecycleHookSpecificationList and InstanceMaintenancePolicy",
    ),
]

_create_group_plain = AutoScalingResponse.create_auto_scaling_group
_update_group_plain = AutoScalingResponse.update_auto_scaling_group
_put_hook_plain = AutoScalingResponse.put_lifecycle_hook


def extend() -> None:
    replace_methods(
        AutoScalingResponse,
        create_auto_scaling_group=_create_auto_scaling_group,
        update_auto_scaling_group=_update_auto_scaling_group,
        put_lifecycle_hook=_put_lifecycle_hook,
        complete_lifecycle_action=_complete_lifecycle_action,
        record_lifecycle_action_heartbeat=_record_lifecycle_action_heartbeat,
    )


def _create_auto_scaling_group(self: Any) -> Any:
    name = self._get_param("AutoScalingGroupName")
    for hook in self._get_param("LifecycleHookSpecificationList", []):
        # Before the group: the plain call launches its first instances, which have to wait for the hooks.
        self.autoscaling_backend.create_lifecycle_hook(
            name=hook["LifecycleHookName"],
            as_name=name,
            transition=hook["LifecycleTransition"],
            timeout=hook.get("HeartbeatTimeout"),
            result=hook.get("DefaultResult"),
        )
        _describe_as_requested(self.autoscaling_backend, name, hook)
    result = _create_group_plain(self)
    _store_maintenance_policy(self)
    return result


def _update_auto_scaling_group(self: Any) -> Any:
    result = _update_group_plain(self)
    _store_maintenance_policy(self)
    return result


def _store_maintenance_policy(self: Any) -> None:
    if policy := self._get_param("InstanceMaintenancePolicy"):
        group = self.autoscaling_backend.autoscaling_groups[self._get_param("AutoScalingGroupName")]
        group.maintenance_policy = group.instance_maintenance_policy = policy


def _put_lifecycle_hook(self: Any) -> Any:
    result = _put_hook_plain(self)
    _describe_as_requested(self.autoscaling_backend, self._get_param("AutoScalingGroupName"), self._get_params())
    return result


def _describe_as_requested(backend: Any, group: str, request: Any) -> None:
    """moto invents a role and a queue for every hook; a refresh would report them as drift."""
    for hook in backend.describe_lifecycle_hooks(group, [request["LifecycleHookName"]]):
        hook.role_arn = request.get("RoleARN")
        hook.notification_target_arn = request.get("NotificationTargetARN")
        hook.notification_metadata = request.get("NotificationMetadata")


def _complete_lifecycle_action(self: Any) -> Any:
    result = self._get_param("LifecycleActionResult")
    if result not in ("CONTINUE", "ABANDON"):
        raise AutoscalingClientError(
            "ValidationError", f"LifecycleActionResult {result}: CONTINUE or ABANDON is allowed"
        )
    _named_action(self).result = result
    return ActionResult({})


def _record_lifecycle_action_heartbeat(self: Any) -> Any:
    action = _named_action(self)
    action.deadline = time.monotonic() + action.heartbeat
    return ActionResult({})


def _named_action(self: Any) -> PendingAction:
    """The open action, by token or by instance."""
    name, hook = self._get_param("AutoScalingGroupName"), self._get_param("LifecycleHookName")
    token, instance = self._get_param("LifecycleActionToken"), self._get_param("InstanceId")
    group = self.autoscaling_backend.autoscaling_groups.get(name)
    for member in members(group) if group else ():
        action = _open_action(member, hook)
        if action and (action.token == token or member.instance_id == instance):
            return action
    named = f"token {token}" if token else f"instance ID {instance}"
    raise AutoscalingClientError(
        "ValidationError", f"No active Lifecycle Action found with {named} (hook {hook}, group {name})"
    )


def _open_action(member: Member, hook: str) -> PendingAction | None:
    open_actions = (action for action in member.actions if action.hook == hook and not action.result)
    return next(open_actions, None)

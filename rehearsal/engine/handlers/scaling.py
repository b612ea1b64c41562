"""Auto Scaling groups, whose creation ends when enough machines serve, and their policies."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from .base import (
    Client,
    Cloud,
    Created,
    FailedCreationError,
    Handler,
    Naming,
    Props,
    capitalized,
    differs,
    given,
    looked_up,
    lowered,
    picked,
    tag_map,
    taken,
    until,
)

_DRAIN_S = 600.0
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def seconds(duration: str) -> float:
    """Go's durations, as the provider takes them: "10m", "1m30s", "0"."""
    if duration == "0":
        return 0.0
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"{duration!r} is not a duration like 10m or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


class Group(Handler):
    pulumi_type = "aws:autoscaling/group:Group"
    naming = Naming(limit=255)
    force_new = frozenset({"name", "namePrefix"})
    defaults: ClassVar = {"waitForCapacityTimeout": "10m"}
    _SIZES: ClassVar = {
        "minSize": "MinSize",
        "maxSize": "MaxSize",
        "desiredCapacity": "DesiredCapacity",
        "defaultCooldown": "DefaultCooldown",
        "healthCheckType": "HealthCheckType",
        "healthCheckGracePeriod": "HealthCheckGracePeriod",
        "terminationPolicies": "TerminationPolicies",
        "protectFromScaleIn": "NewInstancesProtectedFromScaleIn",
        "serviceLinkedRoleArn": "ServiceLinkedRoleARN",
        "maxInstanceLifetime": "MaxInstanceLifetime",
        "capacityRebalance": "CapacityRebalance",
        "defaultInstanceWarmup": "DefaultInstanceWarmup",
        "placementGroup": "PlacementGroup",
    }

    def _arguments(self, new: Props) -> dict[str, Any]:
        found = picked(new, self._SIZES)
        if template := new.get("launchTemplate"):
            names = {"id": "LaunchTemplateId", "name": "LaunchTemplateName"}
            found["LaunchTemplate"] = picked(template, names) | {"Version": str(template.get("version", "$Default"))}
        if zones := new.get("vpcZoneIdentifiers"):
            found["VPCZoneIdentifier"] = ",".join(zones)
        if zones := new.get("availabilityZones"):
            found["AvailabilityZones"] = zones
        if policy := new.get("instanceMaintenancePolicy"):
            found["InstanceMaintenancePolicy"] = capitalized(policy)
        return found

    def create(self, cloud: Cloud, new: Props) -> Created:
        client, name = cloud.client("autoscaling"), new["name"]
        hooks = [_hook(each) for each in new.get("initialLifecycleHooks") or []]
        client.create_auto_scaling_group(
            AutoScalingGroupName=name,
            **self._arguments(new),
            **given(TargetGroupARNs=new.get("targetGroupArns"), LifecycleHookSpecificationList=hooks or None),
            Tags=self._tags(new),
        )
        try:
            self._settings(client, name, {}, new)
            self._wait_for_capacity(cloud, name, new, healthy=int(new.get("minElbCapacity") or 0))
        except Exception as error:
            raise FailedCreationError(name, str(error)) from error
        return Created(id=name)

    def _tags(self, new: Props) -> list[dict[str, Any]]:
        return [
            {
                "ResourceId": new["name"],
                "ResourceType": "auto-scaling-group",
                "Key": each["key"],
                "Value": each["value"],
                "PropagateAtLaunch": bool(each["propagateAtLaunch"]),
            }
            for each in new.get("tags") or []
        ]

    def _settings(self, client: Client, name: str, old: Props, new: Props) -> None:
        if differs(old, new, "enabledMetrics") and new.get("enabledMetrics"):
            client.enable_metrics_collection(
                AutoScalingGroupName=name, Metrics=new["enabledMetrics"], Granularity="1Minute"
            )
        was, now = set(old.get("suspendedProcesses") or []), set(new.get("suspendedProcesses") or [])
        if now - was:
            client.suspend_processes(AutoScalingGroupName=name, ScalingProcesses=sorted(now - was))
        if was - now:
            client.resume_processes(AutoScalingGroupName=name, ScalingProcesses=sorted(was - now))

    def _wait_for_capacity(self, cloud: Cloud, name: str, new: Props, *, healthy: int) -> None:
        """As the provider does: the wanted number in service, and `healthy` of them healthy in all target groups."""
        timeout = seconds(str(new.get("waitForCapacityTimeout", "10m")))
        wanted = int(new["desiredCapacity"] if new.get("desiredCapacity") is not None else new["minSize"])
        if timeout and (wanted or healthy):
            until(
                lambda: _lacking(cloud, name, wanted, healthy, new.get("targetGroupArns") or []),
                what=f"capacity of Auto Scaling group {name}",
                deadline_s=timeout,
            )

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = _group(cloud, id)
        if found is None:
            return None
        return {
            "arn": found["AutoScalingGroupARN"],
            "desiredCapacity": found["DesiredCapacity"],
            "availabilityZones": found.get("AvailabilityZones", []),
            "healthCheckType": found.get("HealthCheckType", "EC2"),
        }

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        """Neither the capacity, which autoscaling decides, nor the initial hooks, which are AWS's only at birth."""
        found = _group(cloud, id)
        if found is None:
            return None
        template = found.get("LaunchTemplate") or {}
        own = {key: name for key, name in self._SIZES.items() if key != "desiredCapacity"}
        return taken(found, own) | {
            "launchTemplate": {
                "id": template.get("LaunchTemplateId"),
                "name": template.get("LaunchTemplateName"),
                "version": template.get("Version"),
            },
            "vpcZoneIdentifiers": [zone for zone in found.get("VPCZoneIdentifier", "").split(",") if zone],
            "targetGroupArns": found.get("TargetGroupARNs"),
            "enabledMetrics": [each["Metric"] for each in found.get("EnabledMetrics") or []],
            "suspendedProcesses": [each["ProcessName"] for each in found.get("SuspendedProcesses") or []],
            "tags": [_found_tag(tag) for tag in found.get("Tags", [])],
            # moto 5.2.5 forgets the policy: where there is none, it counts as unchanged.
            **given(instanceMaintenancePolicy=lowered(found.get("InstanceMaintenancePolicy"))),
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        client = cloud.client("autoscaling")
        changes = self._arguments(new)
        if self._arguments(old) != changes:
            if not differs(old, new, "desiredCapacity"):
                changes.pop("DesiredCapacity", None)  # it belongs to the scaling policy after creation
            client.update_auto_scaling_group(AutoScalingGroupName=id, **changes)
        self._groups(client, id, old, new)
        self._retag(client, old, new)
        self._settings(client, id, old, new)
        grown = differs(old, new, "desiredCapacity", "minSize")
        if grown or new.get("waitForElbCapacity"):
            self._wait_for_capacity(cloud, id, new, healthy=int(new.get("waitForElbCapacity") or 0))

    def _groups(self, client: Client, id: str, old: Props, new: Props) -> None:
        was, now = set(old.get("targetGroupArns") or []), set(new.get("targetGroupArns") or [])
        if now - was:
            client.attach_load_balancer_target_groups(AutoScalingGroupName=id, TargetGroupARNs=sorted(now - was))
        if was - now:
            client.detach_load_balancer_target_groups(AutoScalingGroupName=id, TargetGroupARNs=sorted(was - now))

    def _retag(self, client: Client, old: Props, new: Props) -> None:
        was, now = self._tags(old), self._tags(new)
        kept = {tag["Key"] for tag in now}
        if gone := [tag for tag in was if tag["Key"] not in kept]:
            client.delete_tags(Tags=gone)
        if present := [tag for tag in now if tag not in was]:
            client.create_or_update_tags(Tags=present)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        """Empty it first, so that its machines leave the target groups and drain; then delete and wait."""
        client = cloud.client("autoscaling")
        if _group(cloud, id) is None:
            return
        client.update_auto_scaling_group(AutoScalingGroupName=id, MinSize=0, MaxSize=0, DesiredCapacity=0)
        try:
            until(lambda: _occupied(cloud, id), what=f"Auto Scaling group {id} to empty", deadline_s=_DRAIN_S)
        except TimeoutError:
            if not state.get("forceDelete"):
                raise
        client.delete_auto_scaling_group(AutoScalingGroupName=id, ForceDelete=bool(state.get("forceDelete")))
        until(
            lambda: None if _group(cloud, id) is None else "it is still there",
            what=f"Auto Scaling group {id} to go",
            deadline_s=_DRAIN_S,
        )

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        found = _group(cloud, inputs["name"])
        if found is None:
            return []
        tags = tag_map(found.get("Tags"))
        wanted = {each["key"]: each["value"] for each in inputs.get("tags") or []}
        return [inputs["name"]] if tags == wanted else []


def _found_tag(tag: dict[str, Any]) -> Props:
    return {"key": tag["Key"], "value": tag["Value"], "propagateAtLaunch": tag["PropagateAtLaunch"]}


def _group(cloud: Cloud, name: str) -> dict[str, Any] | None:
    describe = cloud.client("autoscaling").describe_auto_scaling_groups
    return looked_up(describe, "AutoScalingGroups", AutoScalingGroupNames=[name])


def _occupied(cloud: Cloud, name: str) -> str | None:
    instances = (_group(cloud, name) or {}).get("Instances", [])
    states = [f"{each['InstanceId']} is {each['LifecycleState']}" for each in instances]
    return ", ".join(states) or None


def _lacking(cloud: Cloud, name: str, wanted: int, healthy: int, target_groups: list[str]) -> str | None:
    instances = (_group(cloud, name) or {}).get("Instances", [])
    serving = [each["InstanceId"] for each in instances if each["LifecycleState"] == "InService"]
    if len(serving) < wanted:
        rest = [f"{each['InstanceId']} is {each['LifecycleState']}" for each in instances]
        return f"{len(serving)} of {wanted} machines in service ({_why(cloud, name) or ', '.join(rest) or 'none yet'})"
    good = set(serving)
    reasons: list[str] = []
    for arn in target_groups:
        health = cloud.client("elbv2").describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        good &= {each["Target"]["Id"] for each in health if each["TargetHealth"]["State"] == "healthy"}
        reasons += [_reason(each) for each in health if each["TargetHealth"]["State"] != "healthy"]
    if len(good) >= healthy:
        return None
    return f"{len(good)} of {healthy} machines healthy in the target group ({'; '.join(reasons) or 'none registered'})"


def _reason(target: dict[str, Any]) -> str:
    health = target["TargetHealth"]
    return f"{target['Target']['Id']} is {health['State']}: {health.get('Description') or health.get('Reason', '')}"


def _why(cloud: Cloud, name: str) -> str:
    """The last failed scaling activities, in AWS's own words."""
    found = cloud.client("autoscaling").describe_scaling_activities(AutoScalingGroupName=name, MaxRecords=5)
    failed = [each for each in found["Activities"] if each["StatusCode"] in ("Failed", "Cancelled")]
    return "; ".join(each.get("StatusMessage") or each["Description"] for each in failed)


_HOOK = {
    "name": "LifecycleHookName",
    "lifecycleTransition": "LifecycleTransition",
    "defaultResult": "DefaultResult",
    "heartbeatTimeout": "HeartbeatTimeout",
    "notificationMetadata": "NotificationMetadata",
    "notificationTargetArn": "NotificationTargetARN",
    "roleArn": "RoleARN",
}


def _hook(each: Props) -> dict[str, Any]:
    return picked(each, _HOOK)


class LifecycleHook(Handler):
    pulumi_type = "aws:autoscaling/lifecycleHook:LifecycleHook"
    naming = Naming(limit=255)
    force_new = frozenset({"name", "autoscalingGroupName"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        self._put(cloud, new)
        return Created(id=new["name"])

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        return [inputs["name"]] if self.stands(cloud, inputs["name"], inputs) else []

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        ask = cloud.client("autoscaling").describe_lifecycle_hooks
        query = {"AutoScalingGroupName": inputs["autoscalingGroupName"], "LifecycleHookNames": [id]}
        found = looked_up(ask, "LifecycleHooks", **query)
        return None if found is None else taken(found, _HOOK)

    def _put(self, cloud: Cloud, new: Props) -> None:
        cloud.client("autoscaling").put_lifecycle_hook(AutoScalingGroupName=new["autoscalingGroupName"], **_hook(new))

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._put(cloud, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("autoscaling").delete_lifecycle_hook(
            AutoScalingGroupName=state["autoscalingGroupName"], LifecycleHookName=id
        )


class Policy(Handler):
    pulumi_type = "aws:autoscaling/policy:Policy"
    naming = Naming(limit=255)
    force_new = frozenset({"name", "autoscalingGroupName"})
    _NAMES: ClassVar = {
        "name": "PolicyName",
        "autoscalingGroupName": "AutoScalingGroupName",
        "policyType": "PolicyType",
        "adjustmentType": "AdjustmentType",
        "scalingAdjustment": "ScalingAdjustment",
        "cooldown": "Cooldown",
        "estimatedInstanceWarmup": "EstimatedInstanceWarmup",
    }

    def create(self, cloud: Cloud, new: Props) -> Created:
        self._put(cloud, new)
        return Created(id=new["name"])

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        return [inputs["name"]] if self.read(cloud, inputs["name"], inputs) is not None else []

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = self._described(cloud, id, inputs)
        return None if found is None else {"arn": found["PolicyARN"]}

    def _described(self, cloud: Cloud, id: str, inputs: Props) -> dict[str, Any] | None:
        ask = cloud.client("autoscaling").describe_policies
        group = inputs["autoscalingGroupName"]
        return looked_up(ask, "ScalingPolicies", AutoScalingGroupName=group, PolicyNames=[id])

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = self._described(cloud, id, inputs)
        if found is None:
            return None
        tracking = lowered(found.get("TargetTrackingConfiguration"))
        return taken(found, self._NAMES) | {"targetTrackingConfiguration": tracking}

    def _put(self, cloud: Cloud, new: Props) -> None:
        tracking = given(TargetTrackingConfiguration=capitalized(new.get("targetTrackingConfiguration")))
        cloud.client("autoscaling").put_scaling_policy(**picked(new, self._NAMES), **tracking)

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._put(cloud, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("autoscaling").delete_policy(
            AutoScalingGroupName=state["autoscalingGroupName"], PolicyName=state["name"]
        )

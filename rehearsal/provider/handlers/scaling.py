"""Auto Scaling groups and their scaling policies."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import (
    Client,
    Cloud,
    Created,
    Handler,
    Naming,
    Props,
    describe_one,
    drop_none,
    from_answer,
    rename_keys,
    to_aws_keys,
    to_pulumi_keys,
    until,
)

_DRAIN_S = 600.0


class Group(Handler):
    pulumi_type = "aws:autoscaling/group:Group"
    naming = Naming(limit=255)
    force_new = frozenset({"name", "namePrefix", "initialLifecycleHooks"})
    _SIZES: ClassVar = {
        "minSize": "MinSize",
        "maxSize": "MaxSize",
        "healthCheckType": "HealthCheckType",
        "healthCheckGracePeriod": "HealthCheckGracePeriod",
        "defaultInstanceWarmup": "DefaultInstanceWarmup",
    }
    _TEMPLATE: ClassVar = {"id": "LaunchTemplateId", "version": "Version"}

    def check(self, inputs: Props) -> None:
        if (timeout := inputs.get("waitForCapacityTimeout", "10m")) != "0":
            raise ValueError(
                f"waitForCapacityTimeout: {timeout}: allowed is 0: the rehearsal's provider does not wait for capacity"
            )

    def _arguments(self, new: Props) -> dict[str, Any]:
        arguments = rename_keys(new, self._SIZES)
        if template := new.get("launchTemplate"):
            arguments["LaunchTemplate"] = {"Version": "$Default"} | rename_keys(template, self._TEMPLATE)
        if subnets := new.get("vpcZoneIdentifiers"):
            arguments["VPCZoneIdentifier"] = ",".join(subnets)
        if policy := new.get("instanceMaintenancePolicy"):
            arguments["InstanceMaintenancePolicy"] = to_aws_keys(policy)
        return arguments

    def create(self, cloud: Cloud, new: Props) -> Created:
        client, name = cloud.client("autoscaling"), new["name"]
        hooks = [rename_keys(each, _HOOK) for each in new.get("initialLifecycleHooks") or []]
        client.create_auto_scaling_group(
            AutoScalingGroupName=name,
            **self._arguments(new),
            **drop_none(TargetGroupARNs=new.get("targetGroupArns"), LifecycleHookSpecificationList=hooks or None),
            Tags=self._tags(new),
        )
        return Created(id=name)

    def complete(self, cloud: Cloud, id: str, new: Props) -> None:
        self._collect_metrics(cloud.client("autoscaling"), id, {}, new)

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

    def _collect_metrics(self, client: Client, name: str, old: Props, new: Props) -> None:
        was, now = set(old.get("enabledMetrics") or []), set(new.get("enabledMetrics") or [])
        if was - now:
            client.disable_metrics_collection(AutoScalingGroupName=name, Metrics=sorted(was - now))
        if now - was:
            client.enable_metrics_collection(
                AutoScalingGroupName=name, Metrics=sorted(now - was), Granularity="1Minute"
            )

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = _group(cloud, id)
        if found is None:
            return None
        return {
            "arn": found["AutoScalingGroupARN"],
        }

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        """Without the initial hooks: they are an input of the creation only."""
        found = _group(cloud, id)
        if found is None:
            return None
        return from_answer(found, self._SIZES) | {
            "launchTemplate": from_answer(found.get("LaunchTemplate") or {}, self._TEMPLATE),
            "vpcZoneIdentifiers": [zone for zone in found.get("VPCZoneIdentifier", "").split(",") if zone],
            "targetGroupArns": found.get("TargetGroupARNs"),
            "enabledMetrics": [each["Metric"] for each in found.get("EnabledMetrics") or []],
            "tags": [_current_tag(tag) for tag in found.get("Tags", [])],
            # moto 5.2.5 forgets the policy: where there is none, it counts as unchanged.
            **drop_none(instanceMaintenancePolicy=to_pulumi_keys(found.get("InstanceMaintenancePolicy"))),
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        client = cloud.client("autoscaling")
        changes = self._arguments(new)
        if self._arguments(old) != changes:
            client.update_auto_scaling_group(AutoScalingGroupName=id, **changes)
        self._groups(client, id, old, new)
        self._retag(client, old, new)
        self._collect_metrics(client, id, old, new)

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
        """Scale in to zero first, so that its instances leave the target groups and drain; then delete and wait."""
        client = cloud.client("autoscaling")
        if _group(cloud, id) is None:
            return
        client.update_auto_scaling_group(AutoScalingGroupName=id, MinSize=0, MaxSize=0, DesiredCapacity=0)
        until(lambda: _instances(cloud, id), what=f"Auto Scaling group {id} to empty", timeout_s=_DRAIN_S)
        client.delete_auto_scaling_group(AutoScalingGroupName=id)
        until(
            lambda: None if _group(cloud, id) is None else "it is still there",
            what=f"Auto Scaling group {id} to go",
            timeout_s=_DRAIN_S,
        )


def _current_tag(tag: dict[str, Any]) -> Props:
    return {"key": tag["Key"], "value": tag["Value"], "propagateAtLaunch": tag["PropagateAtLaunch"]}


def _group(cloud: Cloud, name: str) -> dict[str, Any] | None:
    describe = cloud.client("autoscaling").describe_auto_scaling_groups
    return describe_one(describe, "AutoScalingGroups", AutoScalingGroupNames=[name])


def _instances(cloud: Cloud, name: str) -> str | None:
    instances = (_group(cloud, name) or {}).get("Instances", [])
    states = [f"{each['InstanceId']} is {each['LifecycleState']}" for each in instances]
    return ", ".join(states) or None


_HOOK = {
    "name": "LifecycleHookName",
    "lifecycleTransition": "LifecycleTransition",
    "defaultResult": "DefaultResult",
    "heartbeatTimeout": "HeartbeatTimeout",
}


class Policy(Handler):
    pulumi_type = "aws:autoscaling/policy:Policy"
    naming = Naming(limit=255)
    force_new = frozenset({"name", "autoscalingGroupName"})
    _NAMES: ClassVar = {
        "name": "PolicyName",
        "autoscalingGroupName": "AutoScalingGroupName",
        "policyType": "PolicyType",
    }

    def create(self, cloud: Cloud, new: Props) -> Created:
        self._put(cloud, new)
        return Created(id=new["name"])

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = self._described(cloud, id, inputs)
        return None if found is None else {"arn": found["PolicyARN"]}

    def _described(self, cloud: Cloud, id: str, inputs: Props) -> dict[str, Any] | None:
        ask = cloud.client("autoscaling").describe_policies
        group = inputs["autoscalingGroupName"]
        return describe_one(ask, "ScalingPolicies", AutoScalingGroupName=group, PolicyNames=[id])

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = self._described(cloud, id, inputs)
        if found is None:
            return None
        tracking = to_pulumi_keys(found.get("TargetTrackingConfiguration"))
        return from_answer(found, self._NAMES) | {"targetTrackingConfiguration": tracking}

    def _put(self, cloud: Cloud, new: Props) -> None:
        tracking = drop_none(TargetTrackingConfiguration=to_aws_keys(new.get("targetTrackingConfiguration")))
        cloud.client("autoscaling").put_scaling_policy(**rename_keys(new, self._NAMES), **tracking)

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._put(cloud, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("autoscaling").delete_policy(
            AutoScalingGroupName=state["autoscalingGroupName"], PolicyName=state["name"]
        )

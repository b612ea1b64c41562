"""Auto Scaling groups and their scaling policies."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import (
    AwsClients,
    Client,
    Created,
    Handler,
    Naming,
    Props,
    describe_one,
    drop_none,
    from_response,
    rename_keys,
    to_aws_keys,
    to_pulumi_keys,
    until,
)

_DRAIN_TIMEOUT_S = 600.0


class AutoScalingGroupHandler(Handler):
    pulumi_type = "aws:autoscaling/group:Group"
    naming = Naming(max_length=255)
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

    def create(self, aws: AwsClients, new: Props) -> Created:
        client, name = aws.client("autoscaling"), new["name"]
        hooks = [rename_keys(hook, _HOOK) for hook in new.get("initialLifecycleHooks") or []]
        client.create_auto_scaling_group(
            AutoScalingGroupName=name,
            **self._arguments(new),
            **drop_none(TargetGroupARNs=new.get("targetGroupArns"), LifecycleHookSpecificationList=hooks or None),
            Tags=self._tags(new),
        )
        return Created(id=name)

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        self._collect_metrics(aws.client("autoscaling"), id, {}, new)

    def _tags(self, new: Props) -> list[dict[str, Any]]:
        return [
            {
                "ResourceId": new["name"],
                "ResourceType": "auto-scaling-group",
                "Key": tag["key"],
                "Value": tag["value"],
                "PropagateAtLaunch": bool(tag["propagateAtLaunch"]),
            }
            for tag in new.get("tags") or []
        ]

    def _collect_metrics(self, client: Client, name: str, old: Props, new: Props) -> None:
        was, now = set(old.get("enabledMetrics") or []), set(new.get("enabledMetrics") or [])
        if was - now:
            client.disable_metrics_collection(AutoScalingGroupName=name, Metrics=sorted(was - now))
        if now - was:
            client.enable_metrics_collection(
                AutoScalingGroupName=name, Metrics=sorted(now - was), Granularity="1Minute"
            )

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = _group(aws, id)
        if actual is None:
            return None
        return {
            "arn": actual["AutoScalingGroupARN"],
        }

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        """Without the initial lifecycle hooks: they are an input of the creation only."""
        actual = _group(aws, id)
        if actual is None:
            return None
        return from_response(actual, self._SIZES) | {
            "launchTemplate": from_response(actual.get("LaunchTemplate") or {}, self._TEMPLATE),
            "vpcZoneIdentifiers": [zone for zone in actual.get("VPCZoneIdentifier", "").split(",") if zone],
            "targetGroupArns": actual.get("TargetGroupARNs"),
            "enabledMetrics": [metric["Metric"] for metric in actual.get("EnabledMetrics") or []],
            "tags": [_current_tag(tag) for tag in actual.get("Tags", [])],
            # moto 5.2.5 doesn't store the policy: a missing one counts as unchanged.
            **drop_none(instanceMaintenancePolicy=to_pulumi_keys(actual.get("InstanceMaintenancePolicy"))),
        }

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        client = aws.client("autoscaling")
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
        declared = {tag["Key"] for tag in now}
        if removed := [tag for tag in was if tag["Key"] not in declared]:
            client.delete_tags(Tags=removed)
        if updated := [tag for tag in now if tag not in was]:
            client.create_or_update_tags(Tags=updated)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        """Scale in to zero first, so that instances are deregistered and drain; then delete the group and wait."""
        client = aws.client("autoscaling")
        if _group(aws, id) is None:
            return
        client.update_auto_scaling_group(AutoScalingGroupName=id, MinSize=0, MaxSize=0, DesiredCapacity=0)
        until(lambda: _instances(aws, id), what=f"Auto Scaling group {id} to empty", timeout_s=_DRAIN_TIMEOUT_S)
        client.delete_auto_scaling_group(AutoScalingGroupName=id)
        until(
            lambda: None if _group(aws, id) is None else "it still exists",
            what=f"deletion of Auto Scaling group {id}",
            timeout_s=_DRAIN_TIMEOUT_S,
        )


def _current_tag(tag: dict[str, Any]) -> Props:
    return {"key": tag["Key"], "value": tag["Value"], "propagateAtLaunch": tag["PropagateAtLaunch"]}


def _group(aws: AwsClients, name: str) -> dict[str, Any] | None:
    describe = aws.client("autoscaling").describe_auto_scaling_groups
    return describe_one(describe, "AutoScalingGroups", AutoScalingGroupNames=[name])


def _instances(aws: AwsClients, name: str) -> str | None:
    instances = (_group(aws, name) or {}).get("Instances", [])
    states = [f"{instance['InstanceId']} is {instance['LifecycleState']}" for instance in instances]
    return ", ".join(states) or None


_HOOK = {
    "name": "LifecycleHookName",
    "lifecycleTransition": "LifecycleTransition",
    "defaultResult": "DefaultResult",
    "heartbeatTimeout": "HeartbeatTimeout",
}


class ScalingPolicyHandler(Handler):
    pulumi_type = "aws:autoscaling/policy:Policy"
    naming = Naming(max_length=255)
    force_new = frozenset({"name", "autoscalingGroupName"})
    _NAMES: ClassVar = {
        "name": "PolicyName",
        "autoscalingGroupName": "AutoScalingGroupName",
        "policyType": "PolicyType",
    }

    def create(self, aws: AwsClients, new: Props) -> Created:
        self._put(aws, new)
        return Created(id=new["name"])

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = self._describe(aws, id, inputs)
        return None if actual is None else {"arn": actual["PolicyARN"]}

    def _describe(self, aws: AwsClients, id: str, inputs: Props) -> dict[str, Any] | None:
        describe = aws.client("autoscaling").describe_policies
        group = inputs["autoscalingGroupName"]
        return describe_one(describe, "ScalingPolicies", AutoScalingGroupName=group, PolicyNames=[id])

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = self._describe(aws, id, inputs)
        if actual is None:
            return None
        tracking = to_pulumi_keys(actual.get("TargetTrackingConfiguration"))
        return from_response(actual, self._NAMES) | {"targetTrackingConfiguration": tracking}

    def _put(self, aws: AwsClients, new: Props) -> None:
        tracking = drop_none(TargetTrackingConfiguration=to_aws_keys(new.get("targetTrackingConfiguration")))
        aws.client("autoscaling").put_scaling_policy(**rename_keys(new, self._NAMES), **tracking)

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        self._put(aws, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("autoscaling").delete_policy(
            AutoScalingGroupName=state["autoscalingGroupName"], PolicyName=state["name"]
        )

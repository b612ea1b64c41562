"""CloudWatch log groups and alarms."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import (
    Cloud,
    Created,
    Handler,
    Naming,
    Props,
    differs,
    looked_up,
    picked,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
    taken,
)


class LogGroup(Handler):
    pulumi_type = "aws:cloudwatch/logGroup:LogGroup"
    naming = Naming(limit=512)
    tagged = True
    force_new = frozenset({"name", "namePrefix", "logGroupClass"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        logs = cloud.client("logs")
        names = {"name": "logGroupName", "kmsKeyId": "kmsKeyId", "logGroupClass": "logGroupClass"}
        tags = tags_of(new)
        logs.create_log_group(**picked(new, names), **({"tags": tags} if tags else {}))
        self._retain(cloud, new)
        return Created(id=new["name"])

    def _retain(self, cloud: Cloud, new: Props) -> None:
        logs, days = cloud.client("logs"), new.get("retentionInDays")
        if days:
            logs.put_retention_policy(logGroupName=new["name"], retentionInDays=int(days))
        else:
            logs.delete_retention_policy(logGroupName=new["name"])

    def _arn(self, cloud: Cloud, name: str) -> str:
        return cloud.arn("logs", f"log-group:{name}")

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        return {"arn": self._arn(cloud, id)} if self._described(cloud, id) else None

    def _described(self, cloud: Cloud, name: str) -> dict[str, Any] | None:
        """The call takes beginnings of names, and the whole name comes first."""
        found = looked_up(cloud.client("logs").describe_log_groups, "logGroups", logGroupNamePrefix=name)
        return found if found and found["logGroupName"] == name else None

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = self._described(cloud, id)
        if found is None:
            return None
        tags = cloud.client("logs").list_tags_log_group(logGroupName=id)["tags"]
        return {
            "retentionInDays": found.get("retentionInDays"),
            "kmsKeyId": found.get("kmsKeyId"),
            "logGroupClass": found.get("logGroupClass"),
            "tagsAll": tags,
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        if differs(old, new, "retentionInDays"):
            self._retain(cloud, new)
        logs = cloud.client("logs")
        gone, present = tag_changes(old, new)
        if gone:
            logs.untag_log_group(logGroupName=id, tags=gone)
        if present:
            logs.tag_log_group(logGroupName=id, tags=present)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        if not state.get("skipDestroy"):
            cloud.client("logs").delete_log_group(logGroupName=id)

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        logs, name = cloud.client("logs"), inputs["name"]
        if self._described(cloud, name) is None:
            return []
        return [name] if logs.list_tags_log_group(logGroupName=name)["tags"] == tags_of(inputs) else []


class MetricAlarm(Handler):
    pulumi_type = "aws:cloudwatch/metricAlarm:MetricAlarm"
    naming = Naming(limit=255)
    tagged = True
    force_new = frozenset({"name"})
    _NAMES: ClassVar = {
        "name": "AlarmName",
        "comparisonOperator": "ComparisonOperator",
        "evaluationPeriods": "EvaluationPeriods",
        "datapointsToAlarm": "DatapointsToAlarm",
        "metricName": "MetricName",
        "namespace": "Namespace",
        "period": "Period",
        "statistic": "Statistic",
        "extendedStatistic": "ExtendedStatistic",
        "threshold": "Threshold",
        "unit": "Unit",
        "alarmDescription": "AlarmDescription",
        "alarmActions": "AlarmActions",
        "okActions": "OKActions",
        "insufficientDataActions": "InsufficientDataActions",
        "actionsEnabled": "ActionsEnabled",
        "treatMissingData": "TreatMissingData",
    }

    def create(self, cloud: Cloud, new: Props) -> Created:
        self._put(cloud, new)
        return Created(id=new["name"], outputs={"arn": cloud.arn("cloudwatch", f"alarm:{new['name']}")})

    def _put(self, cloud: Cloud, new: Props) -> None:
        dimensions = [{"Name": key, "Value": value} for key, value in (new.get("dimensions") or {}).items()]
        cloud.client("cloudwatch").put_metric_alarm(
            **picked(new, self._NAMES), Dimensions=dimensions, Tags=tag_list(tags_of(new))
        )

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        watch = cloud.client("cloudwatch")
        found = looked_up(watch.describe_alarms, "MetricAlarms", AlarmNames=[id])
        if found is None:
            return None
        return {
            **taken(found, self._NAMES),
            "dimensions": {each["Name"]: each["Value"] for each in found.get("Dimensions") or []},
            "tagsAll": tag_map(watch.list_tags_for_resource(ResourceARN=found["AlarmArn"])["Tags"]),
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._put(cloud, new)
        watch, arn = cloud.client("cloudwatch"), cloud.arn("cloudwatch", f"alarm:{id}")
        gone, present = tag_changes(old, new)
        if gone:
            watch.untag_resource(ResourceARN=arn, TagKeys=gone)
        if present:  # the put takes tags of a new alarm only
            watch.tag_resource(ResourceARN=arn, Tags=tag_list(present))

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("cloudwatch").delete_alarms(AlarmNames=[id])

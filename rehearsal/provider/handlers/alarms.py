"""CloudWatch alarms, alarms over alarms, and dashboards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from .base import (
    Cloud,
    Created,
    Handler,
    Naming,
    Props,
    describe_one,
    from_answer,
    rename_keys,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
)

_ACTIONS = {"alarmDescription": "AlarmDescription", "alarmActions": "AlarmActions", "okActions": "OKActions"}


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
        "threshold": "Threshold",
        "treatMissingData": "TreatMissingData",
        **_ACTIONS,
    }

    def check(self, inputs: Props) -> None:
        queries = inputs.get("metricQueries") or []
        if bool(queries) == bool(inputs.get("metricName")):
            raise ValueError(f"alarm {inputs['name']}: allowed is either metricName or metricQueries")
        returned = [query["id"] for query in queries if query.get("returnData")]
        if queries and len(returned) != 1:
            ids = ", ".join(returned) or "none"
            raise ValueError(f"metricQueries: {ids} of {len(queries)}: allowed is exactly one with returnData")

    def create(self, cloud: Cloud, new: Props) -> Created:
        self._put(cloud, new)
        return Created(id=new["name"], outputs={"arn": cloud.arn("cloudwatch", f"alarm:{new['name']}")})

    def _put(self, cloud: Cloud, new: Props) -> None:
        queries = [_query(each) for each in new.get("metricQueries") or []]
        metric = {"Metrics": queries} if queries else {"Dimensions": _dimensions(new.get("dimensions"))}
        arguments = rename_keys(new, self._NAMES) | metric
        cloud.client("cloudwatch").put_metric_alarm(**arguments, Tags=tag_list(tags_of(new)))

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        watch = cloud.client("cloudwatch")
        found = describe_one(watch.describe_alarms, "MetricAlarms", AlarmNames=[id], AlarmTypes=["MetricAlarm"])
        if found is None:
            return None
        return {
            **from_answer(found, self._NAMES),
            "dimensions": _dimension_map(found.get("Dimensions")),
            "metricQueries": [_query_input(each) for each in found.get("Metrics") or []],
            "tags": _tags(watch, found),
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._put(cloud, new)
        _retag(cloud, cloud.arn("cloudwatch", f"alarm:{id}"), old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("cloudwatch").delete_alarms(AlarmNames=[id])


class CompositeAlarm(Handler):
    pulumi_type = "aws:cloudwatch/compositeAlarm:CompositeAlarm"
    tagged = True
    force_new = frozenset({"alarmName"})
    _NAMES: ClassVar = {"alarmName": "AlarmName", "alarmRule": "AlarmRule", **_ACTIONS}

    def create(self, cloud: Cloud, new: Props) -> Created:
        self._put(cloud, new)
        name = new["alarmName"]
        return Created(id=name, outputs={"arn": cloud.arn("cloudwatch", f"alarm:{name}")})

    def _put(self, cloud: Cloud, new: Props) -> None:
        cloud.client("cloudwatch").put_composite_alarm(**rename_keys(new, self._NAMES), Tags=tag_list(tags_of(new)))

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        watch = cloud.client("cloudwatch")
        found = describe_one(watch.describe_alarms, "CompositeAlarms", AlarmNames=[id], AlarmTypes=["CompositeAlarm"])
        return None if found is None else {**from_answer(found, self._NAMES), "tags": _tags(watch, found)}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._put(cloud, new)
        _retag(cloud, cloud.arn("cloudwatch", f"alarm:{id}"), old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("cloudwatch").delete_alarms(AlarmNames=[id])


class Dashboard(Handler):
    pulumi_type = "aws:cloudwatch/dashboard:Dashboard"
    force_new = frozenset({"dashboardName"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        self._put(cloud, new)
        name = new["dashboardName"]
        # A dashboard belongs to the account, not to a region.
        return Created(id=name, outputs={"dashboardArn": f"arn:aws:cloudwatch::{cloud.account}:dashboard/{name}"})

    def _put(self, cloud: Cloud, new: Props) -> None:
        answer = cloud.client("cloudwatch").put_dashboard(
            DashboardName=new["dashboardName"], DashboardBody=new["dashboardBody"]
        )
        if faults := answer.get("DashboardValidationMessages"):
            raise ValueError(f"dashboard {new['dashboardName']}: {faults[0].get('Message')}")

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = cloud.client("cloudwatch").get_dashboard(DashboardName=id)
        return {"dashboardBody": found["DashboardBody"]}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._put(cloud, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("cloudwatch").delete_dashboards(DashboardNames=[id])


_QUERY = {"id": "Id", "expression": "Expression", "label": "Label"}
_METRIC = {"namespace": "Namespace", "metricName": "MetricName"}
_STATISTIC = {"period": "Period", "stat": "Stat"}


def _dimensions(dimensions: Mapping[str, str] | None) -> list[dict[str, str]]:
    return [{"Name": key, "Value": value} for key, value in (dimensions or {}).items()]


def _dimension_map(found: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    return {each["Name"]: each["Value"] for each in found or []}


def _query(query: Mapping[str, Any]) -> dict[str, Any]:
    """A query as CloudWatch takes it: an expression over others, or one metric."""
    request = rename_keys(query, _QUERY) | {"ReturnData": bool(query.get("returnData"))}
    if metric := query.get("metric"):
        source = rename_keys(metric, _METRIC) | {"Dimensions": _dimensions(metric.get("dimensions"))}
        request["MetricStat"] = {"Metric": source, **rename_keys(metric, _STATISTIC)}
    return request


def _query_input(found: Mapping[str, Any]) -> dict[str, Any]:
    query = from_answer(found, _QUERY) | {"returnData": found.get("ReturnData")}
    if statistic := found.get("MetricStat"):
        metric = statistic["Metric"]
        dimensions = _dimension_map(metric.get("Dimensions"))
        query["metric"] = from_answer(metric, _METRIC) | from_answer(statistic, _STATISTIC) | {"dimensions": dimensions}
    return query


def _tags(watch: Any, alarm: Mapping[str, Any]) -> dict[str, str]:
    return tag_map(watch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"])


def _retag(cloud: Cloud, arn: str, old: Props, new: Props) -> None:
    """The put takes tags of a new alarm only."""
    watch = cloud.client("cloudwatch")
    gone, present = tag_changes(old, new)
    if gone:
        watch.untag_resource(ResourceARN=arn, TagKeys=gone)
    if present:
        watch.tag_resource(ResourceARN=arn, Tags=tag_list(present))

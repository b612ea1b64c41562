"""CloudWatch metric alarms, composite alarms and dashboards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from .base import (
    AwsClients,
    Created,
    Handler,
    Naming,
    Props,
    describe_one,
    from_response,
    rename_keys,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
)

_ACTIONS = {"alarmDescription": "AlarmDescription", "alarmActions": "AlarmActions", "okActions": "OKActions"}


class MetricAlarmHandler(Handler):
    pulumi_type = "aws:cloudwatch/metricAlarm:MetricAlarm"
    naming = Naming(max_length=255)
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

    def create(self, aws: AwsClients, new: Props) -> Created:
        self._put(aws, new)
        return Created(id=new["name"], outputs={"arn": aws.arn("cloudwatch", f"alarm:{new['name']}")})

    def _put(self, aws: AwsClients, new: Props) -> None:
        queries = [_query(query) for query in new.get("metricQueries") or []]
        metric = {"Metrics": queries} if queries else {"Dimensions": _dimensions(new.get("dimensions"))}
        arguments = rename_keys(new, self._NAMES) | metric
        aws.client("cloudwatch").put_metric_alarm(**arguments, Tags=tag_list(tags_of(new)))

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        watch = aws.client("cloudwatch")
        actual = describe_one(watch.describe_alarms, "MetricAlarms", AlarmNames=[id], AlarmTypes=["MetricAlarm"])
        if actual is None:
            return None
        return {
            **from_response(actual, self._NAMES),
            "dimensions": _dimension_map(actual.get("Dimensions")),
            "metricQueries": [_query_input(query) for query in actual.get("Metrics") or []],
            "tags": _tags(watch, actual),
        }

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        self._put(aws, new)
        _retag(aws, aws.arn("cloudwatch", f"alarm:{id}"), old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("cloudwatch").delete_alarms(AlarmNames=[id])


class CompositeAlarmHandler(Handler):
    pulumi_type = "aws:cloudwatch/compositeAlarm:CompositeAlarm"
    tagged = True
    force_new = frozenset({"alarmName"})
    _NAMES: ClassVar = {"alarmName": "AlarmName", "alarmRule": "AlarmRule", **_ACTIONS}

    def create(self, aws: AwsClients, new: Props) -> Created:
        self._put(aws, new)
        name = new["alarmName"]
        return Created(id=name, outputs={"arn": aws.arn("cloudwatch", f"alarm:{name}")})

    def _put(self, aws: AwsClients, new: Props) -> None:
        aws.client("cloudwatch").put_composite_alarm(**rename_keys(new, self._NAMES), Tags=tag_list(tags_of(new)))

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        watch = aws.client("cloudwatch")
        actual = describe_one(watch.describe_alarms, "CompositeAlarms", AlarmNames=[id], AlarmTypes=["CompositeAlarm"])
        return None if actual is None else {**from_response(actual, self._NAMES), "tags": _tags(watch, actual)}

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        self._put(aws, new)
        _retag(aws, aws.arn("cloudwatch", f"alarm:{id}"), old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("cloudwatch").delete_alarms(AlarmNames=[id])


class DashboardHandler(Handler):
    pulumi_type = "aws:cloudwatch/dashboard:Dashboard"
    force_new = frozenset({"dashboardName"})

    def create(self, aws: AwsClients, new: Props) -> Created:
        self._put(aws, new)
        name = new["dashboardName"]
        # A dashboard belongs to the account, not to a region.
        return Created(id=name, outputs={"dashboardArn": f"arn:aws:cloudwatch::{aws.account}:dashboard/{name}"})

    def _put(self, aws: AwsClients, new: Props) -> None:
        response = aws.client("cloudwatch").put_dashboard(
            DashboardName=new["dashboardName"], DashboardBody=new["dashboardBody"]
        )
        if faults := response.get("DashboardValidationMessages"):
            raise ValueError(f"dashboard {new['dashboardName']}: {faults[0].get('Message')}")

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = aws.client("cloudwatch").get_dashboard(DashboardName=id)
        return {"dashboardBody": actual["DashboardBody"]}

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        self._put(aws, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("cloudwatch").delete_dashboards(DashboardNames=[id])


_QUERY = {"id": "Id", "expression": "Expression", "label": "Label"}
_METRIC = {"namespace": "Namespace", "metricName": "MetricName"}
_STATISTIC = {"period": "Period", "stat": "Stat"}


def _dimensions(dimensions: Mapping[str, str] | None) -> list[dict[str, str]]:
    return [{"Name": key, "Value": value} for key, value in (dimensions or {}).items()]


def _dimension_map(actual: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    return {dimension["Name"]: dimension["Value"] for dimension in actual or []}


def _query(query: Mapping[str, Any]) -> dict[str, Any]:
    """A query in CloudWatch's format: an expression over others, or one metric."""
    request = rename_keys(query, _QUERY) | {"ReturnData": bool(query.get("returnData"))}
    if metric := query.get("metric"):
        source = rename_keys(metric, _METRIC) | {"Dimensions": _dimensions(metric.get("dimensions"))}
        request["MetricStat"] = {"Metric": source, **rename_keys(metric, _STATISTIC)}
    return request


def _query_input(actual: Mapping[str, Any]) -> dict[str, Any]:
    query = from_response(actual, _QUERY) | {"returnData": actual.get("ReturnData")}
    if statistic := actual.get("MetricStat"):
        metric = statistic["Metric"]
        dimensions = _dimension_map(metric.get("Dimensions"))
        query["metric"] = (
            from_response(metric, _METRIC) | from_response(statistic, _STATISTIC) | {"dimensions": dimensions}
        )
    return query


def _tags(watch: Any, alarm: Mapping[str, Any]) -> dict[str, str]:
    return tag_map(watch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"])


def _retag(aws: AwsClients, arn: str, old: Props, new: Props) -> None:
    """The put call accepts tags of a new alarm only."""
    watch = aws.client("cloudwatch")
    removed, updated = tag_changes(old, new)
    if removed:
        watch.untag_resource(ResourceARN=arn, TagKeys=removed)
    if updated:
        watch.tag_resource(ResourceARN=arn, Tags=tag_list(updated))

"""CloudWatch alarms with actions on SNS topics, an alarm history, and composite alarms."""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.exceptions import ValidationError
from moto.cloudwatch.models import Alarm, CloudWatchBackend, cloudwatch_backends
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult
from moto.sns.models import sns_backends

from rehearsal.cloud.additions.actions import LOCK
from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import replace_methods
from rehearsal.cloud.cloudwatch import composite_rules
from rehearsal.cloud.cloudwatch.alarm_evaluation import AlarmState
from rehearsal.cloud.cloudwatch.composite_rules import RuleError

GAPS = [
    Gap(
        service="cloudwatch",
        action="PutCompositeAlarm, DescribeAlarmHistory",
        reason="moto lacks the actions, although its alarms can hold a rule; suppressors are not emulated",
    ),
    Gap(
        service="cloudwatch",
        action="alarm states and actions",
        reason="moto evaluates no alarm and runs no action; here each is evaluated every second over the periods that "
        "end then, where AWS uses full minutes, and only actions on SNS topics run",
    ),
]

MAX_HISTORY = 2000  # items of an account in a region
SUBJECT_LIMIT = 100  # characters, SNS's

log = logging.getLogger(__name__)
_put_plain = CloudWatchBackend.put_metric_alarm
_update_plain = Alarm.update_state


def extend() -> None:
    # An AlarmRule makes it a composite alarm; otherwise the two actions are the same.
    replace_methods(
        CloudWatchResponse,
        put_composite_alarm=_put_composite_alarm,
        describe_alarm_history=_describe_alarm_history,
    )
    replace_methods(CloudWatchBackend, put_metric_alarm=_put_metric_alarm)
    replace_methods(Alarm, update_state=_update_state)


def _put_composite_alarm(self: Any) -> Any:
    try:
        composite_rules.alarm_names(self._get_param("AlarmRule"))
    except RuleError as error:
        raise ValidationError(str(error)) from error
    return CloudWatchResponse.put_metric_alarm(self)


def _put_metric_alarm(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    with LOCK:
        before = self.alarms.get(name)
        alarm = _put_plain(self, name, *args, **kwargs)
        if before is None:
            alarm.state_value = AlarmState.INSUFFICIENT_DATA.value
            _record_history(alarm, "ConfigurationUpdate", f'Alarm "{name}" created')
            return alarm
        # A changed alarm keeps its state until the next evaluation.
        retained = ("state_value", "state_reason", "state_reason_data", "state_updated_timestamp", "history")
        for part in retained:
            setattr(alarm, part, getattr(before, part))
        _record_history(alarm, "ConfigurationUpdate", f'Alarm "{name}" updated')
        return alarm


def _update_state(self: Any, reason: str, reason_data: str, state_value: str) -> None:
    """Also for SetAlarmState, until the next evaluation."""
    before = self.state_value
    _update_plain(self, reason, reason_data, state_value)
    if before == state_value:
        return
    data = {
        "version": "1.0",
        "oldState": {"stateValue": before},
        "newState": {"stateValue": state_value, "stateReason": reason},
    }
    _record_history(self, "StateUpdate", f"Alarm updated from {before} to {state_value}", data)
    actions = _actions(self) if self.actions_enabled else []
    if actions:
        message = json.dumps(_message(self, before))
        subject = f'{state_value}: "{self.name}" in {self.region_name}'[:SUBJECT_LIMIT]
        # A webhook of a topic may be slow; the evaluation of other alarms must not wait for it.
        threading.Thread(target=_run_actions, args=(self, actions, subject, message), daemon=True).start()


def _actions(alarm: Any) -> list[str]:
    by_state = {AlarmState.ALARM: alarm.alarm_actions, AlarmState.OK: alarm.ok_actions}
    return list(by_state.get(alarm.state_value, alarm.insufficient_data_actions))


def _run_actions(alarm: Any, actions: list[str], subject: str, message: str) -> None:
    for action in actions:
        topic = sns_backends[account_of(alarm)][alarm.region_name].topics.get(action)
        if topic is None:
            _record_history(alarm, "Action", f"Failed to execute action {action}")
            continue
        try:
            topic.publish(message, subject)
            _record_history(alarm, "Action", f"Successfully executed action {action}")
        except Exception as error:
            log.exception("alarm action failed alarm=%s action=%s", alarm.name, action)
            _record_history(alarm, "Action", f"Failed to execute action {action}: {error}")


def account_of(alarm: Any) -> str:
    return str(alarm.alarm_arn.split(":")[4])


def _message(alarm: Any, before: str) -> dict[str, Any]:
    """Message to the topic, in CloudWatch's format."""
    message = {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "AWSAccountId": account_of(alarm),
        "NewStateValue": alarm.state_value,
        "NewStateReason": alarm.state_reason,
        "StateChangeTime": alarm.state_updated_timestamp.replace(tzinfo=UTC).isoformat(timespec="milliseconds"),
        "Region": alarm.region_name,
        "AlarmArn": alarm.alarm_arn,
        "OldStateValue": before,
        "OKActions": alarm.ok_actions,
        "AlarmActions": alarm.alarm_actions,
        "InsufficientDataActions": alarm.insufficient_data_actions,
    }
    return message | ({"AlarmRule": alarm.rule} if alarm.rule else {"Trigger": _trigger(alarm)})


def _trigger(alarm: Any) -> dict[str, Any]:
    metrics = [
        {"Id": query.id, "Expression": query.expression}
        if query.expression
        else {
            "Id": query.id,
            "Namespace": query.metric_stat.metric.namespace,
            "Name": query.metric_stat.metric.metric_name,
        }
        for query in alarm.metric_data_queries
    ]
    return {
        "MetricName": alarm.metric_name,
        "Namespace": alarm.namespace,
        "Metrics": metrics,
        "ComparisonOperator": alarm.comparison_operator,
        "Threshold": alarm.threshold,
        "EvaluationPeriods": alarm.evaluation_periods,
        "DatapointsToAlarm": alarm.datapoints_to_alarm,
        "TreatMissingData": alarm.treat_missing_data or "",
    }


def _history(backend: Any) -> deque[dict[str, Any]]:
    history: deque[dict[str, Any]] = backend.__dict__.setdefault("alarm_history", deque(maxlen=MAX_HISTORY))
    return history


def _record_history(alarm: Any, kind: str, summary: str, data: Mapping[str, Any] | None = None) -> None:
    item = {
        "AlarmName": alarm.name,
        "AlarmType": "CompositeAlarm" if alarm.rule else "MetricAlarm",
        "Timestamp": datetime.now(UTC),
        "HistoryItemType": kind,
        "HistorySummary": summary,
        "HistoryData": json.dumps(data or {"version": "1.0"}),
    }
    _history(cloudwatch_backends[account_of(alarm)][alarm.region_name]).append(item)


def _describe_alarm_history(self: Any) -> ActionResult:
    parameters = self._get_params()
    history = list(_matching_history(list(_history(self.cloudwatch_backend)), parameters))
    if parameters.get("ScanBy") != "TimestampAscending":
        history.reverse()
    return ActionResult({"AlarmHistoryItems": history[: int(parameters.get("MaxRecords") or MAX_HISTORY)]})


def _matching_history(items: list[dict[str, Any]], parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    begin, end = (_moment(parameters.get(name)) for name in ("StartDate", "EndDate"))
    for item in items:
        if parameters.get("AlarmName") not in (None, item["AlarmName"]):
            continue
        if parameters.get("HistoryItemType") not in (None, item["HistoryItemType"]):
            continue
        # Only metric alarms, unless the request names more types.
        if item["AlarmType"] not in (parameters.get("AlarmTypes") or ["MetricAlarm"]):
            continue
        if (begin is None or item["Timestamp"] >= begin) and (end is None or item["Timestamp"] <= end):
            yield item


def _moment(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time and time.tzinfo is None else time

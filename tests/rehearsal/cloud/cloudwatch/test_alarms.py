"""Alarms of the emulated CloudWatch: evaluation, actions on SNS topics, history, composite alarms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from components import alarm_metrics
from components.alarm_metrics import AlarmSpec
from config.alerts import AlarmSettings
from rehearsal.cloud.client import CloudClient, ControlError
from rehearsal.cloud.sns_message import SnsMessage
from tests.rehearsal.cloud.fleet import Running, wait

BALANCER = {"LoadBalancer": "app/app/1", "TargetGroup": "targetgroup/blue/1"}
SCALE = 60.0  # a minute counts as a second


@pytest.fixture
def client(cloud: Running) -> Iterator[CloudClient]:
    created = CloudClient(control=cloud.control)
    created.set_alarm_scale(SCALE)
    yield created
    created.set_alarm_scale(1)


@pytest.fixture
def topic(cloud: Running) -> str:
    return str(cloud.client("sns").create_topic(Name="alerts")["TopicArn"])


def dimensions() -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in BALANCER.items()]


def put(cloud: Running, namespace: str, **values: float) -> None:
    data = [
        {"MetricName": name, "Dimensions": dimensions(), "Values": [value], "Timestamp": datetime.now(UTC)}
        for name, value in values.items()
    ]
    cloud.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=data)


def put_alarm(cloud: Running, name: str, **changes: Any) -> None:
    request = {
        "AlarmName": name,
        "Namespace": "app",
        "MetricName": "errors",
        "Dimensions": dimensions(),
        "Statistic": "Sum",
        "Period": 300,  # 5 seconds at the scale of these tests
        "EvaluationPeriods": 1,
        "Threshold": 3,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }
    cloud.client("cloudwatch").put_metric_alarm(**request | changes)


def put_spec(cloud: Running, spec: AlarmSpec, minutes: int) -> None:
    """As components/alarms.py declares it."""
    queries: list[dict[str, Any]] = [
        {
            "Id": id,
            "ReturnData": False,
            "MetricStat": {
                "Metric": {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions()},
                "Period": 60 * minutes,
                "Stat": metric.stat,
            },
        }
        for id, metric in spec.metrics.items()
    ]
    cloud.client("cloudwatch").put_metric_alarm(
        AlarmName=spec.name,
        Metrics=[*queries, {"Id": "result", "Expression": spec.expression, "ReturnData": True}],
        ComparisonOperator="GreaterThanThreshold",
        Threshold=spec.threshold,
        DatapointsToAlarm=1,
        EvaluationPeriods=1,
        TreatMissingData=spec.treat_missing_data,
    )


def described(cloud: Running, name: str) -> Any:
    found = cloud.client("cloudwatch").describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    alarms: list[Any] = [*found["MetricAlarms"], *found["CompositeAlarms"]]
    assert len(alarms) == 1
    return alarms[0]


def wait_for(cloud: Running, name: str, state: str) -> Any:
    def reason() -> str | None:
        found = described(cloud, name)["StateValue"]
        return None if found == state else f"it is {found}"

    wait(reason, f"the alarm {name} to be {state}")
    return described(cloud, name)


def published(client: CloudClient, since: datetime, minimum: int) -> list[SnsMessage]:
    def reason() -> str | None:
        count = len(client.sns_messages(since))
        return None if count >= minimum else f"{count} were published"

    wait(reason, f"{minimum} messages")
    return client.sns_messages(since)


def test_an_alarm_changes_its_state_and_publishes_each_change(cloud: Running, client: CloudClient, topic: str) -> None:
    began = datetime.now(UTC)
    put_alarm(cloud, "errors", AlarmActions=[topic], OKActions=[topic], AlarmDescription="too many")
    assert "NonBreaching" in wait_for(cloud, "errors", "OK")["StateReason"]
    put(cloud, "app", errors=4)
    reason = wait_for(cloud, "errors", "ALARM")["StateReason"]
    assert reason.startswith("Threshold Crossed: 1 out of the last 1 datapoint [4] was greater than the threshold (3)")
    wait_for(cloud, "errors", "OK")
    messages = published(client, began, 3)
    assert [message.subject for message in messages] == [
        f'{state}: "errors" in eu-central-1' for state in ("OK", "ALARM", "OK")
    ]
    content = json.loads(messages[1].message)
    assert (content["OldStateValue"], content["NewStateValue"], content["NewStateReason"]) == ("OK", "ALARM", reason)
    assert (content["AlarmName"], content["AlarmDescription"]) == ("errors", "too many")
    assert content["Trigger"]["Threshold"] == 3


def test_a_composite_alarm_follows_its_alarms_and_names_the_one_that_changed(
    cloud: Running, client: CloudClient, topic: str
) -> None:
    put_alarm(cloud, "errors")
    put_alarm(cloud, "latency", MetricName="latency")
    cloudwatch = cloud.client("cloudwatch")
    cloudwatch.put_composite_alarm(AlarmName="worst", AlarmRule='ALARM("bad") AND TRUE', AlarmActions=[topic])
    cloudwatch.put_composite_alarm(
        AlarmName="bad", AlarmRule='ALARM("errors") OR ALARM("latency")', AlarmActions=[topic], OKActions=[topic]
    )
    wait_for(cloud, "worst", "OK")
    began = datetime.now(UTC)
    put(cloud, "app", latency=9)
    assert wait_for(cloud, "worst", "ALARM")["AlarmRule"] == 'ALARM("bad") AND TRUE'
    bad = described(cloud, "bad")
    assert bad["StateValue"] == "ALARM"
    assert ":alarm:latency transitioned to ALARM at " in bad["StateReason"]
    assert {message.subject.partition(" in ")[0] for message in published(client, began, 2)} == {
        'ALARM: "bad"',
        'ALARM: "worst"',
    }
    content = json.loads(next(each.message for each in client.sns_messages(began) if '"bad"' in each.subject))
    assert content["AlarmRule"] == 'ALARM("errors") OR ALARM("latency")'


def test_the_history_lists_every_change_the_newest_first(cloud: Running, client: CloudClient, topic: str) -> None:
    put_alarm(cloud, "errors", AlarmActions=[topic])
    wait_for(cloud, "errors", "OK")
    began = datetime.now(UTC)
    put(cloud, "app", errors=4)
    wait_for(cloud, "errors", "ALARM")
    published(client, began, 1)
    cloudwatch = cloud.client("cloudwatch")

    def summaries(**options: Any) -> list[str]:
        items = cloudwatch.describe_alarm_history(AlarmName="errors", **options)["AlarmHistoryItems"]
        return [item["HistorySummary"] for item in items]

    wait(lambda: None if len(summaries()) == 4 else f"{summaries()}", "the complete history")
    assert summaries() == [
        f"Successfully executed action {topic}",
        "Alarm updated from OK to ALARM",
        "Alarm updated from INSUFFICIENT_DATA to OK",
        'Alarm "errors" created',
    ]
    assert summaries(HistoryItemType="StateUpdate", StartDate=began) == ["Alarm updated from OK to ALARM"]
    assert summaries(ScanBy="TimestampAscending", MaxRecords=1) == ['Alarm "errors" created']


def test_an_alarm_that_is_put_again_keeps_its_state(cloud: Running, client: CloudClient) -> None:
    client.set_alarm_scale(1)
    put_alarm(cloud, "errors")
    put(cloud, "app", errors=4)
    before = wait_for(cloud, "errors", "ALARM")
    put_alarm(cloud, "errors", AlarmDescription="put again")
    after = described(cloud, "errors")
    assert after["AlarmDescription"] == "put again"
    assert [after[part] for part in ("StateValue", "StateReason", "StateUpdatedTimestamp")] == [
        before[part] for part in ("StateValue", "StateReason", "StateUpdatedTimestamp")
    ]


def test_set_alarm_state_lasts_until_the_next_evaluation(cloud: Running, client: CloudClient, topic: str) -> None:
    put_alarm(cloud, "errors", AlarmActions=[topic])
    wait_for(cloud, "errors", "OK")
    began = datetime.now(UTC)
    cloud.client("cloudwatch").set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="by hand")
    (message,) = published(client, began, 1)
    assert json.loads(message.message)["NewStateReason"] == "by hand"
    wait_for(cloud, "errors", "OK")


def test_without_actions_enabled_nothing_is_published(cloud: Running, client: CloudClient, topic: str) -> None:
    put_alarm(cloud, "silent", AlarmActions=[topic], ActionsEnabled=False)
    put_alarm(cloud, "notifying", AlarmActions=[topic])
    wait_for(cloud, "notifying", "OK")
    wait_for(cloud, "silent", "OK")
    began = datetime.now(UTC)
    put(cloud, "app", errors=4)
    wait_for(cloud, "silent", "ALARM")
    assert [json.loads(message.message)["AlarmName"] for message in published(client, began, 1)] == ["notifying"]


# Metrics of a minute for each of the program's alarms: (alarm, good, bad).
OPTIONS = AlarmSettings()
MINUTES = [
    ("errors", {"RequestCount": 100}, {"RequestCount": 100, "HTTPCode_Target_5XX_Count": 6}),
    ("latency", {"RequestCount": 100, "TargetResponseTime": 1}, {"RequestCount": 100, "TargetResponseTime": 3}),
    ("unhealthy", {"UnHealthyHostCount": 0}, {"UnHealthyHostCount": 1}),
    ("no-machine", {"RequestCount": 1, "HealthyHostCount": 1}, {"RequestCount": 1, "HealthyHostCount": 0}),
    ("boots", {}, {"BootFailures": 1}),
]


@pytest.mark.parametrize(("name", "good", "bad"), MINUTES)
def test_the_programs_alarms_are_evaluated(
    cloud: Running, client: CloudClient, name: str, good: dict[str, float], bad: dict[str, float]
) -> None:
    (spec,) = [each for each in alarm_metrics.color_alarms(OPTIONS) if each.name == name]
    (namespace,) = {metric.namespace for metric in spec.metrics.values()}
    put(cloud, namespace, **good)
    put_spec(cloud, spec, minutes=5)
    wait_for(cloud, name, "OK")

    def reason() -> str | None:
        """The load balancer publishes its metrics continuously; the good ones expire after some time."""
        put(cloud, namespace, **bad)
        return None if (state := described(cloud, name)["StateValue"]) == "ALARM" else f"it is {state}"

    wait(reason, f"the alarm {name} to be ALARM", deadline_s=60)


def test_a_color_with_too_few_healthy_instances_is_in_alarm(cloud: Running, client: CloudClient) -> None:
    spec, own = alarm_metrics.capacity_alarm(2, 5), "instances of this test"  # other tests publish the metric too
    healthy = replace(spec.metrics["healthy"], namespace=own)
    put_spec(cloud, replace(spec, metrics={"healthy": healthy}), minutes=5)
    put_alarm(cloud, "other", TreatMissingData="breaching")
    wait_for(cloud, "other", "ALARM")  # evaluated by now, and so is the other
    assert described(cloud, "capacity")["StateValue"] == "INSUFFICIENT_DATA"
    put(cloud, own, HealthyHostCount=1)
    wait_for(cloud, "capacity", "ALARM")
    put(cloud, own, HealthyHostCount=2)
    wait_for(cloud, "capacity", "OK")


def test_an_alarm_that_can_not_be_evaluated_has_a_reason(cloud: Running, client: CloudClient) -> None:
    put_alarm(cloud, "odd", ComparisonOperator="GreaterThanUpperThreshold")

    def reason() -> str | None:
        found = described(cloud, "odd")
        return None if "GreaterThanUpperThreshold" in found["StateReason"] else str(found["StateReason"])

    wait(reason, "the reason")
    assert described(cloud, "odd")["StateValue"] == "INSUFFICIENT_DATA"


def test_an_invalid_rule_is_refused(cloud: Running) -> None:
    with pytest.raises(ClientError, match="alarm rule 'ALARM") as refused:
        cloud.client("cloudwatch").put_composite_alarm(AlarmName="bad", AlarmRule="ALARM(errors) AND")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_time_scale_is_listed_as_a_gap_and_has_bounds(cloud: Running, client: CloudClient) -> None:
    def gaps() -> list[str]:
        found = requests.get(f"{cloud.control}/gaps", timeout=5).json()["gaps"]
        return [gap["reason"] for gap in found if gap["action"] == "(periods of alarms)"]

    client.set_alarm_scale(10)
    (reason,) = gaps()
    assert reason.endswith("60 s of an alarm's period count as 6 s")
    for wrong in (0, 61, True):
        with pytest.raises(ControlError, match=r"time scale .*: a number from 1 to 60 is allowed"):
            client.set_alarm_scale(wrong)
    client.set_alarm_scale(1)
    assert gaps() == []

"""Alarms of a color whose instances fail to boot, evaluated by the emulated CloudWatch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from ami.boot import report
from ami.boot.cloud import Cloud
from ami.boot.retrying import Deadline
from components.alarms import ColorAlarms
from config.alerts import AlarmSettings
from fleet.colors import Color
from rehearsal.provider.handlers.alarms import CompositeAlarmHandler, MetricAlarmHandler
from tests.ami.group import Mailbox
from tests.declared import CONTEXT, declare
from tests.rehearsal.cloud.fleet import REGION, Running, wait

BOOTS, BAD = "dev-blue-boots", "dev-blue-bad"


@dataclass(frozen=True, kw_only=True)
class Account:
    """The part of a provider account that the handlers need."""

    aws: Running

    def client(self, service: str) -> Any:
        return self.aws.client(service)

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{REGION}:123456789012:{resource}"


@pytest.fixture
def mailbox(aws: Running) -> Mailbox:
    """Receives the alarms of blue, which exist."""
    mailbox = Mailbox.create(aws)
    account = Account(aws=aws)
    declared = declare(
        lambda: ColorAlarms(
            "blue-alarms",
            CONTEXT,
            AlarmSettings(),
            Color.BLUE,
            load_balancer="app/web/1a2b",
            target_group="targetgroup/blue/3c4d",
            topic_arn=mailbox.topic,
        )
    )
    for alarm in declared.all("cloudwatch.MetricAlarm").values():
        MetricAlarmHandler().create(account, alarm.inputs)  # type: ignore[arg-type]
    CompositeAlarmHandler().create(account, declared.one("cloudwatch.CompositeAlarm").inputs)  # type: ignore[arg-type]
    return mailbox


def states(aws: Running) -> dict[str, str]:
    kinds = ["MetricAlarm", "CompositeAlarm"]
    answer = aws.client("cloudwatch").describe_alarms(AlarmNames=[BOOTS, BAD], AlarmTypes=kinds)
    return {alarm["AlarmName"]: alarm["StateValue"] for kind in kinds for alarm in answer[f"{kind}s"]}


def expect(aws: Running, state: str) -> None:
    expected = {BOOTS: state, BAD: state}
    wait(lambda: None if states(aws) == expected else f"{states(aws)}", f"alarms {state}", 30)


def test_failed_boots_ring_the_color_alarm(aws: Running, mailbox: Mailbox) -> None:
    expect(aws, "OK")
    mailbox.read()
    for _ in range(2):
        report.put_failure(Cloud(REGION), "bluegreen", {"Stack": "dev", "Color": "blue"}, Deadline(5))
        expect(aws, "ALARM")
    subjects = [subject for subject, _ in mailbox.read()]
    assert [subject for subject in subjects if subject.startswith("ALARM")] == [f'ALARM: "{BAD}" in eu-central-1']

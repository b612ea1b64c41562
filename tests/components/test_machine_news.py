from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any

import pytest
from moto.events.models import EventPattern

from ami.boot import messages
from components import machine_news
from components.machine_news import LOST, NOT_LAUNCHED, News
from config.settings import MAX_STACK, STACK
from fleet.colors import Color

OUT = "an instance was taken out of service in response to"
LIMIT = 2048  # characters of a pattern, EventBridge's


def event(detail_type: str, **detail: str) -> dict[str, Any]:
    usual = {"AutoScalingGroupName": "dev-blue-v1-1a2b", "StatusMessage": "", "Cause": ""}
    return {"source": "aws.autoscaling", "detail-type": detail_type, "detail": usual | detail}


def matches(news: News, told: dict[str, Any], stack: str = "dev", color: Color = Color.BLUE) -> bool:
    return EventPattern.load(machine_news.pattern(news, stack, color)).matches_event(told)  # type: ignore[arg-type]


def test_the_patterns_as_they_are_sent() -> None:
    assert json.loads(machine_news.pattern(LOST, "dev", Color.GREEN)) == {
        "source": ["aws.autoscaling"],
        "detail-type": ["EC2 Instance Terminate Successful"],
        "detail": {
            "AutoScalingGroupName": [{"prefix": "dev-green-"}],
            "Cause": [
                {"wildcard": "*health check*"},
                {"wildcard": "*health-check*"},
                {"wildcard": "*status check*"},
                {"wildcard": "*scheduled reboot*"},
            ],
        },
    }
    assert json.loads(machine_news.pattern(NOT_LAUNCHED, "dev", Color.BLUE)) == {
        "source": ["aws.autoscaling"],
        "detail-type": ["EC2 Instance Launch Unsuccessful"],
        "detail": {
            "AutoScalingGroupName": [{"prefix": "dev-blue-"}],
            "StatusMessage": [{"anything-but": {"wildcard": "*Lifecycle Action Completed with ABANDON Result*"}}],
        },
    }
    assert all(len(machine_news.pattern(each, "s" * 40, Color.GREEN)) <= LIMIT for each in machine_news.ALL)


@pytest.mark.parametrize(
    ("cause", "ill"),
    [
        (f"{OUT} an EC2 health check indicating it has been terminated or stopped.", True),
        (f"{OUT} an EC2 instance status checks failure.", True),
        (f"{OUT} an EC2 scheduled reboot.", True),
        (f"{OUT} an ELB system health check failure.", True),
        (f"{OUT} a user health-check.", True),
        (f"{OUT} a user request.", False),
        (f"{OUT} a difference between desired and actual capacity, shrinking the capacity from 2 to 1.", False),
        ("a monitor alarm TargetTracking-dev-blue-v1-AlarmLow was in state ALARM triggering policy cpu", False),
        ("a user request update of AutoScalingGroup constraints to min: 0, max: 0, desired: 0", False),
    ],
)
def test_a_machine_is_lost_when_it_was_ill(cause: str, ill: bool) -> None:
    told = event("EC2 Instance Terminate Successful", Cause=f"At 2026-11-21T14:00:00Z {cause}")
    assert matches(LOST, told) is ill
    assert not matches(NOT_LAUNCHED, told)


ABANDONED = "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token 1a2b was abandoned: "


@pytest.mark.parametrize(
    ("message", "news"),
    [
        ("You have requested more vCPU capacity than your current vCPU limit. Launching EC2 instance failed.", True),
        ("Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: x", True),
        (f"{ABANDONED}Heartbeat Timeout", True),
        (f"{ABANDONED}Lifecycle Action Completed with ABANDON Result", False),
    ],
)
def test_a_launch_is_told_unless_the_machine_gave_it_up_itself(message: str, news: bool) -> None:
    told = event("EC2 Instance Launch Unsuccessful", StatusMessage=message)
    assert matches(NOT_LAUNCHED, told) is news
    assert not matches(LOST, told)


@pytest.mark.parametrize(
    ("group", "ours"),
    [("dev-blue-v1-1a2b", True), ("dev-blue-v2.0_x-3c4d", True), ("dev-green-v1-1a2b", False), ("devblue-x", False)],
)
def test_only_the_colors_groups_count(group: str, ours: bool) -> None:
    told = event("EC2 Instance Terminate Successful", AutoScalingGroupName=group, Cause="a user health-check.")
    assert matches(LOST, told) is ours


@pytest.mark.parametrize("other", ["dev-blue", "dev-blue-eu", "dev-2", "de", "dev_blue", "prod"])
def test_no_other_stacks_groups_count(other: str) -> None:
    """Of all names that a stack may have."""
    group = f"{other}-blue-v1-1a2b"
    told = event("EC2 Instance Terminate Successful", AutoScalingGroupName=group, Cause="a user health-check.")
    assert not (STACK.fullmatch(other) and matches(LOST, told))


@pytest.mark.parametrize("news", machine_news.ALL, ids=lambda news: news.name)
def test_the_message_is_json_around_values_of_the_event(news: News) -> None:
    text = machine_news.template(news, "dev", Color.BLUE)
    assert set(re.findall(r": <([a-z_]+)>", text)) == news.paths.keys()
    told = json.loads(re.sub(r": <([a-z_]+)>", r': "<\1>"', text))
    assert told == {
        "kind": news.message.kind,
        "subject": "Instance lost: dev blue <instance>" if news is LOST else "Launch failed: dev blue",
        "stack": "dev",
        "color": "blue",
        **{key: f"<{key}>" for key in news.paths},
    }


def test_the_message_has_each_field_of_its_kind() -> None:
    for news in machine_news.ALL:
        made = {"kind", "stack", "color", "left_out"}
        assert news.paths.keys() | made == {field.name for field in fields(news.message)}


@pytest.mark.parametrize("news", machine_news.ALL, ids=lambda news: news.name)
def test_the_subject_of_the_longest_stack_is_within_the_schema(news: News) -> None:
    """EventBridge cuts nothing."""
    text = machine_news.template(news, "s" * MAX_STACK, Color.GREEN)
    subject = json.loads(re.sub(r": <([a-z_]+)>", r': "<\1>"', text))["subject"]
    assert len(subject.replace("<instance>", "i-0123456789abcdef0")) <= messages.MAX_SUBJECT


def test_paths_are_in_the_notation_that_eventbridge_takes() -> None:
    paths = [path for news in machine_news.ALL for path in news.paths.values()]
    assert all(re.fullmatch(r"\$(\.[A-Za-z0-9]+)+", path) for path in paths)

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from typing import Any

import pytest
from moto.events.models import EventPattern

from ami.boot import messages
from components import instance_events, policy_documents
from components.alerts import Topic
from components.instance_events import LOST, NOT_LAUNCHED, InstanceEvent, InstanceEvents
from config.settings import MAX_STACK, STACK
from fleet.colors import Color
from tests.declared import CONTEXT, Declaration, declare

OUT = "an instance was taken out of service in response to"
LIMIT = 2048  # characters of a pattern, EventBridge's


def event(detail_type: str, **detail: str) -> dict[str, Any]:
    usual = {"AutoScalingGroupName": "dev-blue-v1-1a2b", "StatusMessage": "", "Cause": ""}
    return {"source": "aws.autoscaling", "detail-type": detail_type, "detail": usual | detail}


def matches(kind: InstanceEvent, sent: dict[str, Any], stack: str = "dev", color: Color = Color.BLUE) -> bool:
    return EventPattern.load(instance_events.pattern(kind, stack, color)).matches_event(sent)  # type: ignore[arg-type]


def test_the_patterns_as_they_are_sent() -> None:
    assert json.loads(instance_events.pattern(LOST, "dev", Color.GREEN)) == {
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
    assert json.loads(instance_events.pattern(NOT_LAUNCHED, "dev", Color.BLUE)) == {
        "source": ["aws.autoscaling"],
        "detail-type": ["EC2 Instance Launch Unsuccessful"],
        "detail": {
            "AutoScalingGroupName": [{"prefix": "dev-blue-"}],
            "StatusMessage": [{"anything-but": {"wildcard": "*Lifecycle Action Completed with ABANDON Result*"}}],
        },
    }
    assert all(len(instance_events.pattern(each, "s" * 40, Color.GREEN)) <= LIMIT for each in instance_events.ALL)


@pytest.mark.parametrize(
    ("cause", "unhealthy"),
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
def test_an_instance_is_lost_when_it_was_unhealthy(cause: str, unhealthy: bool) -> None:
    sent = event("EC2 Instance Terminate Successful", Cause=f"At 2026-11-21T14:00:00Z {cause}")
    assert matches(LOST, sent) is unhealthy
    assert not matches(NOT_LAUNCHED, sent)


ABANDONED = "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token 1a2b was abandoned: "


@pytest.mark.parametrize(
    ("message", "is_match"),
    [
        ("You have requested more vCPU capacity than your current vCPU limit. Launching EC2 instance failed.", True),
        ("Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: x", True),
        (f"{ABANDONED}Heartbeat Timeout", True),
        (f"{ABANDONED}Lifecycle Action Completed with ABANDON Result", False),
    ],
)
def test_a_failed_launch_is_published_unless_its_boot_did(message: str, is_match: bool) -> None:
    sent = event("EC2 Instance Launch Unsuccessful", StatusMessage=message)
    assert matches(NOT_LAUNCHED, sent) is is_match
    assert not matches(LOST, sent)


@pytest.mark.parametrize(
    ("group", "ours"),
    [("dev-blue-v1-1a2b", True), ("dev-blue-v2.0_x-3c4d", True), ("dev-green-v1-1a2b", False), ("devblue-x", False)],
)
def test_only_the_colors_groups_count(group: str, ours: bool) -> None:
    sent = event("EC2 Instance Terminate Successful", AutoScalingGroupName=group, Cause="a user health-check.")
    assert matches(LOST, sent) is ours


@pytest.mark.parametrize("other", ["dev-blue", "dev-blue-eu", "dev-2", "de", "dev_blue", "prod"])
def test_no_other_stacks_groups_count(other: str) -> None:
    """Of all names that a stack may have."""
    group = f"{other}-blue-v1-1a2b"
    sent = event("EC2 Instance Terminate Successful", AutoScalingGroupName=group, Cause="a user health-check.")
    assert not (STACK.fullmatch(other) and matches(LOST, sent))


@pytest.mark.parametrize("kind", instance_events.ALL, ids=lambda event: event.name)
def test_the_message_is_json_around_values_of_the_event(kind: InstanceEvent) -> None:
    text = instance_events.template(kind, "dev", Color.BLUE)
    assert set(re.findall(r": <([a-z_]+)>", text)) == kind.paths.keys()
    sent = json.loads(re.sub(r": <([a-z_]+)>", r': "<\1>"', text))
    assert sent == {
        "kind": kind.message.kind,
        "subject": "Instance lost: dev blue <instance>" if kind is LOST else "Launch failed: dev blue",
        "stack": "dev",
        "color": "blue",
        **{key: f"<{key}>" for key in kind.paths},
    }


def test_the_message_has_each_field_of_its_kind() -> None:
    for kind in instance_events.ALL:
        made = {"kind", "stack", "color", "left_out"}
        assert kind.paths.keys() | made == {field.name for field in fields(kind.message)}


@pytest.mark.parametrize("kind", instance_events.ALL, ids=lambda event: event.name)
def test_the_subject_of_the_longest_stack_is_within_the_schema(kind: InstanceEvent) -> None:
    """EventBridge cuts nothing."""
    text = instance_events.template(kind, "s" * MAX_STACK, Color.GREEN)
    subject = json.loads(re.sub(r": <([a-z_]+)>", r': "<\1>"', text))["subject"]
    assert len(subject.replace("<instance>", "i-0123456789abcdef0")) <= messages.MAX_SUBJECT


def test_paths_are_in_the_notation_that_eventbridge_takes() -> None:
    paths = [path for kind in instance_events.ALL for path in kind.paths.values()]
    assert all(re.fullmatch(r"\$(\.[A-Za-z0-9]+)+", path) for path in paths)


TOPIC = Topic(arn="arn:topic", key_arn="arn:key")
NAMES = {
    "machine-events-blue-lost": (Color.BLUE, instance_events.LOST),
    "machine-events-blue-not-launched": (Color.BLUE, instance_events.NOT_LAUNCHED),
    "machine-events-green-lost": (Color.GREEN, instance_events.LOST),
    "machine-events-green-not-launched": (Color.GREEN, instance_events.NOT_LAUNCHED),
}


def events(boundary: str = "") -> Declaration:
    context = replace(CONTEXT, boundary=boundary)
    return declare(lambda: InstanceEvents("machine-events", context, TOPIC))


def test_each_color_has_a_rule_for_either_event() -> None:
    declared = events()
    assert declared.components() == {"machine-events": "bluegreen:observability:InstanceEvents"}
    assert declared.table() == {
        *(("cloudwatch.EventRule", name) for name in NAMES),
        *(("cloudwatch.EventTarget", name) for name in NAMES),
        ("iam.Role", "machine-events"),
        ("iam.RolePolicy", "machine-events"),
    }
    for name, (color, kind) in NAMES.items():
        assert declared.one("cloudwatch.EventRule", name).inputs == {
            "description": f"dev {color}: {kind.message.kind}",
            "eventPattern": instance_events.pattern(kind, "dev", color),
            "tags": {"Stack": "dev"},
        }


@pytest.mark.parametrize("name", NAMES)
def test_each_publishes_to_the_topic(name: str) -> None:
    declared, (color, kind) = events(), NAMES[name]
    target = declared.one("cloudwatch.EventTarget", name)
    assert target.inputs == {
        "rule": name,
        "targetId": "alerts",
        "arn": "arn:topic",
        "roleArn": declared.one("iam.Role").arn,
        "inputTransformer": {
            "inputPaths": kind.paths,
            "inputTemplate": instance_events.template(kind, "dev", color),
        },
    }
    assert declared.one("iam.RolePolicy").urn in target.dependencies


def test_the_role_is_for_these_rules_and_the_topic() -> None:
    declared = events()
    arns = [declared.one("cloudwatch.EventRule", name).arn for name in NAMES]
    assert json.loads(declared.one("iam.Role").inputs["assumeRolePolicy"]) == policy_documents.assumed_by(
        "events.amazonaws.com", source_arns=arns
    )
    assert json.loads(declared.one("iam.RolePolicy").inputs["policy"]) == policy_documents.events_publisher(
        CONTEXT, topic_arn="arn:topic", key_arn="arn:key"
    )


def test_the_role_is_bounded_by_the_given_policy() -> None:
    assert events(boundary="arn:limit").one("iam.Role").inputs["permissionsBoundary"] == "arn:limit"

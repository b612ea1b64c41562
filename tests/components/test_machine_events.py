from __future__ import annotations

import json
from dataclasses import replace

import pytest

from components import machine_news, policy_documents
from components.alerts import Topic
from components.machine_events import MachineEvents
from fleet.colors import Color
from tests.declared import CONTEXT, Declaration, declare

TOPIC = Topic(arn="arn:topic", key_arn="arn:key")
NAMES = {
    "machine-events-blue-lost": (Color.BLUE, machine_news.LOST),
    "machine-events-blue-not-launched": (Color.BLUE, machine_news.NOT_LAUNCHED),
    "machine-events-green-lost": (Color.GREEN, machine_news.LOST),
    "machine-events-green-not-launched": (Color.GREEN, machine_news.NOT_LAUNCHED),
}


def events(boundary: str = "") -> Declaration:
    context = replace(CONTEXT, boundary=boundary)
    return declare(lambda: MachineEvents("machine-events", context, TOPIC))


def test_each_color_has_a_rule_for_either_news() -> None:
    declared = events()
    assert declared.components() == {"machine-events": "bluegreen:observability:MachineEvents"}
    assert declared.table() == {
        *(("cloudwatch.EventRule", name) for name in NAMES),
        *(("cloudwatch.EventTarget", name) for name in NAMES),
        ("iam.Role", "machine-events"),
        ("iam.RolePolicy", "machine-events"),
    }
    for name, (color, news) in NAMES.items():
        assert declared.one("cloudwatch.EventRule", name).inputs == {
            "description": f"dev {color}: {news.message.kind}",
            "eventPattern": machine_news.pattern(news, "dev", color),
            "tags": {"Stack": "dev"},
        }


@pytest.mark.parametrize("name", NAMES)
def test_each_tells_the_topic(name: str) -> None:
    declared, (color, news) = events(), NAMES[name]
    target = declared.one("cloudwatch.EventTarget", name)
    assert target.inputs == {
        "rule": name,
        "targetId": "alerts",
        "arn": "arn:topic",
        "roleArn": declared.one("iam.Role").arn,
        "inputTransformer": {
            "inputPaths": news.paths,
            "inputTemplate": machine_news.template(news, "dev", color),
        },
    }
    assert declared.one("iam.RolePolicy").urn in target.dependencies


def test_the_role_is_for_these_rules_and_the_topic() -> None:
    declared = events()
    arns = [declared.one("cloudwatch.EventRule", name).arn for name in NAMES]
    assert json.loads(declared.one("iam.Role").inputs["assumeRolePolicy"]) == policy_documents.assumed_by(
        "events.amazonaws.com", for_things=arns
    )
    assert json.loads(declared.one("iam.RolePolicy").inputs["policy"]) == policy_documents.events_teller(
        CONTEXT, topic_arn="arn:topic", key_arn="arn:key"
    )


def test_the_role_is_bounded_by_the_given_policy() -> None:
    assert events(boundary="arn:limit").one("iam.Role").inputs["permissionsBoundary"] == "arn:limit"

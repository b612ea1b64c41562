"""EventBridge rules and targets: creation, changes, drift and deletion."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from .client import CallError, Client, Resource

Aws = Callable[[str], Any]
TOPIC = "arn:aws:sns:us-east-1:123456789012:news"
PATTERN = json.dumps({"source": ["shop"], "detail": {"group": [{"prefix": "dev-"}]}})
TRANSFORMER = {"inputPaths": {"who": "$.detail.who"}, "inputTemplate": '{"who": <who>}'}


@pytest.fixture
def rule(provider: Client) -> Resource:
    return provider.create(
        "aws:cloudwatch:EventRule",
        "lost",
        description="An instance is lost",
        eventPattern=PATTERN,
        tags={"Stack": "test"},
    )


@pytest.fixture
def target(provider: Client, rule: Resource) -> Resource:
    return provider.create(
        "aws:cloudwatch:EventTarget",
        "lost",
        rule=rule.id,
        targetId="news",
        arn=TOPIC,
        inputTransformer=TRANSFORMER,
    )


def found_rule(aws: Aws) -> dict[str, Any]:
    (found,) = aws("events").list_rules()["Rules"]
    tags = aws("events").list_tags_for_resource(ResourceARN=found["Arn"])["Tags"]
    retained = {key: found.get(key) for key in ("Description", "EventPattern", "State")}
    return retained | {"Tags": {each["Key"]: each["Value"] for each in tags}}


def found_target(aws: Aws, rule: Resource) -> dict[str, Any]:
    (found,) = aws("events").list_targets_by_rule(Rule=rule.id)["Targets"]
    return dict(found)


RULE = {
    "Description": "An instance is lost",
    "EventPattern": PATTERN,
    "State": "ENABLED",
    "Tags": {"Stack": "test"},
}


def test_a_rule_is_created_as_declared(provider: Client, aws: Aws, rule: Resource) -> None:
    assert rule["name"].startswith("lost-")
    assert (rule.id, rule["arn"]) == (rule["name"], f"arn:aws:events:us-east-1:123456789012:rule/{rule.id}")
    assert found_rule(aws) == RULE
    assert provider.update(rule) == {}


def test_a_target_is_created_as_declared(provider: Client, aws: Aws, rule: Resource, target: Resource) -> None:
    assert target.id == f"{rule.id}-news"
    assert found_target(aws, rule) == {
        "Id": "news",
        "Arn": TOPIC,
        "InputTransformer": {"InputPathsMap": {"who": "$.detail.who"}, "InputTemplate": '{"who": <who>}'},
    }
    assert provider.update(target) == {}


def test_a_rule_changes_in_place_and_keeps_its_target(
    provider: Client, aws: Aws, rule: Resource, target: Resource
) -> None:
    changes = {"description": "Gone", "tags": {"Stack": "new"}, "eventPattern": '{"source": ["mall"]}'}
    assert provider.update(rule, **changes) == {
        "description": "update",
        "eventPattern": "update",
        "tags.Stack": "update",
    }
    assert found_rule(aws) == {
        "Description": "Gone",
        "EventPattern": '{"source": ["mall"]}',
        "State": "ENABLED",
        "Tags": {"Stack": "new"},
    }
    assert found_target(aws, rule)["Arn"] == TOPIC


def test_a_target_changes_in_place(provider: Client, aws: Aws, rule: Resource, target: Resource) -> None:
    other = TRANSFORMER | {"inputTemplate": '{"name": <who>}'}
    assert provider.update(target, inputTransformer=other) == {"inputTransformer.inputTemplate": "update"}
    assert found_target(aws, rule)["InputTransformer"]["InputTemplate"] == '{"name": <who>}'


def test_another_id_replaces_the_target(provider: Client, aws: Aws, rule: Resource, target: Resource) -> None:
    assert provider.update(target, targetId="others") == {"targetId": "update-replace"}
    assert (target.id, found_target(aws, rule)["Id"]) == (f"{rule.id}-others", "others")


def test_rules_and_targets_are_deleted(provider: Client, aws: Aws, rule: Resource, target: Resource) -> None:
    provider.delete(target)
    assert aws("events").list_targets_by_rule(Rule=rule.id)["Targets"] == []
    provider.delete(rule)
    assert aws("events").list_rules()["Rules"] == []


def test_manual_changes_to_a_rule_are_reverted(provider: Client, aws: Aws, rule: Resource) -> None:
    assert provider.refresh(rule) == {}
    aws("events").disable_rule(Name=rule.id)
    aws("events").untag_resource(ResourceARN=rule["arn"], TagKeys=["Stack"])
    assert provider.refresh(rule) == {"state": "update", "tags.Stack": "add"}
    provider.update(rule)
    assert found_rule(aws) == RULE
    assert provider.refresh(rule) == {}


def test_manual_changes_to_a_target_are_reverted(provider: Client, aws: Aws, rule: Resource, target: Resource) -> None:
    assert provider.refresh(target) == {}
    paths = {"who": "$.detail.who", "more": "$.detail"}
    other = {"InputPathsMap": paths, "InputTemplate": '{"who": <who>}'}
    aws("events").put_targets(Rule=rule.id, Targets=[found_target(aws, rule) | {"InputTransformer": other}])
    assert provider.refresh(target) == {"inputTransformer.inputPaths.more": "delete"}
    provider.update(target)
    assert found_target(aws, rule)["InputTransformer"]["InputPathsMap"] == {"who": "$.detail.who"}
    assert provider.refresh(target) == {}


def test_a_pattern_in_another_format_is_no_drift(provider: Client, aws: Aws, rule: Resource) -> None:
    spaced = json.dumps(json.loads(PATTERN), indent=2)
    aws("events").put_rule(Name=rule.id, Description="An instance is lost", EventPattern=spaced)
    assert provider.refresh(rule) == {}


def test_manually_deleted_resources_are_not_found(provider: Client, aws: Aws, rule: Resource, target: Resource) -> None:
    aws("events").remove_targets(Rule=rule.id, Ids=["news"])
    assert provider.refresh(target) is None
    aws("events").delete_rule(Name=rule.id)
    assert (provider.refresh(rule), provider.refresh(target)) == (None, None)


def test_a_target_that_eventbridge_refuses_is_an_error(provider: Client, rule: Resource) -> None:
    with pytest.raises(CallError, match="Parameter nowhere is not valid"):
        provider.create("aws:cloudwatch:EventTarget", "lost", rule=rule.id, targetId="news", arn="nowhere")

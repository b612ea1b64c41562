"""Rules of events and whom they tell: each goes through its whole life against the emulator."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pulumi.automation.errors import CommandError

from .conftest import Traffic, Workshop

Client = Callable[[str], Any]
ACCOUNT = "123456789012"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:news"
RULES = """
rule = aws.cloudwatch.EventRule(
    "lost", name="{name}", description="{why}", event_pattern='{pattern}', state={state}, tags={{"Stack": "{stack}"}},
)
target = aws.cloudwatch.EventTarget(
    "lost", rule=rule.name, target_id="{target}", arn="{topic}", role_arn="arn:aws:iam::{account}:role/teller",
    input_transformer={{"input_paths": {paths}, "input_template": '{template}'}}, retry_policy={retry},
)
pulumi.export("rule", {{"id": rule.id, "arn": rule.arn, "target": target.id}})
"""


def program(**values: Any) -> str:
    usual = {
        "name": "shop-lost",
        "why": "A machine is lost",
        "pattern": json.dumps({"source": ["shop"], "detail": {"group": [{"prefix": "dev-"}]}}),
        "state": None,
        "stack": "test",
        "target": "news",
        "topic": TOPIC,
        "account": ACCOUNT,
        "paths": {"who": "$.detail.who"},
        "template": '{"who": <who>}',
        "retry": {"maximum_retry_attempts": 3},
    }
    return RULES.format(**usual | values)


def rule(aws: Client, name: str = "shop-lost") -> dict[str, Any]:
    found = dict(aws("events").describe_rule(Name=name))
    return {key: found.get(key) for key in ("Description", "EventPattern", "State")}


def target(aws: Client, name: str = "shop-lost") -> dict[str, Any]:
    (found,) = aws("events").list_targets_by_rule(Rule=name)["Targets"]
    return dict(found)


def tags(aws: Client) -> dict[str, str]:
    arn = aws("events").describe_rule(Name="shop-lost")["Arn"]
    return {each["Key"]: each["Value"] for each in aws("events").list_tags_for_resource(ResourceARN=arn)["Tags"]}


def test_a_rule_and_its_target_are_made_as_asked(shop: Workshop, aws: Client, traffic: Traffic) -> None:
    assert shop.up(program()) == {"create": 3}
    arn = f"arn:aws:events:us-east-1:{ACCOUNT}:rule/shop-lost"
    assert shop.outputs() == {"rule": {"id": "shop-lost", "arn": arn, "target": "shop-lost-news"}}
    made = rule(aws)
    assert (made["Description"], made["State"]) == ("A machine is lost", "ENABLED")
    assert json.loads(made["EventPattern"]) == {"source": ["shop"], "detail": {"group": [{"prefix": "dev-"}]}}
    assert tags(aws) == {"Stack": "test"}
    assert target(aws) == {
        "Id": "news",
        "Arn": TOPIC,
        "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/teller",
        "InputTransformer": {"InputPathsMap": {"who": "$.detail.who"}, "InputTemplate": '{"who": <who>}'},
        "RetryPolicy": {"MaximumRetryAttempts": 3},
    }
    traffic.actions.clear()
    assert (shop.up(), traffic.writes()) == ({}, [])


def test_they_change_in_place_and_the_rule_keeps_its_target(shop: Workshop, aws: Client) -> None:
    shop.up(program())
    assert shop.up(program(why="", stack="new", state='"DISABLED"', pattern='{"source": ["mall"]}')) == {"update": 1}
    assert rule(aws) == {"Description": "", "EventPattern": '{"source": ["mall"]}', "State": "DISABLED"}
    assert tags(aws) == {"Stack": "new"}
    assert shop.up(program(retry=None, template='{"name": <who>}')) == {"update": 2}
    assert target(aws)["InputTransformer"]["InputTemplate"] == '{"name": <who>}'
    assert "RetryPolicy" not in target(aws)


def test_another_name_is_another_rule_with_a_target_of_its_own(shop: Workshop, aws: Client) -> None:
    shop.up(program())
    assert shop.up(program(name="shop-gone")) == {"replace": 2}
    assert [each["Name"] for each in aws("events").list_rules()["Rules"]] == ["shop-gone"]
    assert target(aws, "shop-gone")["Id"] == "news"
    assert shop.up(program(name="shop-gone", target="others")) == {"replace": 1}
    assert target(aws, "shop-gone")["Id"] == "others"


def test_names_are_drawn_where_none_is_given(shop: Workshop, aws: Client) -> None:
    shop.up("""
    rule = aws.cloudwatch.EventRule("lost", event_pattern='{"source": ["shop"]}')
    aws.cloudwatch.EventTarget("lost", rule=rule.name, arn="arn:aws:sns:us-east-1:1:news")
    """)
    (made,) = aws("events").list_rules()["Rules"]
    assert made["Name"].startswith("lost-")
    assert target(aws, made["Name"])["Id"].startswith("lost-")
    assert shop.up() == {}


def test_they_go(shop: Workshop, aws: Client) -> None:
    shop.up(program())
    shop.stack.destroy()
    assert aws("events").list_rules()["Rules"] == []


def test_what_hands_changed_is_put_right(shop: Workshop, aws: Client) -> None:
    shop.up(program())
    shop.stack.preview_refresh(expect_no_changes=True)
    events, (arn, before) = aws("events"), (f"arn:aws:events:us-east-1:{ACCOUNT}:rule/shop-lost", rule(aws))
    events.disable_rule(Name="shop-lost")
    events.untag_resource(ResourceARN=arn, TagKeys=["Stack"])
    other = {"InputPathsMap": {"who": "$.detail.who", "more": "$.detail"}, "InputTemplate": '{"who": <who>}'}
    events.put_targets(Rule="shop-lost", Targets=[target(aws) | {"InputTransformer": other}])
    with pytest.raises(CommandError, match="no changes were expected"):
        shop.stack.preview_refresh(expect_no_changes=True)
    shop.stack.refresh()
    assert shop.up() == {"update": 2}
    assert (rule(aws), tags(aws)) == (before, {"Stack": "test"})
    assert target(aws)["InputTransformer"]["InputPathsMap"] == {"who": "$.detail.who"}
    shop.stack.preview_refresh(expect_no_changes=True)


def test_a_pattern_told_in_another_layout_is_the_same(shop: Workshop, aws: Client) -> None:
    shop.up(program())
    spaced = json.dumps(json.loads(rule(aws)["EventPattern"]), indent=2)
    aws("events").put_rule(Name="shop-lost", Description="A machine is lost", EventPattern=spaced)
    shop.stack.preview_refresh(expect_no_changes=True)


@pytest.mark.parametrize(("rule_too", "made"), [(False, 1), (True, 2)])
def test_what_hands_deleted_is_made_again(shop: Workshop, aws: Client, rule_too: bool, made: int) -> None:
    shop.up(program())
    aws("events").remove_targets(Rule="shop-lost", Ids=["news"])
    if rule_too:
        aws("events").delete_rule(Name="shop-lost")
    shop.stack.refresh()
    assert shop.up() == {"create": made}
    assert target(aws)["Arn"] == TOPIC


def test_a_rule_for_nothing_is_refused(shop: Workshop) -> None:
    with pytest.raises(CommandError, match="rule never: allowed is one with eventPattern, scheduleExpression or both"):
        shop.up('aws.cloudwatch.EventRule("never", name="never")')


def test_a_bus_of_ones_own_stands_in_the_ids(shop: Workshop, aws: Client) -> None:
    events = aws("events")
    events.create_event_bus(Name="own")
    shop.up("""
    rule = aws.cloudwatch.EventRule("it", name="it", event_bus_name="own", event_pattern='{"source": ["shop"]}')
    target = aws.cloudwatch.EventTarget(
        "it", rule=rule.name, event_bus_name="own", target_id="news", arn="arn:aws:sns:us-east-1:1:news"
    )
    pulumi.export("ids", [rule.id, target.id])
    """)
    assert shop.outputs() == {"ids": ["own/it", "own-it-news"]}
    assert [each["Name"] for each in events.list_rules(EventBusName="own")["Rules"]] == ["it"]
    shop.stack.preview_refresh(expect_no_changes=True)
    shop.stack.destroy()
    assert events.list_rules(EventBusName="own")["Rules"] == []

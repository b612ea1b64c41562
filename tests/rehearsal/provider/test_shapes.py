"""Validation of inputs by `shapes.json`, and of the file by programs and SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from pulumi import _types as sdk

from config.vpn import VpnSettings
from rehearsal.provider import difference
from rehearsal.provider.handlers import handler_for, tokens
from rehearsal.provider.handlers.base import Handler
from rehearsal.provider.shapes import FILE, GENERATE, Problem, problems, properties, typed
from rehearsal.provider.values import UNKNOWN, Secret
from tests.declared import project
from tests.rehearsal.provider import shape_generator

pytestmark = pytest.mark.usefixtures("offline")

VPC, RULE, GROUP = "aws:ec2/vpc:Vpc", "aws:lb/listenerRule:ListenerRule", "aws:lb/targetGroup:TargetGroup"
TOKENS = sorted(json.loads(FILE.read_text()))
LISTENER = "arn:listener"


def rule(**changes: Any) -> dict[str, Any]:
    action = {"type": "forward", "forward": {"targetGroups": [{"arn": "arn:blue", "weight": 100}]}}
    conditions = [{"pathPattern": {"values": ["/*"]}}]
    return {"listenerArn": LISTENER, "priority": 1, "conditions": conditions, "actions": [action]} | changes


def refused(token: str, inputs: dict[str, Any]) -> dict[str, str]:
    return {each.path: each.reason for each in problems(token, inputs)}


def test_the_file_matches_what_the_programs_use() -> None:
    assert FILE.read_text() == shape_generator.generated(), (
        f"the programs use other inputs than shapes.json has: run `{GENERATE}`"
    )


def test_every_setting_is_on_in_one_of_the_configs() -> None:
    given = {key: [values[key] for values in shape_generator.CONFIGS if key in values] for key in project()["config"]}
    usual = {key: declared["default"] for key, declared in project()["config"].items() if "default" in declared}
    assert [key for key in usual if not any(value != usual[key] for value in given[key])] == []
    vpns = [values["vpn"] for values in shape_generator.CONFIGS if "vpn" in values]
    assert set(VpnSettings.config_keys()) == {key for vpn in vpns for key in vpn}


def test_every_setting_of_the_account_has_another_value_in_one_of_the_configs() -> None:
    declared = yaml.safe_load((shape_generator.BOOTSTRAP / "Pulumi.yaml").read_text())["config"]
    defaults = {key: each["default"] for key, each in declared.items() if "default" in each}
    assert [
        key
        for key in defaults
        if all(each.get(key, defaults[key]) == defaults[key] for each in shape_generator.ACCOUNT_CONFIGS)
    ] == []


@pytest.mark.parametrize("token", TOKENS)
def test_inputs_that_the_programs_register_are_accepted_unchanged(token: str) -> None:
    for inputs in shape_generator.used_inputs()[token]:
        known = {name: UNKNOWN for name in shape_generator.required(shape_generator.args_class(token))} | dict(inputs)
        assert problems(token, known) == []
        assert typed(token, known) == known


@pytest.mark.parametrize("token", TOKENS)
def test_handlers_name_only_known_properties(token: str) -> None:
    handler = handler_for(token)
    named = {handler.naming.key} if handler.naming else set()
    assert {difference.parse_path(path)[0] for path in handler.force_new} <= properties(token) | set(
        handler.defaults
    ) | named


@pytest.mark.parametrize("token", TOKENS)
def test_a_handler_without_update_replaces_on_any_change(token: str) -> None:
    handler = handler_for(token)
    assert type(handler).update is not Handler.update or properties(token) <= handler.force_new


@pytest.mark.parametrize("token", TOKENS)
def test_types_with_tags_in_the_sdk_get_the_default_tags(token: str) -> None:
    tags = sdk.input_type_types(shape_generator.args_class(token)).get("tags")
    assert handler_for(token).tagged == (shape_generator.type_of(tags, []) == {"map": "string"} if tags else False)


def test_no_other_type_has_a_handler() -> None:
    assert tokens() == set(TOKENS)


def test_a_misspelt_property_is_reported_with_a_suggestion() -> None:
    assert refused(VPC, {"cidrBlok": "10.0.0.0/16"}) == {
        "cidrBlok": "unknown property 'cidrBlok'; "
        "known here are cidrBlock, enableDnsHostnames, enableDnsSupport, tags; did you mean cidrBlock?"
    }


def test_a_nested_misspelt_property_is_reported_by_its_path() -> None:
    action = {"type": "forward", "forward": {"targetGroups": [{"arn": "arn:blue", "wieght": 100}]}}
    assert refused(RULE, rule(actions=[action])) == {
        "actions[0].forward.targetGroups[0].wieght": "unknown property 'wieght'; known here are arn, weight; "
        "did you mean weight?"
    }


def test_unsupported_and_unknown_properties_are_distinguished() -> None:
    assert refused(VPC, {"ipv6CidrBlock": "2001:db8::/56", "colour": "blue"}) == {
        "ipv6CidrBlock": "property 'ipv6CidrBlock' is not supported by the rehearsal's provider: "
        f"support it in the type's handler, and run `{GENERATE}`",
        "colour": "unknown property 'colour'; known here are cidrBlock, enableDnsHostnames, enableDnsSupport, tags",
    }


def test_all_missing_properties_are_reported() -> None:
    assert problems(RULE, {"priority": 5, "actions": [{"type": "forward", "forward": {}}]}) == [
        Problem("conditions", "missing required property 'conditions'"),
        Problem("listenerArn", "missing required property 'listenerArn'"),
        Problem("actions[0].forward.targetGroups", "missing required property 'targetGroups'"),
    ]


@pytest.mark.parametrize(
    ("token", "inputs", "path", "reason"),
    [
        (RULE, rule(actions={"type": "forward"}), "actions", "expected a list, got an object"),
        (RULE, rule(actions="forward"), "actions", "expected a list, got 'forward'"),
        (RULE, rule(actions=["forward"]), "actions[0]", "expected an object, got 'forward'"),
        (RULE, rule(priority="first"), "priority", "expected an integer, got 'first'"),
        (RULE, rule(priority=1.5), "priority", "expected an integer, got 1.5"),
        (RULE, rule(priority=True), "priority", "expected an integer, got True"),
        (RULE, rule(listenerArn=["arn"]), "listenerArn", "expected a string, got a list"),
        (RULE, rule(tags=["Name"]), "tags", "expected a map, got a list"),
        (RULE, rule(tags={"a.b": {"Name": "x"}}), 'tags["a.b"]', "expected a string, got an object"),
        (VPC, {"enableDnsSupport": "yes"}, "enableDnsSupport", "expected a boolean, got 'yes'"),
        (GROUP, {"healthCheck": [{"path": "/"}]}, "healthCheck", "expected an object, got a list"),
    ],
)
def test_a_wrong_type_is_reported_with_the_right_one(
    token: str, inputs: dict[str, Any], path: str, reason: str
) -> None:
    assert problems(token, inputs) == [Problem(path, reason)]


def test_scalars_are_converted_as_by_terraform() -> None:
    inputs = {"port": "80", "healthCheck": {"matcher": 200, "interval": "5"}, "tags": {"On": True, "Size": 3}}
    assert problems(GROUP, inputs) == []
    assert typed(GROUP, inputs) == {
        "port": 80,
        "healthCheck": {"matcher": "200", "interval": 5},
        "tags": {"On": "true", "Size": "3"},
    }
    assert typed(VPC, {"enableDnsSupport": "false"}) == {"enableDnsSupport": False}
    policy = {"autoscalingGroupName": "blue", "targetTrackingConfiguration": {"targetValue": "62.5"}}
    retained = {"autoscalingGroupName": "blue", "targetTrackingConfiguration": {"targetValue": 62.5}}
    assert typed("aws:autoscaling/policy:Policy", policy) == retained


@pytest.mark.parametrize("value", [UNKNOWN, Secret(UNKNOWN)])
def test_an_unknown_value_fits_any_type(value: Any) -> None:
    inputs = rule(actions=value, priority=value, conditions=[value], tags={"Name": value})
    assert problems(RULE, inputs) == []
    assert typed(RULE, inputs) == inputs


def test_secrets_are_checked_stay_secret_and_are_not_printed() -> None:
    assert typed(RULE, rule(priority=Secret("7"))) == rule(priority=Secret(7))
    assert problems(RULE, rule(priority=Secret("sesame"))) == [Problem("priority", "expected an integer, got [secret]")]
    nested = Secret([{"type": "forward", "order": "sesame", "forward": {"targetGroups": "sesame"}}])
    assert "sesame" not in str(problems(RULE, rule(actions=nested)))


def test_null_counts_as_absent() -> None:
    assert problems(VPC, {"cidrBlock": None, "cidrBlok": None}) == []

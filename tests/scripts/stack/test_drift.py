"""What `status --drift` tells: each property as it was recorded and as the cloud has it, in Pulumi's events."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import typer
from pulumi.automation import EngineEvent

from scripts.cli.display import Display, exit_codes
from scripts.cli.exits import Exit
from scripts.stack.added_rules import GROUP as SECURITY_GROUP
from scripts.stack.added_rules import LISTENER, _requests, _traffic
from scripts.stack.drift import HIDDEN, SIGNATURE, Difference, Drifted, read_drift, report
from tests.scripts.event_log import PREFIX, step, summary
from tests.scripts.world import World, WorldStack, two_colors

GROUP, RULE = "aws:cloudwatch/logGroup:LogGroup", "aws:lb/listenerRule:ListenerRule"


def found(kind: str, name: str, desired: Any, actual: Any, *paths: str) -> dict[str, Any]:
    """The end of a resource's refresh; `actual` is None where it is gone."""
    states = {"old": {"inputs": desired}, "new": None if actual is None else {"inputs": actual}}
    detailed = {path: {"diffKind": "update", "inputDiff": True} for path in paths}
    metadata = {"op": "refresh", "urn": f"{PREFIX}{kind}::{name}", "type": kind, "detailedDiff": detailed, **states}
    return {"resOutputsEvent": {"metadata": metadata, "planning": True}}


UNCHANGED = found(GROUP, "kept", {"retentionInDays": 7}, {"retentionInDays": 7})
LONGER = found(GROUP, "app", {"retentionInDays": 7}, {"retentionInDays": 365}, "retentionInDays")
LOST = found(RULE, "live", {"priority": 100}, None)


def read(*events: dict[str, Any]) -> list[Drifted]:
    return read_drift(EngineEvent.from_json(event) for event in events)


def test_what_is_as_recorded_is_no_drift() -> None:
    assert read(UNCHANGED, step("update", GROUP, "app"), summary(same=1)) == []


def test_wanted_and_found_values_stand_by_their_paths() -> None:
    want = {"actions": [{"weights": [100, 0]}], "tags": {"Stack": "dev"}}
    have = {"actions": [{"weights": [50, 50]}], "tags": {"Stack": "dev", "By.Hand": "yes"}}
    paths = ('tags["By.Hand"]', "actions[0].weights[1]", "actions[0].weights[2]")
    (one,) = read(found(RULE, "live", want, have, *paths))
    assert one.properties == (
        Difference(path="actions[0].weights[1]", desired=0, actual=50),
        Difference(path="actions[0].weights[2]", desired=None, actual=None),
        Difference(path='tags["By.Hand"]', desired=None, actual="yes"),
    )


@pytest.mark.parametrize("secret", [HIDDEN, {SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "ciphertext": HIDDEN}])
def test_a_secret_stays_one_in_either_form(secret: Any) -> None:
    (one,) = read(
        found(RULE, "live", {"conditions": [{"token": secret}]}, {"conditions": secret}, "conditions[0].token")
    )
    assert one.properties == (Difference(path="conditions[0].token", desired=HIDDEN, actual=HIDDEN),)


def test_people_see_a_table_and_the_exit_code_is_its_own(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    stack = two_colors(world)
    stack.events = [
        UNCHANGED,
        LONGER,
        LOST,
        step("update", GROUP, "app"),
        step("create", RULE, "live"),
        summary(update=1),
    ]
    display = Display()
    with pytest.raises(typer.Exit) as ended, exit_codes(display):
        report(stack, display)
    assert ended.value.exit_code == Exit.DRIFTED
    told, noted = capsys.readouterr()
    lines = [" ".join(line.replace("│", " ").split()) for line in told.splitlines()]
    assert f"app {GROUP} retentionInDays 7 365" in lines
    assert f"live {RULE} there gone" in lines
    assert "kept" not in told
    assert f"{GROUP} app (update), {RULE} live (create)" in noted


def test_json_tells_all_of_it(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    stack = two_colors(world)
    stack.events = [LONGER, LOST]
    display = Display(as_json=True)
    with pytest.raises(typer.Exit), exit_codes(display):
        report(stack, display)
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["exit_code"], document["stack"]) == (False, 7, "dev")
    assert document["drift"] == [
        {
            "type": GROUP,
            "name": "app",
            "gone": False,
            "properties": [{"path": "retentionInDays", "desired": 7, "actual": 365}],
        },
        {"type": RULE, "name": "live", "gone": True, "properties": []},
    ]


def test_no_drift_is_an_empty_list(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    stack = two_colors(world)
    stack.events = [UNCHANGED, summary(same=2)]
    report(stack, Display(as_json=True))
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["drift"], document["added"], document["changes"]) == (True, [], [], [])


# -- rules added by hand ----------------------------------------------------------------------------------------


def recorded(kind: str, name: str, id: str) -> dict[str, Any]:
    """The end of the refresh of a resource that is as it was."""
    event = found(kind, name, {}, {})
    for state in ("old", "new"):
        event["resOutputsEvent"]["metadata"][state]["id"] = id
    return event


def machines_group(world: World) -> tuple[str, list[dict[str, Any]]]:
    """A group with its two rules in AWS, and all three of them in the state."""
    vpc = world.ec2.describe_subnets(SubnetIds=world.subnets)["Subnets"][0]["VpcId"]
    group = world.ec2.create_security_group(GroupName="machines", Description="Machines", VpcId=vpc)["GroupId"]
    from_balancer = allow(world, group, "tcp", 8080, "10.20.0.0/16")
    (out,) = (one["SecurityGroupRuleId"] for one in rules_of(world, group) if one["IsEgress"])
    return group, [
        recorded(SECURITY_GROUP, "machines", group),
        recorded("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "machines-from-balancer", from_balancer),
        recorded("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule", "machines-out", out),
    ]


def rules_of(world: World, group: str) -> list[dict[str, Any]]:
    own = [{"Name": "group-id", "Values": [group]}]
    found: list[dict[str, Any]] = world.ec2.describe_security_group_rules(Filters=own)["SecurityGroupRules"]
    return found


def allow(world: World, group: str, protocol: str, port: int, cidr: str) -> str:
    allowed = {"IpProtocol": protocol, "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": cidr}]}
    made = world.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[allowed])
    return str(made["SecurityGroupRules"][0]["SecurityGroupRuleId"])


def listener(world: World) -> list[dict[str, Any]]:
    """The listener and the rules that the program made, as the state has them."""
    rules = world.elbv2.describe_rules(ListenerArn=world.listener)["Rules"]
    own = [one["RuleArn"] for one in rules if not one["IsDefault"]]
    return [recorded(LISTENER, "web-http", world.listener), *(recorded(RULE, arn, arn) for arn in own)]


def drift(stack: WorldStack, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    display = Display(as_json=True)
    with suppress(typer.Exit), exit_codes(display):
        report(stack, display)
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_the_stack_s_own_rules_are_no_drift(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    stack = two_colors(world)
    _, state = machines_group(world)
    stack.events = [*state, *listener(world), summary(same=9)]
    assert [drift(stack, capsys)[key] for key in ("ok", "added", "drift")] == [True, [], []]


def test_rules_that_hands_added_are_named_and_are_drift(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    stack = two_colors(world)
    group, state = machines_group(world)
    stack.events = [*state, *listener(world), summary(same=9)]
    other = world.ec2.create_security_group(GroupName="other", Description="Not the stack's")["GroupId"]
    allow(world, other, "tcp", 22, "0.0.0.0/0")
    ssh = allow(world, group, "tcp", 22, "0.0.0.0/0")
    answer = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}
    made = world.elbv2.create_rule(
        ListenerArn=world.listener,
        Priority=7,
        Conditions=[{"Field": "path-pattern", "Values": ["/admin/*"]}],
        Actions=[answer],
    )
    rule = made["Rules"][0]["RuleArn"]
    document = drift(stack, capsys)
    assert (document["ok"], document["exit_code"], document["drift"], document["changes"]) == (False, 7, [], [])
    assert document["added"] == [
        {"type": "security group rule", "owner": "machines", "id": ssh, "allows": "tcp 22 from 0.0.0.0/0"},
        {
            "type": "listener rule",
            "owner": "web-http",
            "id": rule,
            "allows": "priority 7, path-pattern /admin/*: fixed-response",
        },
    ]
    assert document["error"] == (
        "dev is not what its program and config say: "
        f"security group rule {ssh} of machines (added by hand: tcp 22 from 0.0.0.0/0), "
        f"listener rule {rule} of web-http (added by hand: priority 7, path-pattern /admin/*: fixed-response)"
    )


def test_people_see_added_rules_and_that_no_update_removes_them(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = two_colors(world)
    group, state = machines_group(world)
    stack.events = [*state, summary(same=3)]
    ssh = allow(world, group, "tcp", 22, "0.0.0.0/0")
    display = Display()
    with pytest.raises(typer.Exit), exit_codes(display):
        report(stack, display)
    lines = [" ".join(line.replace("│", " ").split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "dev added by hand, and removed by no update: delete these by hand"
    assert f"machines security group rule tcp 22 from 0.0.0.0/0 {ssh}" in lines


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"IpProtocol": "-1", "FromPort": -1, "ToPort": -1, "CidrIpv4": "0.0.0.0/0"}, "all protocols to 0.0.0.0/0"),
        ({"IpProtocol": "udp", "FromPort": 1, "ToPort": 9, "CidrIpv6": "::/0"}, "udp 1 to 9 to ::/0"),
        ({"IpProtocol": "tcp", "FromPort": 5, "ToPort": 5, "PrefixListId": "pl-1"}, "tcp 5 to pl-1"),
        (
            {"IpProtocol": "tcp", "FromPort": 5, "ToPort": 5, "ReferencedGroupInfo": {"GroupId": "sg-1"}},
            "tcp 5 to sg-1",
        ),
    ],
)
def test_whom_a_rule_lets_through_is_told_of_each_kind(rule: dict[str, Any], told: str) -> None:
    assert _traffic({"IsEgress": True, **rule}) == told


def test_a_header_that_a_rule_waits_for_is_not_shown() -> None:
    header = {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-Key", "Values": ["secret"]}}
    rule = {"Priority": "3", "Conditions": [header], "Actions": [{"Type": "forward"}]}
    assert _requests(rule) == "priority 3, http-header: forward"

"""Security group and listener rules that were added by hand: AWS has them, the stack's state doesn't."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fleet.state import client

# Not the VPC's default group: its rules are properties of its own, whose changes a refresh finds.
GROUP = "aws:ec2/securityGroup:SecurityGroup"
LISTENER = "aws:lb/listener:Listener"


@dataclass(frozen=True, kw_only=True)
class RecordedResource:
    """A resource of the stack's state that AWS still has."""

    type: str
    name: str
    id: str


@dataclass(frozen=True, kw_only=True)
class AddedRule:
    """A rule that no update created; `owner` is the resource that it was added to."""

    type: str
    owner: str
    id: str
    allows: str


def find(recorded: Iterable[RecordedResource], session: Any) -> list[AddedRule]:
    """Rules of the stack's own groups and listeners that are not recorded themselves."""
    owners: dict[str, dict[str, str]] = {GROUP: {}, LISTENER: {}}
    ids = set[str]()
    for one in recorded:
        ids.add(one.id)
        if one.type in owners:
            owners[one.type][one.id] = one.name
    found = [
        *_of_groups(owners[GROUP], client(session, "ec2")),
        *_of_listeners(owners[LISTENER], client(session, "elbv2")),
    ]
    return sorted((rule for rule in found if rule.id not in ids), key=lambda rule: (rule.owner, rule.allows, rule.id))


def _of_groups(groups: Mapping[str, str], ec2: Any) -> Iterator[AddedRule]:
    if not groups:
        return  # without a group to filter by, AWS would list the whole account's
    pages = ec2.get_paginator("describe_security_group_rules").paginate(
        Filters=[{"Name": "group-id", "Values": sorted(groups)}]
    )
    for page in pages:
        for rule in page["SecurityGroupRules"]:
            yield AddedRule(
                type="security group rule",
                owner=groups[rule["GroupId"]],
                id=rule["SecurityGroupRuleId"],
                allows=_traffic(rule),
            )


def _traffic(rule: Mapping[str, Any]) -> str:
    first, last = rule.get("FromPort", -1), rule.get("ToPort", -1)
    protocol = "all protocols" if rule["IpProtocol"] == "-1" else rule["IpProtocol"]
    ports = "" if first == -1 else f" {first}" if first == last else f" {first} to {last}"
    group = (rule.get("ReferencedGroupInfo") or {}).get("GroupId")
    peer = rule.get("CidrIpv4") or rule.get("CidrIpv6") or rule.get("PrefixListId") or group or "?"
    return f"{protocol}{ports} {'to' if rule['IsEgress'] else 'from'} {peer}"


def _of_listeners(listeners: Mapping[str, str], elbv2: Any) -> Iterator[AddedRule]:
    for arn, name in listeners.items():
        for page in elbv2.get_paginator("describe_rules").paginate(ListenerArn=arn):
            for rule in page["Rules"]:
                if not rule["IsDefault"]:
                    yield AddedRule(type="listener rule", owner=name, id=rule["RuleArn"], allows=_requests(rule))


def _requests(rule: Mapping[str, Any]) -> str:
    # AWS has paths and hosts in Values too, and a header, whose value may be a secret, in its own object only.
    conditions = [" ".join([condition["Field"], *condition.get("Values", ())]) for condition in rule["Conditions"]]
    actions = ", ".join(action["Type"] for action in rule["Actions"])
    return f"priority {rule['Priority']}, {' and '.join(conditions)}: {actions}"

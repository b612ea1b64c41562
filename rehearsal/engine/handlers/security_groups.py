"""Security groups and their rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from .base import Client, Cloud, Created, Handler, Naming, Props, first, looked_up, picked, tag_map, taken
from .ec2 import Ec2Handler, update_tags

_DIRECTIONS = ("ingress", "egress")


def _permission(rule: Props) -> dict[str, Any]:
    """An inline rule as EC2 takes it; Pulumi's "-1" means every protocol, and then ports mean nothing."""
    protocol = str(rule.get("protocol", "-1"))
    note = {"Description": rule["description"]} if rule.get("description") else {}
    found: dict[str, Any] = {"IpProtocol": protocol}
    if protocol != "-1":
        found |= {"FromPort": int(rule["fromPort"]), "ToPort": int(rule["toPort"])}
    found["IpRanges"] = [{"CidrIp": each, **note} for each in rule.get("cidrBlocks") or []]
    found["Ipv6Ranges"] = [{"CidrIpv6": each, **note} for each in rule.get("ipv6CidrBlocks") or []]
    found["PrefixListIds"] = [{"PrefixListId": each, **note} for each in rule.get("prefixListIds") or []]
    groups = [*(rule.get("securityGroups") or []), *(["self"] if rule.get("self") else [])]
    found["UserIdGroupPairs"] = [{"GroupId": each, **note} for each in groups]
    return {key: value for key, value in found.items() if value != []}


def _own(permission: dict[str, Any], id: str) -> dict[str, Any]:
    pairs = permission.get("UserIdGroupPairs", [])
    resolved = [pair | {"GroupId": id if pair["GroupId"] == "self" else pair["GroupId"]} for pair in pairs]
    return permission | ({"UserIdGroupPairs": resolved} if resolved else {})


def _change(ec2: Client, id: str, direction: str, old: Iterable[Props], new: Iterable[Props]) -> None:
    was, now = list(old), list(new)
    for verb, rules in (
        ("revoke", [rule for rule in was if rule not in now]),
        ("authorize", [rule for rule in now if rule not in was]),
    ):
        call = getattr(ec2, f"{verb}_security_group_{direction}")
        for rule in rules:
            call(GroupId=id, IpPermissions=[_own(_permission(rule), id)])


_KEYS = {"ingress": "IpPermissions", "egress": "IpPermissionsEgress"}
_INLINE = {
    "IpRanges": ("CidrIp", "cidrBlocks"),
    "Ipv6Ranges": ("CidrIpv6", "ipv6CidrBlocks"),
    "PrefixListIds": ("PrefixListId", "prefixListIds"),
    "UserIdGroupPairs": ("GroupId", "securityGroups"),
}


def _inline(found: dict[str, Any], inputs: Props) -> Props:
    """Current inline rules: the program's own where they allow the same, for EC2 joins and orders them its own way."""
    current: Props = {}
    for direction, key in _KEYS.items():
        own = [_own(_permission(rule), found["GroupId"]) for rule in inputs.get(direction) or []]
        same = _peers(own) == _peers(found.get(key, []))
        current[direction] = inputs.get(direction) if same else [_rule(each) for each in found.get(key, [])]
    return current


def _peers(permissions: Iterable[dict[str, Any]]) -> set[tuple[Any, ...]]:
    return {
        (each["IpProtocol"], each.get("FromPort"), each.get("ToPort"), peer[name], peer.get("Description") or "")
        for each in permissions
        for group, (name, _) in _INLINE.items()
        for peer in each.get(group, [])
    }


def _rule(permission: dict[str, Any]) -> Props:
    peers = {ours: [peer[name] for peer in permission.get(group, [])] for group, (name, ours) in _INLINE.items()}
    ports = {"fromPort": permission.get("FromPort", 0), "toPort": permission.get("ToPort", 0)}
    return {"protocol": permission["IpProtocol"], **ports, **{key: value for key, value in peers.items() if value}}


class SecurityGroup(Ec2Handler):
    pulumi_type = "aws:ec2/securityGroup:SecurityGroup"
    kind = "security-group"
    describe = ("describe_security_groups", "SecurityGroups", "GroupIds")
    naming = Naming(limit=255)
    defaults: ClassVar = {"description": "Managed by Pulumi"}
    force_new = frozenset({"name", "namePrefix", "description", "vpcId"})
    fields: ClassVar = {"name": "GroupName", "description": "Description", "vpcId": "VpcId"}

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        return _inline(found, inputs)

    def create(self, cloud: Cloud, new: Props) -> Created:
        ec2 = cloud.client("ec2")
        names = {"name": "GroupName", "description": "Description", "vpcId": "VpcId"}
        id = ec2.create_security_group(**picked(new, names), **self.tag_specification(new))["GroupId"]
        # A new group lets everything out; the definition alone says what may.
        for permission in (self.described(cloud, id) or {}).get("IpPermissionsEgress", []):
            ec2.revoke_security_group_egress(GroupId=id, IpPermissions=[permission])
        for direction in _DIRECTIONS:
            _change(ec2, id, direction, [], new.get(direction) or [])
        return Created(id=id)

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        for direction in _DIRECTIONS:
            _change(cloud.client("ec2"), id, direction, old.get(direction) or [], new.get(direction) or [])
        super().update(cloud, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_security_group(GroupId=id)


class DefaultSecurityGroup(Ec2Handler):
    pulumi_type = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
    kind = "security-group"
    describe = ("describe_security_groups", "SecurityGroups", "GroupIds")
    force_new = frozenset({"vpcId"})
    fields: ClassVar = {"vpcId": "VpcId"}

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        return _inline(found, inputs)

    def create(self, cloud: Cloud, new: Props) -> Created:
        """It exists with its VPC: take it over, with the rules of the definition and no others."""
        ec2 = cloud.client("ec2")
        query = [{"Name": "group-name", "Values": ["default"]}, {"Name": "vpc-id", "Values": [new["vpcId"]]}]
        group = ec2.describe_security_groups(Filters=query)["SecurityGroups"][0]
        for direction, key in (("ingress", "IpPermissions"), ("egress", "IpPermissionsEgress")):
            for permission in group[key]:
                getattr(ec2, f"revoke_security_group_{direction}")(GroupId=group["GroupId"], IpPermissions=[permission])
            _change(ec2, group["GroupId"], direction, [], new.get(direction) or [])
        update_tags(ec2, group["GroupId"], {}, new)
        return Created(id=group["GroupId"])

    def outputs(self, cloud: Cloud, found: dict[str, Any]) -> Props:
        return {"ownerId": cloud.account, "name": found["GroupName"], "description": found["Description"]}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        for direction in _DIRECTIONS:
            _change(cloud.client("ec2"), id, direction, old.get(direction) or [], new.get(direction) or [])
        super().update(cloud, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        """It goes with its VPC."""

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        return []


class _Rule(Handler):
    """A rule of its own. EC2 gives it an id, and its peer and ports are changed in place."""

    tagged = True
    direction: ClassVar[str]
    force_new = frozenset({"securityGroupId"})
    _PEERS: ClassVar = {
        "cidrIpv4": ("IpRanges", "CidrIp"),
        "cidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
        "prefixListId": ("PrefixListIds", "PrefixListId"),
        "referencedSecurityGroupId": ("UserIdGroupPairs", "GroupId"),
    }

    _FIELDS: ClassVar = {
        "ipProtocol": "IpProtocol",
        "fromPort": "FromPort",
        "toPort": "ToPort",
        "cidrIpv4": "CidrIpv4",
        "cidrIpv6": "CidrIpv6",
        "prefixListId": "PrefixListId",
        "description": "Description",
    }

    def _permission(self, new: Props) -> dict[str, Any]:
        note = {"Description": new["description"]} if new.get("description") else {}
        found: dict[str, Any] = {"IpProtocol": str(new["ipProtocol"])}
        if found["IpProtocol"] != "-1":
            found |= {"FromPort": int(new["fromPort"]), "ToPort": int(new["toPort"])}
        for ours, (group, name) in self._PEERS.items():
            if new.get(ours):
                found[group] = [{name: new[ours], **note}]
        return found

    def create(self, cloud: Cloud, new: Props) -> Created:
        ec2 = cloud.client("ec2")
        made = getattr(ec2, f"authorize_security_group_{self.direction}")(
            GroupId=new["securityGroupId"], IpPermissions=[self._permission(new)]
        )
        rule = made["SecurityGroupRules"][0]["SecurityGroupRuleId"]
        update_tags(ec2, rule, {}, new)
        return Created(id=rule)

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        if self._described(cloud, id) is None:
            return None
        return {"securityGroupRuleId": id, "arn": cloud.arn("ec2", f"security-group-rule/{id}")}

    def _described(self, cloud: Cloud, id: str) -> dict[str, Any] | None:
        ask = cloud.client("ec2").describe_security_group_rules
        return looked_up(ask, "SecurityGroupRules", SecurityGroupRuleIds=[id])

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = self._described(cloud, id)
        if found is None:
            return None
        peer = (found.get("ReferencedGroupInfo") or {}).get("GroupId")
        current = taken(found, self._FIELDS) | {"referencedSecurityGroupId": peer}
        if peer and not current["description"]:
            del current["description"]  # moto 5.2.5 forgets it where the peer is a group
        return current | {"tagsAll": tag_map(found.get("Tags"))}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        names = self._FIELDS | {"referencedSecurityGroupId": "ReferencedGroupId"}
        if picked(old, names) != picked(new, names):
            rule = {"FromPort": -1, "ToPort": -1, **picked(new, names)}  # -1: all of them
            cloud.client("ec2").modify_security_group_rules(
                GroupId=new["securityGroupId"],
                SecurityGroupRules=[{"SecurityGroupRuleId": id, "SecurityGroupRule": rule}],
            )
        update_tags(cloud.client("ec2"), id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        call = getattr(cloud.client("ec2"), f"revoke_security_group_{self.direction}")
        call(GroupId=state["securityGroupId"], SecurityGroupRuleIds=[id])

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        query = [{"Name": "group-id", "Values": [inputs["securityGroupId"]]}]
        rules = cloud.client("ec2").describe_security_group_rules(Filters=query)["SecurityGroupRules"]
        return [rule["SecurityGroupRuleId"] for rule in rules if self._like(rule, inputs)]

    def _like(self, rule: dict[str, Any], inputs: Props) -> bool:
        peers = {
            "cidrIpv4": rule.get("CidrIpv4"),
            "cidrIpv6": rule.get("CidrIpv6"),
            "prefixListId": rule.get("PrefixListId"),
            "referencedSecurityGroupId": (rule.get("ReferencedGroupInfo") or {}).get("GroupId"),
        }
        peer = first(key for key in peers if inputs.get(key))
        ports = inputs["ipProtocol"] == "-1" or rule.get("FromPort") == inputs.get("fromPort")
        facing = rule.get("IsEgress", False) == (self.direction == "egress")
        return facing and ports and peer is not None and peers[peer] == inputs[peer]


class IngressRule(_Rule):
    pulumi_type = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    direction = "ingress"


class EgressRule(_Rule):
    pulumi_type = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    direction = "egress"

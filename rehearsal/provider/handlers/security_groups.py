"""Security groups and their rules."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import Cloud, Created, Handler, Naming, Props, describe_one, from_answer, rename_keys, tag_map
from .ec2 import Ec2Handler, update_tags

_DIRECTIONS = {"ingress": "IpPermissions", "egress": "IpPermissionsEgress"}


class SecurityGroup(Ec2Handler):
    pulumi_type = "aws:ec2/securityGroup:SecurityGroup"
    kind = "security-group"
    describe = ("describe_security_groups", "SecurityGroups", "GroupIds")
    naming = Naming(limit=255)
    defaults: ClassVar = {"description": "Managed by Pulumi"}
    force_new = frozenset({"name", "description", "vpcId"})
    fields: ClassVar = {"name": "GroupName", "description": "Description", "vpcId": "VpcId"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        ec2 = cloud.client("ec2")
        id = ec2.create_security_group(**rename_keys(new, self.fields), **self.tag_specification(new))["GroupId"]
        return Created(id=id)

    def complete(self, cloud: Cloud, id: str, new: Props) -> None:
        """A new group allows all egress; the provider leaves only what the program allows."""
        for permission in (self.described(cloud, id) or {}).get("IpPermissionsEgress", []):
            cloud.client("ec2").revoke_security_group_egress(GroupId=id, IpPermissions=[permission])

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_security_group(GroupId=id)


class DefaultSecurityGroup(Ec2Handler):
    """A VPC's own group, taken over without any rule: the programs give it none."""

    pulumi_type = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
    kind = "security-group"
    describe = ("describe_security_groups", "SecurityGroups", "GroupIds")
    force_new = frozenset({"vpcId"})
    fields: ClassVar = {"vpcId": "VpcId"}

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        return {direction: [_inline_rule(each) for each in found[key]] for direction, key in _DIRECTIONS.items()}

    def create(self, cloud: Cloud, new: Props) -> Created:
        query = [{"Name": "group-name", "Values": ["default"]}, {"Name": "vpc-id", "Values": [new["vpcId"]]}]
        id = cloud.client("ec2").describe_security_groups(Filters=query)["SecurityGroups"][0]["GroupId"]
        return Created(id=id)

    def complete(self, cloud: Cloud, id: str, new: Props) -> None:
        self.update(cloud, id, {}, new)

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        ec2, found = cloud.client("ec2"), self.described(cloud, id) or {}
        for direction, key in _DIRECTIONS.items():
            for permission in found.get(key, []):
                getattr(ec2, f"revoke_security_group_{direction}")(GroupId=id, IpPermissions=[permission])
        super().update(cloud, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        """It goes with its VPC."""


def _inline_rule(permission: dict[str, Any]) -> Props:
    return {
        "protocol": permission["IpProtocol"],
        "fromPort": permission.get("FromPort", 0),
        "toPort": permission.get("ToPort", 0),
        "cidrBlocks": [each["CidrIp"] for each in permission.get("IpRanges", [])],
        "securityGroups": [each["GroupId"] for each in permission.get("UserIdGroupPairs", [])],
    }


class _Rule(Handler):
    """A rule with an id of its own; its peer and ports are updated in place."""

    tagged = True
    direction: ClassVar[str]
    force_new = frozenset({"securityGroupId"})
    _FIELDS: ClassVar = {
        "ipProtocol": "IpProtocol",
        "fromPort": "FromPort",
        "toPort": "ToPort",
        "cidrIpv4": "CidrIpv4",
        "description": "Description",
    }

    def _permission(self, new: Props) -> dict[str, Any]:
        note = rename_keys(new, {"description": "Description"})
        permission: dict[str, Any] = {"IpProtocol": new["ipProtocol"]}
        if new["ipProtocol"] != "-1":
            permission |= {"FromPort": new["fromPort"], "ToPort": new["toPort"]}
        if cidr := new.get("cidrIpv4"):
            permission["IpRanges"] = [{"CidrIp": cidr, **note}]
        if group := new.get("referencedSecurityGroupId"):
            permission["UserIdGroupPairs"] = [{"GroupId": group, **note}]
        return permission

    def create(self, cloud: Cloud, new: Props) -> Created:
        ec2 = cloud.client("ec2")
        created = getattr(ec2, f"authorize_security_group_{self.direction}")(
            GroupId=new["securityGroupId"], IpPermissions=[self._permission(new)]
        )
        return Created(id=created["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    def complete(self, cloud: Cloud, id: str, new: Props) -> None:
        update_tags(cloud.client("ec2"), id, {}, new)

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        if self._described(cloud, id) is None:
            return None
        return {"securityGroupRuleId": id, "arn": cloud.arn("ec2", f"security-group-rule/{id}")}

    def _described(self, cloud: Cloud, id: str) -> dict[str, Any] | None:
        describe = cloud.client("ec2").describe_security_group_rules
        return describe_one(describe, "SecurityGroupRules", SecurityGroupRuleIds=[id])

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = self._described(cloud, id)
        if found is None:
            return None
        peer = (found.get("ReferencedGroupInfo") or {}).get("GroupId")
        current = from_answer(found, self._FIELDS) | {"referencedSecurityGroupId": peer}
        if peer and not current["description"]:
            del current["description"]  # moto 5.2.5 forgets it where the peer is a group
        return current | {"tags": tag_map(found.get("Tags"))}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        names = self._FIELDS | {"referencedSecurityGroupId": "ReferencedGroupId"}
        if rename_keys(old, names) != rename_keys(new, names):
            rule = {"FromPort": -1, "ToPort": -1, **rename_keys(new, names)}  # -1: all ports
            cloud.client("ec2").modify_security_group_rules(
                GroupId=new["securityGroupId"],
                SecurityGroupRules=[{"SecurityGroupRuleId": id, "SecurityGroupRule": rule}],
            )
        update_tags(cloud.client("ec2"), id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        call = getattr(cloud.client("ec2"), f"revoke_security_group_{self.direction}")
        call(GroupId=state["securityGroupId"], SecurityGroupRuleIds=[id])


class IngressRule(_Rule):
    pulumi_type = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    direction = "ingress"


class EgressRule(_Rule):
    pulumi_type = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    direction = "egress"

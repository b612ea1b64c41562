"""Security groups and their rules."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import AwsClients, Created, Handler, Naming, Props, describe_one, from_response, rename_keys, tag_map
from .ec2 import Ec2Handler, update_tags

_DIRECTIONS = {"ingress": "IpPermissions", "egress": "IpPermissionsEgress"}


class SecurityGroupHandler(Ec2Handler):
    pulumi_type = "aws:ec2/securityGroup:SecurityGroup"
    kind = "security-group"
    describe_call = ("describe_security_groups", "SecurityGroups", "GroupIds")
    naming = Naming(max_length=255)
    defaults: ClassVar = {"description": "Managed by Pulumi"}
    force_new = frozenset({"name", "description", "vpcId"})
    fields: ClassVar = {"name": "GroupName", "description": "Description", "vpcId": "VpcId"}

    def create(self, aws: AwsClients, new: Props) -> Created:
        ec2 = aws.client("ec2")
        id = ec2.create_security_group(**rename_keys(new, self.fields), **self.tag_specification(new))["GroupId"]
        return Created(id=id)

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        """A new group allows all egress, which the provider revokes."""
        for permission in (self.describe(aws, id) or {}).get("IpPermissionsEgress", []):
            aws.client("ec2").revoke_security_group_egress(GroupId=id, IpPermissions=[permission])

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ec2").delete_security_group(GroupId=id)


class DefaultSecurityGroupHandler(Ec2Handler):
    """A VPC's default group, whose rules are removed: the programs declare none."""

    pulumi_type = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
    kind = "security-group"
    describe_call = ("describe_security_groups", "SecurityGroups", "GroupIds")
    force_new = frozenset({"vpcId"})
    fields: ClassVar = {"vpcId": "VpcId"}

    def extra_inputs(self, aws: AwsClients, actual: dict[str, Any], inputs: Props) -> Props:
        return {
            direction: [_inline_rule(permission) for permission in actual[key]]
            for direction, key in _DIRECTIONS.items()
        }

    def create(self, aws: AwsClients, new: Props) -> Created:
        query = [{"Name": "group-name", "Values": ["default"]}, {"Name": "vpc-id", "Values": [new["vpcId"]]}]
        id = aws.client("ec2").describe_security_groups(Filters=query)["SecurityGroups"][0]["GroupId"]
        return Created(id=id)

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        self.update(aws, id, {}, new)

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        ec2, actual = aws.client("ec2"), self.describe(aws, id) or {}
        for direction, key in _DIRECTIONS.items():
            for permission in actual.get(key, []):
                getattr(ec2, f"revoke_security_group_{direction}")(GroupId=id, IpPermissions=[permission])
        super().update(aws, id, old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        """It is deleted with its VPC."""


def _inline_rule(permission: dict[str, Any]) -> Props:
    return {
        "protocol": permission["IpProtocol"],
        "fromPort": permission.get("FromPort", 0),
        "toPort": permission.get("ToPort", 0),
        "cidrBlocks": [ip_range["CidrIp"] for ip_range in permission.get("IpRanges", [])],
        "securityGroups": [pair["GroupId"] for pair in permission.get("UserIdGroupPairs", [])],
    }


class _Rule(Handler):
    """A security group rule; its source or destination and its ports are updated in place."""

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

    def create(self, aws: AwsClients, new: Props) -> Created:
        ec2 = aws.client("ec2")
        created = getattr(ec2, f"authorize_security_group_{self.direction}")(
            GroupId=new["securityGroupId"], IpPermissions=[self._permission(new)]
        )
        return Created(id=created["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        update_tags(aws.client("ec2"), id, {}, new)

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        if self._describe(aws, id) is None:
            return None
        return {"securityGroupRuleId": id, "arn": aws.arn("ec2", f"security-group-rule/{id}")}

    def _describe(self, aws: AwsClients, id: str) -> dict[str, Any] | None:
        describe = aws.client("ec2").describe_security_group_rules
        return describe_one(describe, "SecurityGroupRules", SecurityGroupRuleIds=[id])

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = self._describe(aws, id)
        if actual is None:
            return None
        peer = (actual.get("ReferencedGroupInfo") or {}).get("GroupId")
        current = from_response(actual, self._FIELDS) | {"referencedSecurityGroupId": peer}
        if peer and not current["description"]:
            del current["description"]  # moto 5.2.5 doesn't store it for a referenced group
        return current | {"tags": tag_map(actual.get("Tags"))}

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        names = self._FIELDS | {"referencedSecurityGroupId": "ReferencedGroupId"}
        if rename_keys(old, names) != rename_keys(new, names):
            rule = {"FromPort": -1, "ToPort": -1, **rename_keys(new, names)}  # -1: all ports
            aws.client("ec2").modify_security_group_rules(
                GroupId=new["securityGroupId"],
                SecurityGroupRules=[{"SecurityGroupRuleId": id, "SecurityGroupRule": rule}],
            )
        update_tags(aws.client("ec2"), id, old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        call = getattr(aws.client("ec2"), f"revoke_security_group_{self.direction}")
        call(GroupId=state["securityGroupId"], SecurityGroupRuleIds=[id])


class IngressRuleHandler(_Rule):
    pulumi_type = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    direction = "ingress"


class EgressRuleHandler(_Rule):
    pulumi_type = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    direction = "egress"

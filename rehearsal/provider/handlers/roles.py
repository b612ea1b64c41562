"""IAM roles, their policies and instance profiles."""

from __future__ import annotations

import json

from .base import (
    AwsClients,
    Created,
    Handler,
    Naming,
    Props,
    differs,
    first,
    rename_keys,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
)


class RoleHandler(Handler):
    pulumi_type = "aws:iam/role:Role"
    naming = Naming(max_length=64)
    tagged = True
    force_new = frozenset({"name", "path"})

    def create(self, aws: AwsClients, new: Props) -> Created:
        names = {
            "name": "RoleName",
            "path": "Path",
            "assumeRolePolicy": "AssumeRolePolicyDocument",
            "permissionsBoundary": "PermissionsBoundary",
        }
        aws.client("iam").create_role(**rename_keys(new, names), Tags=tag_list(tags_of(new)))
        return Created(id=new["name"])

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        role = aws.client("iam").get_role(RoleName=id)["Role"]
        return {"arn": role["Arn"]}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        role = aws.client("iam").get_role(RoleName=id)["Role"]
        return {
            "assumeRolePolicy": json.dumps(role["AssumeRolePolicyDocument"]),
            "path": role["Path"],
            "permissionsBoundary": (role.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn"),
            "tags": tag_map(role.get("Tags")),
        }

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        iam = aws.client("iam")
        if differs(old, new, "assumeRolePolicy"):
            iam.update_assume_role_policy(RoleName=id, PolicyDocument=new["assumeRolePolicy"])
        if differs(old, new, "permissionsBoundary"):
            self._set_boundary(aws, id, new.get("permissionsBoundary"))
        removed, updated = tag_changes(old, new)
        if removed:
            iam.untag_role(RoleName=id, TagKeys=removed)
        if updated:
            iam.tag_role(RoleName=id, Tags=tag_list(updated))

    def _set_boundary(self, aws: AwsClients, id: str, boundary: str | None) -> None:
        if boundary:
            aws.client("iam").put_role_permissions_boundary(RoleName=id, PermissionsBoundary=boundary)
        else:
            aws.client("iam").delete_role_permissions_boundary(RoleName=id)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("iam").delete_role(RoleName=id)


class RolePolicyHandler(Handler):
    pulumi_type = "aws:iam/rolePolicy:RolePolicy"
    naming = Naming(max_length=128)
    force_new = frozenset({"name", "role"})

    def create(self, aws: AwsClients, new: Props) -> Created:
        self._put(aws, new)
        return Created(id=f"{new['role']}:{new['name']}")

    def _put(self, aws: AwsClients, new: Props) -> None:
        aws.client("iam").put_role_policy(RoleName=new["role"], PolicyName=new["name"], PolicyDocument=new["policy"])

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        aws.client("iam").get_role_policy(RoleName=inputs["role"], PolicyName=inputs["name"])
        return {}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = aws.client("iam").get_role_policy(RoleName=inputs["role"], PolicyName=inputs["name"])
        return {"policy": json.dumps(actual["PolicyDocument"])}

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        self._put(aws, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("iam").delete_role_policy(RoleName=state["role"], PolicyName=state["name"])


class InstanceProfileHandler(Handler):
    pulumi_type = "aws:iam/instanceProfile:InstanceProfile"
    naming = Naming(max_length=128)
    tagged = True
    force_new = frozenset({"name", "path"})

    def create(self, aws: AwsClients, new: Props) -> Created:
        iam = aws.client("iam")
        names = {"name": "InstanceProfileName", "path": "Path"}
        iam.create_instance_profile(**rename_keys(new, names), Tags=tag_list(tags_of(new)))
        return Created(id=new["name"])

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        if new.get("role"):
            aws.client("iam").add_role_to_instance_profile(InstanceProfileName=id, RoleName=new["role"])

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = aws.client("iam").get_instance_profile(InstanceProfileName=id)["InstanceProfile"]
        return {"arn": actual["Arn"]}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = aws.client("iam").get_instance_profile(InstanceProfileName=id)["InstanceProfile"]
        role = first(profile_role["RoleName"] for profile_role in actual["Roles"])
        return {"role": role, "path": actual["Path"], "tags": tag_map(actual.get("Tags"))}

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        iam = aws.client("iam")
        if differs(old, new, "role"):
            if old.get("role"):
                iam.remove_role_from_instance_profile(InstanceProfileName=id, RoleName=old["role"])
            if new.get("role"):
                iam.add_role_to_instance_profile(InstanceProfileName=id, RoleName=new["role"])
        removed, updated = tag_changes(old, new)
        if removed:
            iam.untag_instance_profile(InstanceProfileName=id, TagKeys=removed)
        if updated:
            iam.tag_instance_profile(InstanceProfileName=id, Tags=tag_list(updated))

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        iam = aws.client("iam")
        for role in iam.get_instance_profile(InstanceProfileName=id)["InstanceProfile"]["Roles"]:
            iam.remove_role_from_instance_profile(InstanceProfileName=id, RoleName=role["RoleName"])
        iam.delete_instance_profile(InstanceProfileName=id)

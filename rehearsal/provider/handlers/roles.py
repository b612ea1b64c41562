"""IAM roles, their policies and instance profiles."""

from __future__ import annotations

import json

from .base import (
    Cloud,
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


class Role(Handler):
    pulumi_type = "aws:iam/role:Role"
    naming = Naming(limit=64)
    tagged = True
    force_new = frozenset({"name", "path"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        names = {
            "name": "RoleName",
            "path": "Path",
            "assumeRolePolicy": "AssumeRolePolicyDocument",
            "permissionsBoundary": "PermissionsBoundary",
        }
        cloud.client("iam").create_role(**rename_keys(new, names), Tags=tag_list(tags_of(new)))
        return Created(id=new["name"])

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        role = cloud.client("iam").get_role(RoleName=id)["Role"]
        return {"arn": role["Arn"]}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        role = cloud.client("iam").get_role(RoleName=id)["Role"]
        return {
            "assumeRolePolicy": json.dumps(role["AssumeRolePolicyDocument"]),
            "path": role["Path"],
            "permissionsBoundary": (role.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn"),
            "tags": tag_map(role.get("Tags")),
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        iam = cloud.client("iam")
        if differs(old, new, "assumeRolePolicy"):
            iam.update_assume_role_policy(RoleName=id, PolicyDocument=new["assumeRolePolicy"])
        if differs(old, new, "permissionsBoundary"):
            self._set_boundary(cloud, id, new.get("permissionsBoundary"))
        gone, present = tag_changes(old, new)
        if gone:
            iam.untag_role(RoleName=id, TagKeys=gone)
        if present:
            iam.tag_role(RoleName=id, Tags=tag_list(present))

    def _set_boundary(self, cloud: Cloud, id: str, boundary: str | None) -> None:
        if boundary:
            cloud.client("iam").put_role_permissions_boundary(RoleName=id, PermissionsBoundary=boundary)
        else:
            cloud.client("iam").delete_role_permissions_boundary(RoleName=id)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("iam").delete_role(RoleName=id)


class RolePolicy(Handler):
    pulumi_type = "aws:iam/rolePolicy:RolePolicy"
    naming = Naming(limit=128)
    force_new = frozenset({"name", "role"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        self._put(cloud, new)
        return Created(id=f"{new['role']}:{new['name']}")

    def _put(self, cloud: Cloud, new: Props) -> None:
        cloud.client("iam").put_role_policy(RoleName=new["role"], PolicyName=new["name"], PolicyDocument=new["policy"])

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        cloud.client("iam").get_role_policy(RoleName=inputs["role"], PolicyName=inputs["name"])
        return {}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = cloud.client("iam").get_role_policy(RoleName=inputs["role"], PolicyName=inputs["name"])
        return {"policy": json.dumps(found["PolicyDocument"])}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._put(cloud, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("iam").delete_role_policy(RoleName=state["role"], PolicyName=state["name"])


class InstanceProfile(Handler):
    pulumi_type = "aws:iam/instanceProfile:InstanceProfile"
    naming = Naming(limit=128)
    tagged = True
    force_new = frozenset({"name", "path"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        iam = cloud.client("iam")
        names = {"name": "InstanceProfileName", "path": "Path"}
        iam.create_instance_profile(**rename_keys(new, names), Tags=tag_list(tags_of(new)))
        return Created(id=new["name"])

    def complete(self, cloud: Cloud, id: str, new: Props) -> None:
        if new.get("role"):
            cloud.client("iam").add_role_to_instance_profile(InstanceProfileName=id, RoleName=new["role"])

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = cloud.client("iam").get_instance_profile(InstanceProfileName=id)["InstanceProfile"]
        return {"arn": found["Arn"]}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = cloud.client("iam").get_instance_profile(InstanceProfileName=id)["InstanceProfile"]
        role = first(each["RoleName"] for each in found["Roles"])
        return {"role": role, "path": found["Path"], "tags": tag_map(found.get("Tags"))}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        iam = cloud.client("iam")
        if differs(old, new, "role"):
            if old.get("role"):
                iam.remove_role_from_instance_profile(InstanceProfileName=id, RoleName=old["role"])
            if new.get("role"):
                iam.add_role_to_instance_profile(InstanceProfileName=id, RoleName=new["role"])
        gone, present = tag_changes(old, new)
        if gone:
            iam.untag_instance_profile(InstanceProfileName=id, TagKeys=gone)
        if present:
            iam.tag_instance_profile(InstanceProfileName=id, Tags=tag_list(present))

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        iam = cloud.client("iam")
        for role in iam.get_instance_profile(InstanceProfileName=id)["InstanceProfile"]["Roles"]:
            iam.remove_role_from_instance_profile(InstanceProfileName=id, RoleName=role["RoleName"])
        iam.delete_instance_profile(InstanceProfileName=id)

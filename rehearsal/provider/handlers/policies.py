"""IAM managed policies."""

from __future__ import annotations

import json
from typing import Any

from .base import (
    Cloud,
    Created,
    Handler,
    Naming,
    Props,
    differs,
    rename_keys,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
)

MAX_VERSIONS = 5  # of one policy, in IAM


class Policy(Handler):
    pulumi_type = "aws:iam/policy:Policy"
    naming = Naming(limit=128)
    tagged = True
    force_new = frozenset({"name", "path"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        names = {"name": "PolicyName", "path": "Path", "policy": "PolicyDocument"}
        created = cloud.client("iam").create_policy(**rename_keys(new, names), Tags=tag_list(tags_of(new)))["Policy"]
        return Created(id=created["Arn"])

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = cloud.client("iam").get_policy(PolicyArn=id)["Policy"]
        return {"arn": found["Arn"]}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        iam = cloud.client("iam")
        found = iam.get_policy(PolicyArn=id)["Policy"]
        version = iam.get_policy_version(PolicyArn=id, VersionId=found["DefaultVersionId"])["PolicyVersion"]
        return {
            "policy": json.dumps(version["Document"]),
            "tags": tag_map(iam.list_policy_tags(PolicyArn=id)["Tags"]),
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        iam = cloud.client("iam")
        if differs(old, new, "policy"):
            self._make_room(cloud, id)
            iam.create_policy_version(PolicyArn=id, PolicyDocument=new["policy"], SetAsDefault=True)
        gone, present = tag_changes(old, new)
        if gone:
            iam.untag_policy(PolicyArn=id, TagKeys=gone)
        if present:
            iam.tag_policy(PolicyArn=id, Tags=tag_list(present))

    def _make_room(self, cloud: Cloud, id: str) -> None:
        versions = _old_versions(cloud, id)
        if len(versions) >= MAX_VERSIONS - 1:
            cloud.client("iam").delete_policy_version(PolicyArn=id, VersionId=versions[0]["VersionId"])

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        iam = cloud.client("iam")
        for version in _old_versions(cloud, id):
            iam.delete_policy_version(PolicyArn=id, VersionId=version["VersionId"])
        iam.delete_policy(PolicyArn=id)


def _old_versions(cloud: Cloud, arn: str) -> list[dict[str, Any]]:
    """All but the default version, the oldest first."""
    versions = cloud.client("iam").list_policy_versions(PolicyArn=arn)["Versions"]
    replaced = [each for each in versions if not each["IsDefaultVersion"]]
    return sorted(replaced, key=lambda each: int(each["VersionId"].removeprefix("v")))

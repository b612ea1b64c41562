"""IAM managed policies."""

from __future__ import annotations

import json
from typing import Any

from .base import (
    AwsClients,
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

MAX_VERSIONS = 5  # per policy, IAM's limit


class ManagedPolicyHandler(Handler):
    pulumi_type = "aws:iam/policy:Policy"
    naming = Naming(max_length=128)
    tagged = True
    force_new = frozenset({"name", "path"})

    def create(self, aws: AwsClients, new: Props) -> Created:
        names = {"name": "PolicyName", "path": "Path", "policy": "PolicyDocument"}
        created = aws.client("iam").create_policy(**rename_keys(new, names), Tags=tag_list(tags_of(new)))["Policy"]
        return Created(id=created["Arn"])

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = aws.client("iam").get_policy(PolicyArn=id)["Policy"]
        return {"arn": actual["Arn"]}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        iam = aws.client("iam")
        actual = iam.get_policy(PolicyArn=id)["Policy"]
        version = iam.get_policy_version(PolicyArn=id, VersionId=actual["DefaultVersionId"])["PolicyVersion"]
        return {
            "policy": json.dumps(version["Document"]),
            "tags": tag_map(iam.list_policy_tags(PolicyArn=id)["Tags"]),
        }

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        iam = aws.client("iam")
        if differs(old, new, "policy"):
            self._delete_oldest_version(aws, id)
            iam.create_policy_version(PolicyArn=id, PolicyDocument=new["policy"], SetAsDefault=True)
        removed, updated = tag_changes(old, new)
        if removed:
            iam.untag_policy(PolicyArn=id, TagKeys=removed)
        if updated:
            iam.tag_policy(PolicyArn=id, Tags=tag_list(updated))

    def _delete_oldest_version(self, aws: AwsClients, id: str) -> None:
        versions = _old_versions(aws, id)
        if len(versions) >= MAX_VERSIONS - 1:
            aws.client("iam").delete_policy_version(PolicyArn=id, VersionId=versions[0]["VersionId"])

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        iam = aws.client("iam")
        for version in _old_versions(aws, id):
            iam.delete_policy_version(PolicyArn=id, VersionId=version["VersionId"])
        iam.delete_policy(PolicyArn=id)


def _old_versions(aws: AwsClients, arn: str) -> list[dict[str, Any]]:
    """All but the default version, the oldest first."""
    versions = aws.client("iam").list_policy_versions(PolicyArn=arn)["Versions"]
    replaced = [version for version in versions if not version["IsDefaultVersion"]]
    return sorted(replaced, key=lambda version: int(version["VersionId"].removeprefix("v")))

"""KMS keys and their aliases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .base import Cloud, Created, Handler, Naming, Props, differs, given, tag_changes, tags_of

LEAST_WAIT_DAYS, USUAL_WAIT_DAYS = 7, 30  # between the order to delete a key and its end


class Key(Handler):
    pulumi_type = "aws:kms/key:Key"
    tagged = True
    force_new = frozenset({"keyUsage", "customerMasterKeySpec", "multiRegion"})

    def check(self, inputs: Props) -> None:
        days = inputs.get("deletionWindowInDays", USUAL_WAIT_DAYS)
        if not LEAST_WAIT_DAYS <= int(days) <= USUAL_WAIT_DAYS:
            raise ValueError(
                f"deletionWindowInDays: {days}: allowed are {LEAST_WAIT_DAYS} to {USUAL_WAIT_DAYS}, as KMS has it"
            )

    def create(self, cloud: Cloud, new: Props) -> Created:
        made = cloud.client("kms").create_key(
            **given(
                Policy=new.get("policy"),
                Description=new.get("description"),
                KeyUsage=new.get("keyUsage"),
                KeySpec=new.get("customerMasterKeySpec"),
                MultiRegion=new.get("multiRegion"),
            ),
            Tags=_tag_list(tags_of(new)),
        )["KeyMetadata"]
        if new.get("enableKeyRotation"):
            self._rotate(cloud, made["KeyId"], new)
        return Created(id=made["KeyId"])

    def _rotate(self, cloud: Cloud, id: str, new: Props) -> None:
        kms = cloud.client("kms")
        if new.get("enableKeyRotation"):
            kms.enable_key_rotation(KeyId=id, **given(RotationPeriodInDays=new.get("rotationPeriodInDays")))
        else:
            kms.disable_key_rotation(KeyId=id)

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = cloud.client("kms").describe_key(KeyId=id)["KeyMetadata"]
        if found["KeyState"] == "PendingDeletion":
            return None
        return {"arn": found["Arn"], "keyId": found["KeyId"]}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        kms = cloud.client("kms")
        tags = kms.list_resource_tags(KeyId=id)["Tags"]
        return {
            "description": kms.describe_key(KeyId=id)["KeyMetadata"].get("Description"),
            "policy": kms.get_key_policy(KeyId=id, PolicyName="default")["Policy"],
            "enableKeyRotation": kms.get_key_rotation_status(KeyId=id)["KeyRotationEnabled"],
            "tagsAll": {tag["TagKey"]: tag["TagValue"] for tag in tags},
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        kms = cloud.client("kms")
        if differs(old, new, "description"):
            kms.update_key_description(KeyId=id, Description=new.get("description") or "")
        if differs(old, new, "policy"):
            kms.put_key_policy(KeyId=id, PolicyName="default", Policy=new["policy"])
        if differs(old, new, "enableKeyRotation", "rotationPeriodInDays"):
            self._rotate(cloud, id, new)
        gone, present = tag_changes(old, new)
        if gone:
            kms.untag_resource(KeyId=id, TagKeys=gone)
        if present:
            kms.tag_resource(KeyId=id, Tags=_tag_list(present))

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        days = int(state.get("deletionWindowInDays") or USUAL_WAIT_DAYS)
        cloud.client("kms").schedule_key_deletion(KeyId=id, PendingWindowInDays=days)

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        """A key has no name: what it is for and its tags tell it. Without either, nothing does."""
        if not inputs.get("description") or not tags_of(inputs):
            return []
        kms = cloud.client("kms")
        return [key["KeyId"] for key in _usable_keys(kms) if _bears(kms, key, inputs)]


def _usable_keys(kms: Any) -> Iterator[dict[str, Any]]:
    for page in kms.get_paginator("list_keys").paginate():
        for each in page["Keys"]:
            found: dict[str, Any] = kms.describe_key(KeyId=each["KeyId"])["KeyMetadata"]
            if found["KeyState"] == "Enabled" and found.get("KeyManager") != "AWS":
                yield found


def _bears(kms: Any, key: dict[str, Any], inputs: Props) -> bool:
    if key.get("Description") != inputs["description"]:
        return False
    tags = kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]
    return {tag["TagKey"]: tag["TagValue"] for tag in tags} == tags_of(inputs)


def _tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"TagKey": key, "TagValue": value} for key, value in tags.items()]


class Alias(Handler):
    pulumi_type = "aws:kms/alias:Alias"
    naming = Naming(limit=256)
    force_new = frozenset({"name", "namePrefix"})

    def check(self, inputs: Props) -> None:
        if not str(inputs["name"]).startswith("alias/"):
            raise ValueError(f"name: {inputs['name']}: allowed is a name that begins with alias/")

    def create(self, cloud: Cloud, new: Props) -> Created:
        cloud.client("kms").create_alias(AliasName=new["name"], TargetKeyId=new["targetKeyId"])
        return Created(id=new["name"])

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        return [inputs["name"]] if self.stands(cloud, inputs["name"], inputs) else []

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        key = cloud.client("kms").describe_key(KeyId=id)["KeyMetadata"]
        return {"arn": cloud.arn("kms", id), "targetKeyArn": key["Arn"]}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        key = cloud.client("kms").describe_key(KeyId=id)["KeyMetadata"]
        given = str(inputs["targetKeyId"])
        return {"targetKeyId": given if given in (key["KeyId"], key["Arn"]) else key["KeyId"]}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        cloud.client("kms").update_alias(AliasName=id, TargetKeyId=new["targetKeyId"])

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("kms").delete_alias(AliasName=id)

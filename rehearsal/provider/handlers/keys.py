"""KMS keys and their aliases."""

from __future__ import annotations

from .base import AwsClients, Created, Handler, Naming, Props, differs, rename_keys, tag_changes, tags_of

MIN_WAIT_DAYS, MAX_WAIT_DAYS = 7, 30  # before KMS deletes a key; the maximum by default


class KmsKeyHandler(Handler):
    pulumi_type = "aws:kms/key:Key"
    tagged = True

    def check(self, inputs: Props) -> None:
        days = inputs.get("deletionWindowInDays", MAX_WAIT_DAYS)
        if not MIN_WAIT_DAYS <= int(days) <= MAX_WAIT_DAYS:
            raise ValueError(
                f"deletionWindowInDays: {days}: allowed are {MIN_WAIT_DAYS} to {MAX_WAIT_DAYS}, as KMS has it"
            )

    def create(self, aws: AwsClients, new: Props) -> Created:
        arguments = rename_keys(new, {"policy": "Policy", "description": "Description"})
        created = aws.client("kms").create_key(**arguments, Tags=_tag_list(tags_of(new)))["KeyMetadata"]
        return Created(id=created["KeyId"])

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        if new.get("enableKeyRotation"):
            self._rotate(aws, id, new)

    def _rotate(self, aws: AwsClients, id: str, new: Props) -> None:
        kms = aws.client("kms")
        if new.get("enableKeyRotation"):
            kms.enable_key_rotation(KeyId=id)
        else:
            kms.disable_key_rotation(KeyId=id)

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = aws.client("kms").describe_key(KeyId=id)["KeyMetadata"]
        if actual["KeyState"] == "PendingDeletion":
            return None
        return {"arn": actual["Arn"], "keyId": actual["KeyId"]}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        kms = aws.client("kms")
        tags = kms.list_resource_tags(KeyId=id)["Tags"]
        return {
            "description": kms.describe_key(KeyId=id)["KeyMetadata"].get("Description"),
            "policy": kms.get_key_policy(KeyId=id, PolicyName="default")["Policy"],
            "enableKeyRotation": kms.get_key_rotation_status(KeyId=id)["KeyRotationEnabled"],
            "tags": {tag["TagKey"]: tag["TagValue"] for tag in tags},
        }

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        kms = aws.client("kms")
        if differs(old, new, "description"):
            kms.update_key_description(KeyId=id, Description=new.get("description") or "")
        if differs(old, new, "policy"):
            kms.put_key_policy(KeyId=id, PolicyName="default", Policy=new["policy"])
        if differs(old, new, "enableKeyRotation"):
            self._rotate(aws, id, new)
        removed, updated = tag_changes(old, new)
        if removed:
            kms.untag_resource(KeyId=id, TagKeys=removed)
        if updated:
            kms.tag_resource(KeyId=id, Tags=_tag_list(updated))

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        days = int(state.get("deletionWindowInDays") or MAX_WAIT_DAYS)
        aws.client("kms").schedule_key_deletion(KeyId=id, PendingWindowInDays=days)


def _tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"TagKey": key, "TagValue": value} for key, value in tags.items()]


class KmsAliasHandler(Handler):
    pulumi_type = "aws:kms/alias:Alias"
    naming = Naming(max_length=256)
    force_new = frozenset({"name"})

    def check(self, inputs: Props) -> None:
        if not str(inputs["name"]).startswith("alias/"):
            raise ValueError(f"name: {inputs['name']}: allowed is a name that begins with alias/")

    def create(self, aws: AwsClients, new: Props) -> Created:
        aws.client("kms").create_alias(AliasName=new["name"], TargetKeyId=new["targetKeyId"])
        return Created(id=new["name"])

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        aws.client("kms").describe_key(KeyId=id)
        return {"arn": aws.arn("kms", id)}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        key = aws.client("kms").describe_key(KeyId=id)["KeyMetadata"]
        target = str(inputs["targetKeyId"])
        return {"targetKeyId": target if target in (key["KeyId"], key["Arn"]) else key["KeyId"]}

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        aws.client("kms").update_alias(AliasName=id, TargetKeyId=new["targetKeyId"])

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("kms").delete_alias(AliasName=id)

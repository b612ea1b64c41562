"""S3 buckets and their settings."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import (
    AwsClients,
    Created,
    Handler,
    Naming,
    Props,
    from_response,
    is_not_found,
    rename_keys,
    tag_list,
    tag_map,
    tags_of,
    to_aws_keys,
    to_pulumi_keys,
)


class BucketHandler(Handler):
    pulumi_type = "aws:s3/bucket:Bucket"
    naming = Naming(key="bucket", prefix_key="bucketPrefix", max_length=63, lower=True)
    tagged = True
    force_new = frozenset({"bucket", "bucketPrefix"})

    def create(self, aws: AwsClients, new: Props) -> Created:
        s3, name = aws.client("s3"), new["bucket"]
        location = {"CreateBucketConfiguration": {"LocationConstraint": aws.region}}
        s3.create_bucket(Bucket=name, **({} if aws.region == "us-east-1" else location))
        return Created(id=name)

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        if tags_of(new):
            self._tags(aws, id, new)

    def _tags(self, aws: AwsClients, name: str, new: Props) -> None:
        if tags := tags_of(new):
            aws.client("s3").put_bucket_tagging(Bucket=name, Tagging={"TagSet": tag_list(tags)})
        else:
            aws.client("s3").delete_bucket_tagging(Bucket=name)

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        aws.client("s3").head_bucket(Bucket=id)
        return {"arn": f"arn:{aws.partition}:s3:::{id}"}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        return {"tags": self._current_tags(aws, id)}

    def _current_tags(self, aws: AwsClients, id: str) -> dict[str, str]:
        """S3 returns an error for a bucket without tags."""
        try:
            return tag_map(aws.client("s3").get_bucket_tagging(Bucket=id)["TagSet"])
        except Exception as error:
            if is_not_found(error):
                return {}
            raise

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        if tags_of(old) != tags_of(new):
            self._tags(aws, id, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        if state.get("forceDestroy"):
            self._empty(aws, id)
        aws.client("s3").delete_bucket(Bucket=id)

    def _empty(self, aws: AwsClients, id: str) -> None:
        """Delete all versions and delete markers, whatever the lifecycle rules are."""
        s3 = aws.client("s3")
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=id):
            actual = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            objects = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in actual]
            if objects:
                s3.delete_objects(Bucket=id, Delete={"Objects": objects, "Quiet": True})


class _BucketSetting(Handler):
    """A setting of a bucket, which one call replaces."""

    force_new = frozenset({"bucket"})
    # A bucket has only one of each kind.
    delete_before_replace = True
    # Name of the calls without the verb, and the argument for the setting.
    call: ClassVar[str]
    argument: ClassVar[str]
    delete_call: ClassVar[str] = ""

    def body(self, new: Props) -> Any:
        raise NotImplementedError

    def setting(self, actual: Any) -> Props | None:
        """The inputs from S3's response; None where the response means that there is no setting."""
        raise NotImplementedError

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        response = getattr(aws.client("s3"), f"get_{self.call}")(Bucket=inputs["bucket"])
        return self.setting(response.get(self.argument, response))

    def create(self, aws: AwsClients, new: Props) -> Created:
        self._put(aws, new)
        return Created(id=new["bucket"])

    def _put(self, aws: AwsClients, new: Props) -> None:
        getattr(aws.client("s3"), f"put_{self.call}")(Bucket=new["bucket"], **{self.argument: self.body(new)})

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        self._put(aws, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        getattr(aws.client("s3"), self.delete_call or f"delete_{self.call}")(Bucket=state["bucket"])


class BucketVersioningHandler(_BucketSetting):
    pulumi_type = "aws:s3/bucketVersioning:BucketVersioning"
    call, argument = "bucket_versioning", "VersioningConfiguration"

    def body(self, new: Props) -> Any:
        return to_aws_keys(new["versioningConfiguration"])

    def setting(self, actual: Any) -> Props | None:
        return {"versioningConfiguration": {"status": actual.get("Status", "Disabled")}}

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        off = {"Status": "Suspended"}
        aws.client("s3").put_bucket_versioning(Bucket=state["bucket"], VersioningConfiguration=off)


class BucketServerSideEncryptionConfigurationHandler(_BucketSetting):
    pulumi_type = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    call, argument = "bucket_encryption", "ServerSideEncryptionConfiguration"
    _NAMES: ClassVar = {"sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"}

    def body(self, new: Props) -> Any:
        return {"Rules": [self._rule(rule) for rule in new["rules"]]}

    def setting(self, actual: Any) -> Props | None:
        return {"rules": [self._current(rule) for rule in actual["Rules"]]}

    def _current(self, rule: dict[str, Any]) -> Props:
        default = from_response(rule.get("ApplyServerSideEncryptionByDefault") or {}, self._NAMES)
        return {"applyServerSideEncryptionByDefault": default, "bucketKeyEnabled": rule.get("BucketKeyEnabled")}

    def _rule(self, rule: Props) -> dict[str, Any]:
        default = rename_keys(rule.get("applyServerSideEncryptionByDefault") or {}, self._NAMES)
        enabled = rename_keys(rule, {"bucketKeyEnabled": "BucketKeyEnabled"})
        return enabled | ({"ApplyServerSideEncryptionByDefault": default} if default else {})


class BucketPublicAccessBlockHandler(_BucketSetting):
    pulumi_type = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    call, argument = "public_access_block", "PublicAccessBlockConfiguration"

    def body(self, new: Props) -> Any:
        keys = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
        return {f"{key[0].upper()}{key[1:]}": bool(new.get(key)) for key in keys}

    def setting(self, actual: Any) -> Props | None:
        return dict(to_pulumi_keys(actual))


class BucketOwnershipControlsHandler(_BucketSetting):
    pulumi_type = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
    call, argument = "bucket_ownership_controls", "OwnershipControls"

    def body(self, new: Props) -> Any:
        return {"Rules": [to_aws_keys(new["rule"])]}

    def setting(self, actual: Any) -> Props | None:
        return {"rule": to_pulumi_keys(actual["Rules"][0])}


class BucketPolicyHandler(_BucketSetting):
    pulumi_type = "aws:s3/bucketPolicy:BucketPolicy"
    call, argument = "bucket_policy", "Policy"

    def body(self, new: Props) -> Any:
        return new["policy"]

    def setting(self, actual: Any) -> Props | None:
        return {"policy": actual}


class BucketLifecycleConfigurationHandler(_BucketSetting):
    pulumi_type = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    call, argument = "bucket_lifecycle_configuration", "LifecycleConfiguration"
    delete_call = "delete_bucket_lifecycle"

    def body(self, new: Props) -> Any:
        return {"Rules": [self._rule(rule) for rule in new["rules"]]}

    def setting(self, actual: Any) -> Props | None:
        return {"rules": [to_pulumi_keys(rule) | {"id": rule.get("ID")} for rule in actual["Rules"]]}

    def _rule(self, rule: Props) -> dict[str, Any]:
        request: dict[str, Any] = to_aws_keys({"filter": {"prefix": ""}} | rule)
        return request | {"ID": request.pop("Id")}


class BucketLoggingHandler(_BucketSetting):
    pulumi_type = "aws:s3/bucketLogging:BucketLogging"
    call, argument = "bucket_logging", "BucketLoggingStatus"

    def body(self, new: Props) -> Any:
        return {"LoggingEnabled": {"TargetBucket": new["targetBucket"], "TargetPrefix": new["targetPrefix"]}}

    def setting(self, actual: Any) -> Props | None:
        enabled = actual.get("LoggingEnabled")
        return None if enabled is None else dict(to_pulumi_keys(enabled))

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("s3").put_bucket_logging(Bucket=state["bucket"], BucketLoggingStatus={})

"""S3 buckets and the settings that hang on them."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import (
    Cloud,
    Created,
    Handler,
    Naming,
    Props,
    from_answer,
    is_gone,
    rename_keys,
    tag_list,
    tag_map,
    tags_of,
    to_aws_keys,
    to_pulumi_keys,
)


class Bucket(Handler):
    pulumi_type = "aws:s3/bucket:Bucket"
    naming = Naming(key="bucket", prefix_key="bucketPrefix", limit=63, lower=True)
    tagged = True
    force_new = frozenset({"bucket", "bucketPrefix"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        s3, name = cloud.client("s3"), new["bucket"]
        place = {"CreateBucketConfiguration": {"LocationConstraint": cloud.region}}
        s3.create_bucket(Bucket=name, **({} if cloud.region == "us-east-1" else place))
        return Created(id=name)

    def complete(self, cloud: Cloud, id: str, new: Props) -> None:
        if tags_of(new):
            self._tags(cloud, id, new)

    def _tags(self, cloud: Cloud, name: str, new: Props) -> None:
        if tags := tags_of(new):
            cloud.client("s3").put_bucket_tagging(Bucket=name, Tagging={"TagSet": tag_list(tags)})
        else:
            cloud.client("s3").delete_bucket_tagging(Bucket=name)

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        cloud.client("s3").head_bucket(Bucket=id)
        return {"arn": f"arn:{cloud.partition}:s3:::{id}"}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        return {"tags": self._current_tags(cloud, id)}

    def _current_tags(self, cloud: Cloud, id: str) -> dict[str, str]:
        """That there are none is an error to S3."""
        try:
            return tag_map(cloud.client("s3").get_bucket_tagging(Bucket=id)["TagSet"])
        except Exception as error:
            if is_gone(error):
                return {}
            raise

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        if tags_of(old) != tags_of(new):
            self._tags(cloud, id, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        if state.get("forceDestroy"):
            self._empty(cloud, id)
        cloud.client("s3").delete_bucket(Bucket=id)

    def _empty(self, cloud: Cloud, id: str) -> None:
        """All versions and delete markers go, whatever the lifecycle rules say."""
        s3 = cloud.client("s3")
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=id):
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            objects = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
            if objects:
                s3.delete_objects(Bucket=id, Delete={"Objects": objects, "Quiet": True})


class _Setting(Handler):
    """A setting of a bucket, put as a whole."""

    force_new = frozenset({"bucket"})
    # A bucket has one of each kind.
    delete_first = True
    # Verb-less name of the calls, and the argument that takes the setting.
    call: ClassVar[str]
    argument: ClassVar[str]
    delete_call: ClassVar[str] = ""

    def body(self, new: Props) -> Any:
        raise NotImplementedError

    def setting(self, found: Any) -> Props | None:
        """The inputs of S3's answer; None where it stands for no setting at all."""
        raise NotImplementedError

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        answer = getattr(cloud.client("s3"), f"get_{self.call}")(Bucket=inputs["bucket"])
        return self.setting(answer.get(self.argument, answer))

    def create(self, cloud: Cloud, new: Props) -> Created:
        self._put(cloud, new)
        return Created(id=new["bucket"])

    def _put(self, cloud: Cloud, new: Props) -> None:
        getattr(cloud.client("s3"), f"put_{self.call}")(Bucket=new["bucket"], **{self.argument: self.body(new)})

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._put(cloud, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        getattr(cloud.client("s3"), self.delete_call or f"delete_{self.call}")(Bucket=state["bucket"])


class BucketVersioning(_Setting):
    pulumi_type = "aws:s3/bucketVersioning:BucketVersioning"
    call, argument = "bucket_versioning", "VersioningConfiguration"

    def body(self, new: Props) -> Any:
        return to_aws_keys(new["versioningConfiguration"])

    def setting(self, found: Any) -> Props | None:
        return {"versioningConfiguration": {"status": found.get("Status", "Disabled")}}

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        off = {"Status": "Suspended"}
        cloud.client("s3").put_bucket_versioning(Bucket=state["bucket"], VersioningConfiguration=off)


class BucketServerSideEncryptionConfiguration(_Setting):
    pulumi_type = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    call, argument = "bucket_encryption", "ServerSideEncryptionConfiguration"
    _NAMES: ClassVar = {"sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"}

    def body(self, new: Props) -> Any:
        return {"Rules": [self._rule(rule) for rule in new["rules"]]}

    def setting(self, found: Any) -> Props | None:
        return {"rules": [self._current(rule) for rule in found["Rules"]]}

    def _current(self, rule: dict[str, Any]) -> Props:
        default = from_answer(rule.get("ApplyServerSideEncryptionByDefault") or {}, self._NAMES)
        return {"applyServerSideEncryptionByDefault": default, "bucketKeyEnabled": rule.get("BucketKeyEnabled")}

    def _rule(self, rule: Props) -> dict[str, Any]:
        default = rename_keys(rule.get("applyServerSideEncryptionByDefault") or {}, self._NAMES)
        enabled = rename_keys(rule, {"bucketKeyEnabled": "BucketKeyEnabled"})
        return enabled | ({"ApplyServerSideEncryptionByDefault": default} if default else {})


class BucketPublicAccessBlock(_Setting):
    pulumi_type = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    call, argument = "public_access_block", "PublicAccessBlockConfiguration"

    def body(self, new: Props) -> Any:
        keys = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
        return {f"{key[0].upper()}{key[1:]}": bool(new.get(key)) for key in keys}

    def setting(self, found: Any) -> Props | None:
        return dict(to_pulumi_keys(found))


class BucketOwnershipControls(_Setting):
    pulumi_type = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
    call, argument = "bucket_ownership_controls", "OwnershipControls"

    def body(self, new: Props) -> Any:
        return {"Rules": [to_aws_keys(new["rule"])]}

    def setting(self, found: Any) -> Props | None:
        return {"rule": to_pulumi_keys(found["Rules"][0])}


class BucketPolicy(_Setting):
    pulumi_type = "aws:s3/bucketPolicy:BucketPolicy"
    call, argument = "bucket_policy", "Policy"

    def body(self, new: Props) -> Any:
        return new["policy"]

    def setting(self, found: Any) -> Props | None:
        return {"policy": found}


class BucketLifecycleConfiguration(_Setting):
    pulumi_type = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    call, argument = "bucket_lifecycle_configuration", "LifecycleConfiguration"
    delete_call = "delete_bucket_lifecycle"

    def body(self, new: Props) -> Any:
        return {"Rules": [self._rule(rule) for rule in new["rules"]]}

    def setting(self, found: Any) -> Props | None:
        return {"rules": [to_pulumi_keys(rule) | {"id": rule.get("ID")} for rule in found["Rules"]]}

    def _rule(self, rule: Props) -> dict[str, Any]:
        request: dict[str, Any] = to_aws_keys({"filter": {"prefix": ""}} | rule)
        return request | {"ID": request.pop("Id")}


class BucketLogging(_Setting):
    pulumi_type = "aws:s3/bucketLogging:BucketLogging"
    call, argument = "bucket_logging", "BucketLoggingStatus"

    def body(self, new: Props) -> Any:
        return {"LoggingEnabled": {"TargetBucket": new["targetBucket"], "TargetPrefix": new["targetPrefix"]}}

    def setting(self, found: Any) -> Props | None:
        enabled = found.get("LoggingEnabled")
        return None if enabled is None else dict(to_pulumi_keys(enabled))

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("s3").put_bucket_logging(Bucket=state["bucket"], BucketLoggingStatus={})

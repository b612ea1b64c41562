"""S3 buckets and the settings that hang on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import urlencode

from .base import (
    GENERATED,
    Cloud,
    Created,
    Handler,
    Naming,
    Props,
    capitalized,
    is_gone,
    lowered,
    tag_list,
    tag_map,
    tags_of,
    taken,
)


class Bucket(Handler):
    pulumi_type = "aws:s3/bucket:Bucket"
    naming = Naming(key="bucket", prefix_key="bucketPrefix", limit=63, lower=True)
    tagged = True
    force_new = frozenset({"bucket", "bucketPrefix", "objectLockEnabled"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        s3, name = cloud.client("s3"), new["bucket"]
        place = {"CreateBucketConfiguration": {"LocationConstraint": cloud.region}}
        s3.create_bucket(Bucket=name, **({} if cloud.region == "us-east-1" else place))
        if tags_of(new):
            self._tags(cloud, name, new)
        return Created(id=name)

    def _tags(self, cloud: Cloud, name: str, new: Props) -> None:
        if tags := tags_of(new):
            cloud.client("s3").put_bucket_tagging(Bucket=name, Tagging={"TagSet": tag_list(tags)})
        else:
            cloud.client("s3").delete_bucket_tagging(Bucket=name)

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        cloud.client("s3").head_bucket(Bucket=id)
        return {
            "arn": f"arn:{cloud.partition}:s3:::{id}",
            "bucketDomainName": f"{id}.s3.{cloud.dns_suffix}",
            "bucketRegionalDomainName": f"{id}.s3.{cloud.region}.{cloud.dns_suffix}",
            "bucketRegion": cloud.region,
        }

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        return {"tagsAll": _found_tags(lambda: cloud.client("s3").get_bucket_tagging(Bucket=id))}

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

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        """By its tags; or still without them (they come by a second call), empty and under a drawn name."""
        found = _found_tags(lambda: cloud.client("s3").get_bucket_tagging(Bucket=inputs["bucket"]))
        ours = found == tags_of(inputs) if found else _is_newborn(cloud, inputs["bucket"])
        return [inputs["bucket"]] if ours else []


def _is_newborn(cloud: Cloud, bucket: str) -> bool:
    if not GENERATED.search(bucket):
        return False
    try:
        return "Contents" not in cloud.client("s3").list_objects_v2(Bucket=bucket, MaxKeys=1)
    except Exception as error:
        if is_gone(error):
            return False
        raise


def _found_tags(ask: Callable[[], dict[str, Any]]) -> dict[str, str]:
    """None of them is an error to S3."""
    try:
        return tag_map(ask()["TagSet"])
    except Exception as error:
        if is_gone(error):
            return {}
        raise


class _Setting(Handler):
    """A setting of a bucket: put whole, so that making it twice does no harm."""

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
        """The inputs that a found setting stands for; None where it stands for none at all."""
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
        return capitalized(new["versioningConfiguration"])

    def setting(self, found: Any) -> Props | None:
        return {"versioningConfiguration": {"status": found.get("Status", "Disabled"), "mfaDelete": None}}

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
        return {"rules": [self._found(rule) for rule in found["Rules"]]}

    def _found(self, rule: dict[str, Any]) -> Props:
        chosen = rule.get("ApplyServerSideEncryptionByDefault") or {}
        default = taken(chosen, self._NAMES)
        return {"applyServerSideEncryptionByDefault": default, "bucketKeyEnabled": rule.get("BucketKeyEnabled")}

    def _rule(self, rule: Props) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if chosen := rule.get("applyServerSideEncryptionByDefault"):
            found["ApplyServerSideEncryptionByDefault"] = {
                theirs: chosen[ours] for ours, theirs in self._NAMES.items() if chosen.get(ours)
            }
        if rule.get("bucketKeyEnabled") is not None:
            found["BucketKeyEnabled"] = rule["bucketKeyEnabled"]
        return found


class BucketPublicAccessBlock(_Setting):
    pulumi_type = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    call, argument = "public_access_block", "PublicAccessBlockConfiguration"

    def body(self, new: Props) -> Any:
        keys = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
        return {f"{key[0].upper()}{key[1:]}": bool(new.get(key)) for key in keys}

    def setting(self, found: Any) -> Props | None:
        return dict(lowered(found))


class BucketOwnershipControls(_Setting):
    pulumi_type = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
    call, argument = "bucket_ownership_controls", "OwnershipControls"

    def body(self, new: Props) -> Any:
        return {"Rules": [capitalized(new["rule"])]}

    def setting(self, found: Any) -> Props | None:
        return {"rule": lowered(found["Rules"][0])}


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
        return {"rules": [lowered(rule) | {"id": rule.get("ID")} for rule in found["Rules"]]}

    def _rule(self, rule: Props) -> dict[str, Any]:
        found: dict[str, Any] = capitalized(rule)
        found["ID"] = found.pop("Id")
        asked = found.get("Filter") or {}
        found["Filter"] = asked if any(asked.values()) else {"Prefix": found.pop("Prefix", "")}
        abort = found.get("AbortIncompleteMultipartUpload")
        if abort:
            found["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": abort["DaysAfterInitiation"]}
        for ours in ("NoncurrentVersionTransitions", "Transitions"):
            if not found.get(ours):
                found.pop(ours, None)
        return found


class BucketLogging(_Setting):
    pulumi_type = "aws:s3/bucketLogging:BucketLogging"
    call, argument = "bucket_logging", "BucketLoggingStatus"

    def body(self, new: Props) -> Any:
        return {"LoggingEnabled": {"TargetBucket": new["targetBucket"], "TargetPrefix": new.get("targetPrefix", "")}}

    def setting(self, found: Any) -> Props | None:
        enabled = found.get("LoggingEnabled")
        return enabled and {"targetBucket": enabled["TargetBucket"], "targetPrefix": enabled.get("TargetPrefix")}

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("s3").put_bucket_logging(Bucket=state["bucket"], BucketLoggingStatus={})


class BucketObject(Handler):
    pulumi_type = "aws:s3/bucketObjectv2:BucketObjectv2"
    force_new = frozenset({"bucket", "key"})
    tagged = True

    def create(self, cloud: Cloud, new: Props) -> Created:
        self._put(cloud, new)
        return Created(id=f"{new['bucket']}/{new['key']}")

    def _put(self, cloud: Cloud, new: Props) -> None:
        kind = {"ContentType": new["contentType"]} if new.get("contentType") else {}
        body = str(new.get("content", "")).encode()
        tags = {"Tagging": urlencode(tags_of(new))} if tags_of(new) else {}
        cloud.client("s3").put_object(Bucket=new["bucket"], Key=new["key"], Body=body, **kind, **tags)

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = cloud.client("s3").head_object(Bucket=inputs["bucket"], Key=inputs["key"])
        return {"etag": found["ETag"].strip('"'), "versionId": found.get("VersionId", "")}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        s3, place = cloud.client("s3"), {"Bucket": inputs["bucket"], "Key": inputs["key"]}
        found = s3.get_object(**place)
        return {
            "content": found["Body"].read().decode(errors="replace"),
            "contentType": found.get("ContentType"),
            "tagsAll": _found_tags(lambda: s3.get_object_tagging(**place)),
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._put(cloud, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("s3").delete_object(Bucket=state["bucket"], Key=state["key"])

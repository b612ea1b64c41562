"""A private, versioned, encrypted bucket in which Pulumi keeps the state of every stack of the account."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import s3

from components import policy_documents

KEPT_OLD_VERSIONS_DAYS = 90
UNFINISHED_UPLOAD_DAYS = 2


@dataclass(frozen=True, kw_only=True)
class StateBucketArgs:
    """`project` begins the bucket's name."""

    stack: str
    project: str
    key_arn: pulumi.Input[str]
    protect: bool


class StateBucket(pulumi.ComponentResource):
    """Outputs: `arn`, and `bucket`, the name, known only when what keeps state safe is in place."""

    bucket: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(self, name: str, args: StateBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:bootstrap:StateBucket", name, {}, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        bucket = s3.Bucket(
            name,
            bucket_prefix=f"{args.project}-state-",
            tags={"Stack": args.stack},
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        safe = [self._closed(bucket), self._encrypted(bucket), self._versioned(bucket), self._tls_only(bucket)]
        self._owned(bucket)
        self.bucket = pulumi.Output.all(bucket.bucket, *[each.id for each in safe]).apply(lambda known: str(known[0]))
        self.arn = bucket.arn
        self.register_outputs({"bucket": self.bucket, "arn": self.arn})

    def _closed(self, bucket: s3.Bucket) -> pulumi.CustomResource:
        return s3.BucketPublicAccessBlock(
            self._name,
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._child,
        )

    def _owned(self, bucket: s3.Bucket) -> None:
        ownership = s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced")
        s3.BucketOwnershipControls(self._name, bucket=bucket.id, rule=ownership, opts=self._child)

    def _encrypted(self, bucket: s3.Bucket) -> pulumi.CustomResource:
        default = s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
            sse_algorithm="aws:kms", kms_master_key_id=self._args.key_arn
        )
        # A bucket key asks KMS once for many objects; an update writes dozens.
        rule = s3.BucketServerSideEncryptionConfigurationRuleArgs(
            apply_server_side_encryption_by_default=default, bucket_key_enabled=True
        )
        return s3.BucketServerSideEncryptionConfiguration(self._name, bucket=bucket.id, rules=[rule], opts=self._child)

    def _versioned(self, bucket: s3.Bucket) -> pulumi.CustomResource:
        """State that was overwritten can be had back for a while."""
        enabled = s3.BucketVersioningVersioningConfigurationArgs(status="Enabled")
        versioning = s3.BucketVersioning(
            self._name, bucket=bucket.id, versioning_configuration=enabled, opts=self._child
        )
        # S3 checks no order, but its rules for old versions mean nothing before there are any.
        after = pulumi.ResourceOptions(parent=self, depends_on=[versioning])
        s3.BucketLifecycleConfiguration(self._name, bucket=bucket.id, rules=_rules(), opts=after)
        return versioning

    def _tls_only(self, bucket: s3.Bucket) -> pulumi.CustomResource:
        document = bucket.arn.apply(
            lambda arn: policy_documents.text(policy_documents.document(policy_documents.tls_only(arn)))
        )
        return s3.BucketPolicy(self._name, bucket=bucket.id, policy=document, opts=self._child)


def _rules() -> list[s3.BucketLifecycleConfigurationRuleArgs]:
    everything = s3.BucketLifecycleConfigurationRuleFilterArgs(prefix="")
    old = s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(noncurrent_days=KEPT_OLD_VERSIONS_DAYS)
    # Each update takes a lock and deletes it: without this, the markers of all that is deleted would pile up.
    markers = s3.BucketLifecycleConfigurationRuleExpirationArgs(expired_object_delete_marker=True)
    unfinished = s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
        days_after_initiation=UNFINISHED_UPLOAD_DAYS
    )
    return [
        s3.BucketLifecycleConfigurationRuleArgs(
            id="old-versions",
            status="Enabled",
            filter=everything,
            noncurrent_version_expiration=old,
            expiration=markers,
            abort_incomplete_multipart_upload=unfinished,
        )
    ]

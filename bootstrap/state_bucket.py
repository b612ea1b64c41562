"""S3 bucket for Pulumi state: private, versioned, and encrypted with a KMS key."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import s3

from components import policy_documents

OLD_VERSION_DAYS = 90
UNFINISHED_UPLOAD_DAYS = 2


@dataclass(frozen=True, kw_only=True)
class StateBucketArgs:
    """`project` begins the bucket's name."""

    stack: str
    project: str
    key_arn: pulumi.Input[str]
    protect: bool


class StateBucket(pulumi.ComponentResource):
    """Outputs: `arn`, and `bucket`, the name, known only once the bucket is private, encrypted and versioned."""

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
        protections = [
            self._public_access_block(bucket),
            self._encryption(bucket),
            self._versioning(bucket),
            self._tls_only(bucket),
        ]
        self._ownership(bucket)
        self.bucket = pulumi.Output.all(bucket.bucket, *[each.id for each in protections]).apply(
            lambda known: str(known[0])
        )
        self.arn = bucket.arn
        self.register_outputs({"bucket": self.bucket, "arn": self.arn})

    def _public_access_block(self, bucket: s3.Bucket) -> pulumi.CustomResource:
        return s3.BucketPublicAccessBlock(
            self._name,
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._child,
        )

    def _ownership(self, bucket: s3.Bucket) -> None:
        ownership = s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced")
        s3.BucketOwnershipControls(self._name, bucket=bucket.id, rule=ownership, opts=self._child)

    def _encryption(self, bucket: s3.Bucket) -> pulumi.CustomResource:
        default = s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
            sse_algorithm="aws:kms", kms_master_key_id=self._args.key_arn
        )
        # A bucket key needs one KMS request for many objects; an update writes dozens.
        rule = s3.BucketServerSideEncryptionConfigurationRuleArgs(
            apply_server_side_encryption_by_default=default, bucket_key_enabled=True
        )
        return s3.BucketServerSideEncryptionConfiguration(self._name, bucket=bucket.id, rules=[rule], opts=self._child)

    def _versioning(self, bucket: s3.Bucket) -> pulumi.CustomResource:
        """Versioning, so that overwritten state can be restored for a while."""
        enabled = s3.BucketVersioningVersioningConfigurationArgs(status="Enabled")
        versioning = s3.BucketVersioning(
            self._name, bucket=bucket.id, versioning_configuration=enabled, opts=self._child
        )
        # S3 accepts any order, but rules for old versions have no effect before versioning is enabled.
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
    old = s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(noncurrent_days=OLD_VERSION_DAYS)
    # Each update takes a lock and deletes it: without this, delete markers would accumulate.
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

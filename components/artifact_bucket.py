"""A private, versioned, encrypted bucket for releases, and another one for the access logs of bucket and balancer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import s3

from components import policy_documents

KEPT_OLD_VERSIONS_DAYS = 90
KEPT_LOGS_DAYS = 90
UNFINISHED_UPLOAD_DAYS = 2


@dataclass(frozen=True, kw_only=True)
class ArtifactBucketArgs:
    """`account` is the one that logs are delivered for. Without `access_logs` there is no log bucket."""

    stack: str
    account: str
    access_logs: bool = True
    force_destroy: bool = False
    protect: bool = False


class ArtifactBucket(pulumi.ComponentResource):
    """Outputs: `bucket` and `arn` of the artifacts; `log_bucket` is empty without access logs."""

    bucket: pulumi.Output[str]
    arn: pulumi.Output[str]
    log_bucket: pulumi.Output[str]

    def __init__(self, name: str, args: ArtifactBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:storage:ArtifactBucket", name, {}, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        artifacts = self._private_bucket(name)
        self._versioning(name, artifacts)
        self._lifecycle(name, artifacts, _artifact_rules())
        self._policy(name, artifacts, delivers_logs=False)
        self.bucket, self.arn = artifacts.bucket, artifacts.arn
        self.log_bucket = self._log_bucket(name, artifacts) if args.access_logs else pulumi.Output.from_input("")
        self.register_outputs({"bucket": self.bucket, "arn": self.arn, "log_bucket": self.log_bucket})

    def _log_bucket(self, name: str, artifacts: s3.Bucket) -> pulumi.Output[str]:
        """Bucket logging and the balancer both check on creation that they may write: the policy comes first."""
        logs = self._private_bucket(f"{name}-logs")
        self._lifecycle(f"{name}-logs", logs, _log_rules())
        policy = self._policy(f"{name}-logs", logs, delivers_logs=True)
        s3.BucketLogging(
            name,
            bucket=artifacts.id,
            target_bucket=logs.id,
            target_prefix="artifacts/",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )
        return policy.bucket

    def _private_bucket(self, name: str) -> s3.Bucket:
        bucket = s3.Bucket(
            name,
            force_destroy=self._args.force_destroy,
            tags={"Stack": self._args.stack},
            opts=pulumi.ResourceOptions(parent=self, protect=self._args.protect),
        )
        s3.BucketPublicAccessBlock(
            name,
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._child,
        )
        ownership = s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced")
        s3.BucketOwnershipControls(name, bucket=bucket.id, rule=ownership, opts=self._child)
        self._encryption(name, bucket)
        return bucket

    def _encryption(self, name: str, bucket: s3.Bucket) -> None:
        """With S3's own keys: the balancer delivers its logs to no other, and they cost nothing."""
        default = s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
            sse_algorithm="AES256"
        )
        rule = s3.BucketServerSideEncryptionConfigurationRuleArgs(apply_server_side_encryption_by_default=default)
        s3.BucketServerSideEncryptionConfiguration(name, bucket=bucket.id, rules=[rule], opts=self._child)

    def _versioning(self, name: str, bucket: s3.Bucket) -> None:
        enabled = s3.BucketVersioningVersioningConfigurationArgs(status="Enabled")
        s3.BucketVersioning(name, bucket=bucket.id, versioning_configuration=enabled, opts=self._child)

    def _lifecycle(
        self, name: str, bucket: s3.Bucket, rules: Sequence[s3.BucketLifecycleConfigurationRuleArgs]
    ) -> None:
        s3.BucketLifecycleConfiguration(name, bucket=bucket.id, rules=list(rules), opts=self._child)

    def _policy(self, name: str, bucket: s3.Bucket, *, delivers_logs: bool) -> s3.BucketPolicy:
        def document(arn: str) -> str:
            senders = policy_documents.log_delivery(arn, self._args.account) if delivers_logs else ()
            return policy_documents.text(policy_documents.document(policy_documents.tls_only(arn), *senders))

        return s3.BucketPolicy(name, bucket=bucket.id, policy=bucket.arn.apply(document), opts=self._child)


def _artifact_rules() -> list[s3.BucketLifecycleConfigurationRuleArgs]:
    """Releases stay; what was overwritten or never finished goes."""
    old = s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(noncurrent_days=KEPT_OLD_VERSIONS_DAYS)
    return [_rule("old-versions", noncurrent_version_expiration=old), _unfinished_uploads()]


def _log_rules() -> list[s3.BucketLifecycleConfigurationRuleArgs]:
    old = s3.BucketLifecycleConfigurationRuleExpirationArgs(days=KEPT_LOGS_DAYS)
    return [_rule("old-logs", expiration=old), _unfinished_uploads()]


def _unfinished_uploads() -> s3.BucketLifecycleConfigurationRuleArgs:
    unfinished = s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
        days_after_initiation=UNFINISHED_UPLOAD_DAYS
    )
    return _rule("unfinished-uploads", abort_incomplete_multipart_upload=unfinished)


def _rule(id: str, **what: Any) -> s3.BucketLifecycleConfigurationRuleArgs:
    everything = s3.BucketLifecycleConfigurationRuleFilterArgs(prefix="")
    return s3.BucketLifecycleConfigurationRuleArgs(id=id, status="Enabled", filter=everything, **what)

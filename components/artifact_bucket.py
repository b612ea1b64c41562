"""S3 bucket of the releases, versioned, and a second one for access logs of bucket and load balancer."""

from __future__ import annotations

import functools

import pulumi
from pulumi_aws import s3

from components import policy_documents
from components.private_bucket import bucket_policy, lifecycle, private_bucket, rule
from config.context import StackContext

OLD_VERSION_DAYS = 90
ACCESS_LOG_DAYS = 90


class ArtifactBucket(pulumi.ComponentResource):
    """Outputs: `bucket` and `arn` of the artifacts; `log_bucket` is empty without `access_logs`."""

    bucket: pulumi.Output[str]
    arn: pulumi.Output[str]
    log_bucket: pulumi.Output[str]

    def __init__(
        self, name: str, context: StackContext, *, access_logs: bool, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bluegreen:storage:ArtifactBucket", name, {}, opts)
        self._context = context
        artifacts = self._private_bucket(name)
        self._versioning(name, artifacts)
        lifecycle(name, self, artifacts, [_old_versions()])
        bucket_policy(name, self, artifacts)
        self.bucket, self.arn = artifacts.bucket, artifacts.arn
        self.log_bucket = self._log_bucket(name, artifacts) if access_logs else pulumi.Output.from_input("")
        self.register_outputs({"bucket": self.bucket, "arn": self.arn, "log_bucket": self.log_bucket})

    def _log_bucket(self, name: str, artifacts: s3.Bucket) -> pulumi.Output[str]:
        """Bucket logging and the load balancer check on creation that they may write: the policy comes first."""
        logs = self._private_bucket(f"{name}-logs")
        lifecycle(f"{name}-logs", self, logs, [_old_logs()])
        senders = functools.partial(policy_documents.log_delivery, account=self._context.account)
        policy = bucket_policy(f"{name}-logs", self, logs, senders)
        s3.BucketLogging(
            name,
            bucket=artifacts.id,
            target_bucket=logs.id,
            target_prefix="artifacts/",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )
        return policy.bucket

    def _private_bucket(self, name: str) -> s3.Bucket:
        return private_bucket(name, self, self._context)

    def _versioning(self, name: str, bucket: s3.Bucket) -> None:
        enabled = s3.BucketVersioningVersioningConfigurationArgs(status="Enabled")
        child = pulumi.ResourceOptions(parent=self)
        s3.BucketVersioning(name, bucket=bucket.id, versioning_configuration=enabled, opts=child)


def _old_versions() -> s3.BucketLifecycleConfigurationRuleArgs:
    """Releases are retained; overwritten versions expire."""
    old = s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(noncurrent_days=OLD_VERSION_DAYS)
    return rule("old-versions", noncurrent_version_expiration=old)


def _old_logs() -> s3.BucketLifecycleConfigurationRuleArgs:
    return rule("old-logs", expiration=s3.BucketLifecycleConfigurationRuleExpirationArgs(days=ACCESS_LOG_DAYS))

"""Private S3 bucket: public access blocked, owner enforced, encrypted, TLS only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pulumi
from pulumi_aws import s3

from components import policy_documents
from config.context import StackContext

UNFINISHED_UPLOAD_DAYS = 2

Senders = Callable[[str], Sequence[Mapping[str, Any]]]


def private_bucket(name: str, parent: pulumi.Resource, context: StackContext) -> s3.Bucket:
    """The bucket and its settings, with the same name and parent; policy and lifecycle rules are created apart."""
    child = pulumi.ResourceOptions(parent=parent)
    bucket = s3.Bucket(
        name,
        force_destroy=context.force_destroy,
        tags={"Stack": context.stack},
        opts=pulumi.ResourceOptions(parent=parent, protect=context.protect),
    )
    s3.BucketPublicAccessBlock(
        name,
        bucket=bucket.id,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=child,
    )
    ownership = s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced")
    s3.BucketOwnershipControls(name, bucket=bucket.id, rule=ownership, opts=child)
    _encryption(name, bucket, child)
    return bucket


def _encryption(name: str, bucket: s3.Bucket, child: pulumi.ResourceOptions) -> None:
    """With S3's own keys: load balancers deliver logs to no others, and they are free of charge."""
    default = s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
        sse_algorithm="AES256"
    )
    rule = s3.BucketServerSideEncryptionConfigurationRuleArgs(apply_server_side_encryption_by_default=default)
    s3.BucketServerSideEncryptionConfiguration(name, bucket=bucket.id, rules=[rule], opts=child)


def lifecycle(
    name: str,
    parent: pulumi.Resource,
    bucket: s3.Bucket,
    rules: Sequence[s3.BucketLifecycleConfigurationRuleArgs],
) -> None:
    """The rules, and one that aborts incomplete multipart uploads."""
    s3.BucketLifecycleConfiguration(
        name,
        bucket=bucket.id,
        rules=[*rules, _unfinished_uploads()],
        opts=pulumi.ResourceOptions(parent=parent),
    )


def bucket_policy(
    name: str, parent: pulumi.Resource, bucket: s3.Bucket, senders: Senders = lambda arn: ()
) -> s3.BucketPolicy:
    """A policy for TLS only; `senders` returns, by the bucket's ARN, statements that admit other principals."""

    def text(arn: str) -> str:
        return policy_documents.text(policy_documents.document(policy_documents.tls_only(arn), *senders(arn)))

    return s3.BucketPolicy(
        name, bucket=bucket.id, policy=bucket.arn.apply(text), opts=pulumi.ResourceOptions(parent=parent)
    )


def rule(id: str, **actions: Any) -> s3.BucketLifecycleConfigurationRuleArgs:
    """A lifecycle rule for all objects of a bucket."""
    everything = s3.BucketLifecycleConfigurationRuleFilterArgs(prefix="")
    return s3.BucketLifecycleConfigurationRuleArgs(id=id, status="Enabled", filter=everything, **actions)


def _unfinished_uploads() -> s3.BucketLifecycleConfigurationRuleArgs:
    unfinished = s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
        days_after_initiation=UNFINISHED_UPLOAD_DAYS
    )
    return rule("unfinished-uploads", abort_incomplete_multipart_upload=unfinished)

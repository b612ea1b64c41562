"""Buckets and their settings, topics, parameters and image repositories."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from rehearsal.provider.values import Secret

from .client import Client, Resource

Aws = Callable[[str], Any]
PRIVATE = dict.fromkeys(("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True)
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "logging.s3.amazonaws.com"},
                "Action": "s3:PutObject",
                "Resource": "arn:aws:s3:::logs/*",
            }
        ],
    }
)
RULE = {
    "id": "old",
    "status": "Enabled",
    "filter": {"prefix": "logs/"},
    "expiration": {"days": 20},
    "noncurrentVersionExpiration": {"noncurrentDays": 30},
    "abortIncompleteMultipartUpload": {"daysAfterInitiation": 2},
    "transitions": [{"days": 10, "storageClass": "GLACIER_IR"}],
}
# Settings of a bucket by the last word of their type: inputs, changed inputs, and the paths that differ.
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "BucketVersioning": (
        {"versioningConfiguration": {"status": "Enabled"}},
        {"versioningConfiguration": {"status": "Suspended"}},
        ["versioningConfiguration.status"],
    ),
    "BucketServerSideEncryptionConfiguration": (
        {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}, "bucketKeyEnabled": False}]},
        {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}, "bucketKeyEnabled": True}]},
        ["rules[0].bucketKeyEnabled"],
    ),
    "BucketPublicAccessBlock": (PRIVATE, PRIVATE | {"blockPublicAcls": False}, ["blockPublicAcls"]),
    "BucketOwnershipControls": (
        {"rule": {"objectOwnership": "BucketOwnerPreferred"}},
        {"rule": {"objectOwnership": "ObjectWriter"}},
        ["rule.objectOwnership"],
    ),
    "BucketPolicy": ({"policy": POLICY}, {"policy": POLICY.replace("PutObject", "PutObject*")}, ["policy"]),
    "BucketLifecycleConfiguration": (
        {"rules": [RULE]},
        {"rules": [RULE | {"expiration": {"days": 9}}]},
        ["rules[0].expiration.days"],
    ),
    "BucketLogging": (
        {"targetBucket": "logs", "targetPrefix": "a/"},
        {"targetBucket": "logs", "targetPrefix": "b/"},
        ["targetPrefix"],
    ),
}
# Calls that delete a setting.
DELETIONS = {
    "BucketServerSideEncryptionConfiguration": "delete_bucket_encryption",
    "BucketPublicAccessBlock": "delete_public_access_block",
    "BucketOwnershipControls": "delete_bucket_ownership_controls",
    "BucketPolicy": "delete_bucket_policy",
    "BucketLifecycleConfiguration": "delete_bucket_lifecycle",
}


@pytest.fixture
def bucket(provider: Client) -> Resource:
    return provider.create("aws:s3:Bucket", "files", forceDestroy=True, tags={"Stack": "test"})


@pytest.fixture
def topic(provider: Client) -> Resource:
    return provider.create("aws:sns:Topic", "alerts", kmsMasterKeyId="alias/one", tags={"Stack": "test"})


@pytest.fixture
def token(provider: Client) -> Resource:
    return provider.create("aws:ssm:Parameter", "token", name="/token", type="SecureString", value="hush")


def logged_to(aws: Aws) -> None:
    """A bucket that accepts access logs."""
    aws("s3").create_bucket(Bucket="logs")
    aws("s3").put_bucket_policy(Bucket="logs", Policy=POLICY)


def test_a_bucket_is_created_as_declared(provider: Client, aws: Aws, bucket: Resource) -> None:
    assert bucket.id.startswith("files-")
    assert (bucket["bucket"], bucket["arn"]) == (bucket.id, f"arn:aws:s3:::{bucket.id}")
    assert aws("s3").get_bucket_tagging(Bucket=bucket.id)["TagSet"] == [{"Key": "Stack", "Value": "test"}]
    assert (provider.update(bucket), provider.refresh(bucket)) == ({}, {})


def test_manual_changes_to_a_bucket_are_reverted(provider: Client, aws: Aws, bucket: Resource) -> None:
    aws("s3").put_bucket_tagging(Bucket=bucket.id, Tagging={"TagSet": [{"Key": "Stack", "Value": "other"}]})
    assert provider.refresh(bucket) == {"tags.Stack": "update"}
    provider.update(bucket)
    assert provider.refresh(bucket) == {}


def test_a_bucket_is_deleted_with_all_object_versions(provider: Client, aws: Aws, bucket: Resource) -> None:
    s3 = aws("s3")
    s3.put_bucket_versioning(Bucket=bucket.id, VersioningConfiguration={"Status": "Enabled"})
    for _ in range(2):
        s3.put_object(Bucket=bucket.id, Key="retained", Body=b"")
    s3.delete_object(Bucket=bucket.id, Key="retained")
    provider.delete(bucket)
    assert (s3.list_buckets()["Buckets"], provider.refresh(bucket)) == ([], None)


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_setting_of_a_bucket_is_created_updated_and_deleted(
    provider: Client, aws: Aws, bucket: Resource, kind: str
) -> None:
    inputs, changed, paths = SETTINGS[kind]
    logged_to(aws)
    setting = provider.create(f"aws:s3:{kind}", "it", bucket=bucket.id, **inputs)
    assert (setting.id, provider.refresh(setting)) == (bucket.id, {})
    assert list(provider.update(setting, **changed)) == paths
    assert provider.refresh(setting) == {}
    if kind in DELETIONS:
        getattr(aws("s3"), DELETIONS[kind])(Bucket=bucket.id)
        assert provider.refresh(setting) is None
    else:
        provider.delete(setting)


@pytest.mark.parametrize("kind", SETTINGS)
def test_manual_changes_to_a_setting_are_reverted(provider: Client, aws: Aws, bucket: Resource, kind: str) -> None:
    inputs, changed, paths = SETTINGS[kind]
    logged_to(aws)
    setting = provider.create(f"aws:s3:{kind}", "it", bucket=bucket.id, **inputs)
    provider.create(
        f"aws:s3:{kind}", "by-hand", bucket=bucket.id, **changed
    )  # overwrites the setting, as a manual change
    assert list(provider.refresh(setting) or ()) == paths
    provider.update(setting)
    assert provider.refresh(setting) == {}


def test_a_topic_is_created_updated_and_deleted(provider: Client, aws: Aws, topic: Resource) -> None:
    assert topic.id == topic["arn"] == f"arn:aws:sns:us-east-1:123456789012:{topic['name']}"
    changes = provider.update(topic, kmsMasterKeyId="alias/two", tags={"Stack": "new"})
    assert changes == {"kmsMasterKeyId": "update", "tags.Stack": "update"}
    assert provider.refresh(topic) == {}
    mine = {"AttributeName": "KmsMasterKeyId", "AttributeValue": "alias/mine"}
    aws("sns").set_topic_attributes(TopicArn=topic.id, **mine)
    assert provider.refresh(topic) == {"kmsMasterKeyId": "update"}
    provider.update(topic)
    assert aws("sns").get_topic_attributes(TopicArn=topic.id)["Attributes"]["KmsMasterKeyId"] == "alias/two"
    provider.delete(topic)
    assert provider.refresh(topic) is None


def test_a_subscription_is_created_updated_and_deleted(provider: Client, aws: Aws, topic: Resource) -> None:
    mail = provider.create(
        "aws:sns:TopicSubscription", "mail", topic=topic.id, protocol="email", endpoint="a@example.org"
    )
    assert (mail["arn"], provider.refresh(mail)) == (mail.id, {})
    (found,) = aws("sns").list_subscriptions()["Subscriptions"]
    assert (found["SubscriptionArn"], found["Endpoint"]) == (mail.id, "a@example.org")
    provider.delete(mail)
    assert aws("sns").list_subscriptions()["Subscriptions"] == []


def test_a_parameters_value_is_a_secret(provider: Client, aws: Aws, token: Resource) -> None:
    assert token["value"] == Secret("hush")
    assert provider.update(token, value="other", tags={"Stack": "new"}) == {"tags.Stack": "add", "value": "update"}
    assert token["value"] == Secret("other")
    assert aws("ssm").get_parameter(Name="/token", WithDecryption=True)["Parameter"]["Value"] == "other"


def test_manual_changes_to_a_parameter_are_reverted(provider: Client, aws: Aws, token: Resource) -> None:
    ssm = aws("ssm")
    assert provider.refresh(token) == {}
    ssm.put_parameter(Name="/token", Value="guess", Type="SecureString", Overwrite=True)
    assert (provider.refresh(token), token["value"]) == ({"value": "update"}, Secret("guess"))
    provider.update(token)
    assert ssm.get_parameter(Name="/token", WithDecryption=True)["Parameter"]["Value"] == "hush"
    provider.delete(token)
    assert provider.refresh(token) is None


def test_an_image_repository_and_its_lifecycle_policy_are_created_updated_and_deleted(
    provider: Client, aws: Aws
) -> None:
    repository = provider.create(
        "aws:ecr:Repository",
        "images",
        name="shop/base",
        imageTagMutability="IMMUTABLE",
        imageScanningConfiguration={"scanOnPush": True},
        forceDelete=True,
    )
    assert repository["repositoryUrl"] == "123456789012.dkr.ecr.us-east-1.amazonaws.com/shop/base"
    assert provider.refresh(repository) == {}
    selection = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 5}
    rule = {"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}
    policy = provider.create(
        "aws:ecr:LifecyclePolicy", "prune", repository="shop/base", policy=json.dumps({"rules": [rule]})
    )
    assert provider.refresh(policy) == {}
    aws("ecr").delete_lifecycle_policy(repositoryName="shop/base")
    assert provider.refresh(policy) is None
    aws("ecr").put_image_tag_mutability(repositoryName="shop/base", imageTagMutability="MUTABLE")
    assert provider.refresh(repository) == {"imageTagMutability": "update"}
    provider.update(repository)
    assert provider.refresh(repository) == {}
    provider.delete(repository)
    assert provider.refresh(repository) is None

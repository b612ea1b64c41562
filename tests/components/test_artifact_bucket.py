from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pulumi
import pytest

from components.artifact_bucket import ArtifactBucket
from tests.declared import CONTEXT, Declaration, declare

PRIVATE = {
    "s3.Bucket",
    "s3.BucketLifecycleConfiguration",
    "s3.BucketOwnershipControls",
    "s3.BucketPolicy",
    "s3.BucketPublicAccessBlock",
    "s3.BucketServerSideEncryptionConfiguration",
}
ARTIFACTS = {(kind, "artifacts") for kind in PRIVATE | {"s3.BucketVersioning"}}
LOGS = {(kind, "artifacts-logs") for kind in PRIVATE} | {("s3.BucketLogging", "artifacts")}
EVERYTHING = {"prefix": ""}
UNFINISHED = {
    "id": "unfinished-uploads",
    "status": "Enabled",
    "filter": EVERYTHING,
    "abortIncompleteMultipartUpload": {"daysAfterInitiation": 2},
}
BOTH = pytest.mark.parametrize("name", ["artifacts", "artifacts-logs"])


def bucket(*, access_logs: bool = True, **changes: Any) -> Declaration:
    context = replace(CONTEXT, **changes)
    return declare(lambda: ArtifactBucket("artifacts", context, access_logs=access_logs))


def test_what_stands() -> None:
    assert bucket().table() == ARTIFACTS | LOGS


def test_without_access_logs_there_is_no_log_bucket() -> None:
    assert bucket(access_logs=False).table() == ARTIFACTS


@BOTH
def test_a_bucket_is_private_and_encrypted(name: str) -> None:
    declared = bucket()
    assert declared.one("s3.BucketPublicAccessBlock", name).inputs == {
        "bucket": f"s3.Bucket:{name}",
        "blockPublicAcls": True,
        "blockPublicPolicy": True,
        "ignorePublicAcls": True,
        "restrictPublicBuckets": True,
    }
    assert declared.one("s3.BucketOwnershipControls", name).inputs["rule"] == {"objectOwnership": "BucketOwnerEnforced"}
    assert declared.one("s3.BucketServerSideEncryptionConfiguration", name).inputs["rules"] == [
        {"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}
    ]


@BOTH
def test_a_bucket_takes_nobody_without_tls(name: str) -> None:
    policy = json.loads(bucket().one("s3.BucketPolicy", name).inputs["policy"])
    denied = policy["Statement"][0]
    assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_only_the_log_bucket_takes_logs() -> None:
    declared = bucket()
    senders = {
        name: [each["Sid"] for each in json.loads(policy.inputs["policy"])["Statement"]]
        for name, policy in declared.all("s3.BucketPolicy").items()
    }
    assert senders == {"artifacts": ["TlsOnly"], "artifacts-logs": ["TlsOnly", "LoadBalancerLogs", "BucketLogs"]}


def test_releases_stay_and_what_was_overwritten_goes() -> None:
    declared = bucket()
    assert declared.one("s3.BucketVersioning").inputs["versioningConfiguration"] == {"status": "Enabled"}
    assert declared.one("s3.BucketLifecycleConfiguration", "artifacts").inputs["rules"] == [
        {
            "id": "old-versions",
            "status": "Enabled",
            "filter": EVERYTHING,
            "noncurrentVersionExpiration": {"noncurrentDays": 90},
        },
        UNFINISHED,
    ]


def test_access_logs_go_after_a_while() -> None:
    assert bucket().one("s3.BucketLifecycleConfiguration", "artifacts-logs").inputs["rules"] == [
        {"id": "old-logs", "status": "Enabled", "filter": EVERYTHING, "expiration": {"days": 90}},
        UNFINISHED,
    ]


def test_logging_waits_for_the_right_to_write() -> None:
    declared = bucket()
    logging = declared.one("s3.BucketLogging")
    assert logging.inputs == {
        "bucket": "s3.Bucket:artifacts",
        "targetBucket": "s3.Bucket:artifacts-logs",
        "targetPrefix": "artifacts/",
    }
    assert declared.one("s3.BucketPolicy", "artifacts-logs").urn in logging.dependencies


def test_who_gets_the_log_bucket_waits_for_the_right_to_write() -> None:
    def program() -> None:
        made = ArtifactBucket("artifacts", CONTEXT, access_logs=True)
        pulumi.CustomResource("test:index:Reader", "reader", {"bucket": made.log_bucket})

    declared = declare(program)
    reader = declared.one("test.Reader")
    assert reader.inputs == {"bucket": "s3.Bucket:artifacts-logs"}
    assert declared.one("s3.BucketPolicy", "artifacts-logs").urn in reader.dependencies


@pytest.mark.parametrize("chosen", [True, False])
def test_protection_and_emptying_follow_the_settings(chosen: bool) -> None:
    buckets = bucket(protect=chosen, force_destroy=chosen).all("s3.Bucket")
    assert {name: (each.protect, each.inputs["forceDestroy"]) for name, each in buckets.items()} == {
        "artifacts": (chosen, chosen),
        "artifacts-logs": (chosen, chosen),
    }

"""Log groups, Firehose delivery streams, and subscription filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .client import CheckError, Client, Resource

Aws = Callable[[str], Any]
ROLE = "arn:aws:iam::123456789012:role/writer"
DESTINATION = {
    "bucketArn": "arn:aws:s3:::retained-lines",
    "roleArn": ROLE,
    "prefix": "logs/",
    "bufferingSize": 64,
    "bufferingInterval": 900,
    "compressionFormat": "UNCOMPRESSED",
    "fileExtension": ".json.gz",
}
ENCRYPTED = {"enabled": True, "keyType": "AWS_OWNED_CMK"}


@pytest.fixture
def group(provider: Client) -> Resource:
    return provider.create("aws:cloudwatch:LogGroup", "it", name="/it", retentionInDays=7, tags={"Stack": "test"})


@pytest.fixture
def stream(provider: Client, aws: Aws) -> Resource:
    aws("s3").create_bucket(Bucket="retained-lines")
    return provider.create(
        "aws:kinesis:FirehoseDeliveryStream",
        "it",
        destination="extended_s3",
        extendedS3Configuration=DESTINATION,
        serverSideEncryption=ENCRYPTED,
        tags={"Stack": "test"},
    )


@pytest.fixture
def subscription(provider: Client, group: Resource, stream: Resource) -> Resource:
    return provider.create(
        "aws:cloudwatch:LogSubscriptionFilter",
        "it",
        logGroup="/it",
        filterPattern="",
        destinationArn=stream["arn"],
        roleArn=ROLE,
    )


def described(aws: Aws) -> dict[str, Any]:
    (name,) = aws("firehose").list_delivery_streams()["DeliveryStreamNames"]
    return dict(aws("firehose").describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"])


def destination(aws: Aws) -> dict[str, Any]:
    return dict(described(aws)["Destinations"][0]["ExtendedS3DestinationDescription"])


def tags(aws: Aws) -> list[dict[str, str]]:
    name = described(aws)["DeliveryStreamName"]
    return list(aws("firehose").list_tags_for_delivery_stream(DeliveryStreamName=name)["Tags"])


def found_filter(aws: Aws) -> dict[str, Any]:
    (found,) = aws("logs").describe_subscription_filters(logGroupName="/it")["subscriptionFilters"]
    return dict(found)


def retention(aws: Aws) -> int | None:
    (found,) = aws("logs").describe_log_groups()["logGroups"]
    days: int | None = found.get("retentionInDays")
    return days


def test_a_log_group_is_created_updated_and_deleted(provider: Client, aws: Aws, group: Resource) -> None:
    assert (group.id, group["arn"]) == ("/it", "arn:aws:logs:us-east-1:123456789012:log-group:/it")
    assert retention(aws) == 7
    changes = provider.update(group, retentionInDays=None, tags={"Stack": "new"})
    assert changes == {"retentionInDays": "delete", "tags.Stack": "update"}
    assert (retention(aws), aws("logs").list_tags_log_group(logGroupName="/it")["tags"]) == (None, {"Stack": "new"})
    provider.delete(group)
    assert aws("logs").describe_log_groups()["logGroups"] == []


def test_manual_changes_to_a_log_group_are_reverted(provider: Client, aws: Aws, group: Resource) -> None:
    assert provider.refresh(group) == {}
    aws("logs").put_retention_policy(logGroupName="/it", retentionInDays=30)
    aws("logs").tag_log_group(logGroupName="/it", tags={"Stack": "mine"})
    assert provider.refresh(group) == {"retentionInDays": "update", "tags.Stack": "update"}
    assert group["retentionInDays"] == 30
    provider.update(group)
    assert (retention(aws), provider.refresh(group)) == (7, {})
    aws("logs").delete_log_group(logGroupName="/it")
    assert provider.refresh(group) is None


def test_a_stream_is_created_as_declared(provider: Client, aws: Aws, stream: Resource) -> None:
    assert stream.id == stream["arn"] == described(aws)["DeliveryStreamARN"]
    written = destination(aws)
    assert (written["BucketARN"], written["Prefix"]) == ("arn:aws:s3:::retained-lines", "logs/")
    assert written["BufferingHints"] == {"SizeInMBs": 64, "IntervalInSeconds": 900}
    assert described(aws)["DeliveryStreamEncryptionConfiguration"]["KeyType"] == "AWS_OWNED_CMK"
    assert tags(aws) == [{"Key": "Stack", "Value": "test"}]
    assert provider.update(stream) == {}


def test_a_filter_is_created_as_declared(provider: Client, aws: Aws, stream: Resource, subscription: Resource) -> None:
    found = found_filter(aws)
    assert (found["filterName"], found["filterPattern"]) == (subscription["name"], "")
    assert (found["destinationArn"], found["roleArn"]) == (stream["arn"], ROLE)
    assert provider.update(subscription) == {}


def test_a_stream_changes_in_place(provider: Client, aws: Aws, stream: Resource) -> None:
    changed = DESTINATION | {"prefix": "lines/", "bufferingSize": 5}
    off = ENCRYPTED | {"enabled": False}
    provider.update(stream, extendedS3Configuration=changed, serverSideEncryption=off, tags={"Stack": "new"})
    assert (destination(aws)["Prefix"], destination(aws)["BufferingHints"]["SizeInMBs"]) == ("lines/", 5)
    assert described(aws)["DeliveryStreamEncryptionConfiguration"]["Status"] == "DISABLED"
    assert tags(aws) == [{"Key": "Stack", "Value": "new"}]
    assert provider.update(stream, serverSideEncryption=ENCRYPTED) == {"serverSideEncryption.enabled": "update"}
    assert described(aws)["DeliveryStreamEncryptionConfiguration"]["Status"] == "ENABLED"


def test_a_filter_changes_in_place(provider: Client, aws: Aws, subscription: Resource) -> None:
    assert provider.update(subscription, filterPattern="ERROR") == {"filterPattern": "update"}
    assert found_filter(aws)["filterPattern"] == "ERROR"


def test_streams_and_filters_are_deleted(provider: Client, aws: Aws, stream: Resource, subscription: Resource) -> None:
    provider.delete(subscription)
    assert aws("logs").describe_subscription_filters(logGroupName="/it")["subscriptionFilters"] == []
    provider.delete(stream)
    assert aws("firehose").list_delivery_streams()["DeliveryStreamNames"] == []


def test_manual_changes_to_a_stream_are_reverted(provider: Client, aws: Aws, stream: Resource) -> None:
    assert provider.refresh(stream) == {}
    firehose, found = aws("firehose"), described(aws)
    firehose.update_destination(
        DeliveryStreamName=stream["name"],
        CurrentDeliveryStreamVersionId=found["VersionId"],
        DestinationId=found["Destinations"][0]["DestinationId"],
        ExtendedS3DestinationUpdate={"Prefix": "mine/"},
    )
    firehose.stop_delivery_stream_encryption(DeliveryStreamName=stream["name"])
    firehose.untag_delivery_stream(DeliveryStreamName=stream["name"], TagKeys=["Stack"])
    assert provider.refresh(stream) == {
        "extendedS3Configuration.prefix": "update",
        "serverSideEncryption.enabled": "update",
        "tags.Stack": "add",
    }
    provider.update(stream)
    assert (destination(aws)["Prefix"], tags(aws)) == ("logs/", [{"Key": "Stack", "Value": "test"}])
    assert provider.refresh(stream) == {}


def test_manual_changes_to_a_filter_are_reverted(provider: Client, aws: Aws, subscription: Resource) -> None:
    assert provider.refresh(subscription) == {}
    retained = {key: found_filter(aws)[key] for key in ("logGroupName", "filterName", "destinationArn", "roleArn")}
    aws("logs").put_subscription_filter(**retained, filterPattern="mine")
    assert provider.refresh(subscription) == {"filterPattern": "update"}
    provider.update(subscription)
    assert found_filter(aws)["filterPattern"] == ""


def test_manually_deleted_resources_are_not_found(
    provider: Client, aws: Aws, stream: Resource, subscription: Resource
) -> None:
    aws("logs").delete_subscription_filter(logGroupName="/it", filterName=subscription["name"])
    aws("firehose").delete_delivery_stream(DeliveryStreamName=stream["name"])
    assert (provider.refresh(stream), provider.refresh(subscription)) == (None, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"destination": "splunk"}, "destination: splunk: allowed is extended_s3 in a rehearsal"),
        (
            {"extendedS3Configuration": DESTINATION | {"bufferingSize": 129}},
            "bufferingSize: 129: allowed is at most 128, as Firehose has it",
        ),
        (
            {"extendedS3Configuration": DESTINATION | {"bufferingInterval": 901}},
            "bufferingInterval: 901: allowed is at most 900, as Firehose has it",
        ),
    ],
)
def test_a_stream_that_firehose_would_refuse_is_refused(
    provider: Client, stream: Resource, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CheckError, match=f"^{reason}$"):
        provider.diff(stream, **changes)

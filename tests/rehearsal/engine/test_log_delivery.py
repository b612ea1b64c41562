"""Streams to a bucket and who feeds them: each goes through its whole life against the emulator."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import ConfigValue
from pulumi.automation.errors import CommandError

from rehearsal.engine import Stack

from .conftest import Traffic, Workshop

pytestmark = pytest.mark.usefixtures("warm")
Client = Callable[[str], Any]
ACCOUNT = "123456789012"
DELIVERY = """
bucket = aws.s3.Bucket("it", bucket="kept-lines", force_destroy=True)
trust = '{{"Version": "2012-10-17", "Statement": []}}'
role = aws.iam.Role("it", name="writer", assume_role_policy=trust)
group = aws.cloudwatch.LogGroup("it", name="/it")
stream = aws.kinesis.FirehoseDeliveryStream(
    "it", name="{name}", destination="extended_s3", tags={{"Stack": "{stack}"}},
    server_side_encryption={{"enabled": {encrypted}, "key_type": "AWS_OWNED_CMK"}},
    extended_s3_configuration={{
        "bucket_arn": bucket.arn, "role_arn": role.arn, "prefix": "{prefix}", "buffering_size": {size},
        "buffering_interval": 900, "compression_format": "UNCOMPRESSED", "file_extension": ".json.gz",
    }},
)
filter = aws.cloudwatch.LogSubscriptionFilter(
    "it", name="all", log_group=group.name, filter_pattern="{pattern}", destination_arn=stream.arn, role_arn=role.arn
)
pulumi.export("stream", {{"id": stream.id, "arn": stream.arn, "name": stream.name}})
"""


def program(**values: Any) -> str:
    usual = {"name": "it", "stack": "test", "encrypted": True, "prefix": "logs/", "size": 64, "pattern": ""}
    return DELIVERY.format(**usual | values)


def described(aws: Client, name: str = "it") -> dict[str, Any]:
    return dict(aws("firehose").describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"])


def destination(aws: Client) -> dict[str, Any]:
    return dict(described(aws)["Destinations"][0]["ExtendedS3DestinationDescription"])


def tags(aws: Client) -> list[dict[str, str]]:
    return list(aws("firehose").list_tags_for_delivery_stream(DeliveryStreamName="it")["Tags"])


def subscription(aws: Client, group: str = "/it") -> dict[str, Any]:
    (found,) = aws("logs").describe_subscription_filters(logGroupName=group)["subscriptionFilters"]
    return dict(found)


def write(aws: Client, group: str, stream: str, *lines: str) -> None:
    logs = aws("logs")
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    events = [{"timestamp": int(time.time() * 1000), "message": line} for line in lines]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def archived(aws: Client, bucket: str, prefix: str) -> list[tuple[str, str, str]]:
    """Group, stream and line of all that lies below a prefix, as its objects hold it."""
    s3 = aws("s3")
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]
    records = [json.loads(gzip.decompress(s3.get_object(Bucket=bucket, Key=key)["Body"].read())) for key in keys]
    return sorted(
        (record["logGroup"], record["logStream"], event["message"])
        for record in records
        for event in record["logEvents"]
    )


def test_a_stream_and_its_feeder_are_made_as_asked(shop: Workshop, aws: Client, traffic: Traffic) -> None:
    assert shop.up(program()) == {"create": 6}
    arn = f"arn:aws:firehose:us-east-1:{ACCOUNT}:deliverystream/it"
    assert shop.outputs() == {"stream": {"id": arn, "arn": arn, "name": "it"}}
    written = destination(aws)
    assert (written["BucketARN"], written["Prefix"]) == ("arn:aws:s3:::kept-lines", "logs/")
    assert written["BufferingHints"] == {"SizeInMBs": 64, "IntervalInSeconds": 900}
    assert described(aws)["DeliveryStreamEncryptionConfiguration"]["KeyType"] == "AWS_OWNED_CMK"
    assert tags(aws) == [{"Key": "Stack", "Value": "test"}]
    fed = subscription(aws)
    role = f"arn:aws:iam::{ACCOUNT}:role/writer"
    assert (fed["filterName"], fed["filterPattern"], fed["destinationArn"], fed["roleArn"]) == ("all", "", arn, role)
    traffic.actions.clear()
    assert (shop.up(), traffic.actions) == ({}, [])


def test_they_change_in_place(shop: Workshop, aws: Client) -> None:
    shop.up(program())
    assert shop.up(program(prefix="lines/", size=5, encrypted=False, stack="new", pattern="ERROR")) == {"update": 2}
    assert (destination(aws)["Prefix"], destination(aws)["BufferingHints"]["SizeInMBs"]) == ("lines/", 5)
    assert described(aws)["DeliveryStreamEncryptionConfiguration"]["Status"] == "DISABLED"
    assert tags(aws) == [{"Key": "Stack", "Value": "new"}]
    assert subscription(aws)["filterPattern"] == "ERROR"
    assert shop.up(program()) == {"update": 2}
    assert described(aws)["DeliveryStreamEncryptionConfiguration"]["Status"] == "ENABLED"


def test_another_name_is_another_stream_to_which_the_feeder_turns(shop: Workshop, aws: Client) -> None:
    shop.up(program())
    assert shop.up(program(name="other")) == {"replace": 1, "update": 1}
    assert aws("firehose").list_delivery_streams()["DeliveryStreamNames"] == ["other"]
    assert subscription(aws)["destinationArn"].endswith("/other")


def test_they_go_with_what_was_written(shop: Workshop, aws: Client) -> None:
    shop.up(program())
    write(aws, "/it", "one", "a line")
    shop.stack.destroy()
    assert aws("firehose").list_delivery_streams()["DeliveryStreamNames"] == []
    assert aws("s3").list_buckets()["Buckets"] == []
    assert aws("logs").describe_log_groups()["logGroups"] == []


def test_what_hands_changed_is_put_right(shop: Workshop, aws: Client) -> None:
    shop.up(program())
    shop.stack.preview_refresh(expect_no_changes=True)
    firehose, found = aws("firehose"), described(aws)
    firehose.update_destination(
        DeliveryStreamName="it",
        CurrentDeliveryStreamVersionId=found["VersionId"],
        DestinationId=found["Destinations"][0]["DestinationId"],
        ExtendedS3DestinationUpdate={"Prefix": "mine/"},
    )
    firehose.stop_delivery_stream_encryption(DeliveryStreamName="it")
    firehose.untag_delivery_stream(DeliveryStreamName="it", TagKeys=["Stack"])
    kept = {key: subscription(aws)[key] for key in ("logGroupName", "filterName", "destinationArn", "roleArn")}
    aws("logs").put_subscription_filter(**kept, filterPattern="mine")
    with pytest.raises(CommandError, match="no changes were expected"):
        shop.stack.preview_refresh(expect_no_changes=True)
    shop.stack.refresh()
    assert shop.up() == {"update": 2}
    assert (destination(aws)["Prefix"], subscription(aws)["filterPattern"]) == ("logs/", "")
    assert described(aws)["DeliveryStreamEncryptionConfiguration"]["Status"] == "ENABLED"
    assert tags(aws) == [{"Key": "Stack", "Value": "test"}]
    shop.stack.preview_refresh(expect_no_changes=True)


def test_what_hands_deleted_is_made_again(shop: Workshop, aws: Client) -> None:
    shop.up(program())
    aws("logs").delete_subscription_filter(logGroupName="/it", filterName="all")
    aws("firehose").delete_delivery_stream(DeliveryStreamName="it")
    shop.stack.refresh()
    assert shop.up() == {"create": 2}
    assert subscription(aws)["destinationArn"] == described(aws)["DeliveryStreamARN"]


@pytest.mark.parametrize("kind", ["firehoseDeliveryStream:FirehoseDeliveryStream", "logSubscriptionFilter:Log"])
def test_one_whose_making_was_interrupted_is_found_again(shop: Workshop, aws: Client, kind: str) -> None:
    shop.up(program())
    path = shop.stack.folder / "state.json"
    data = json.loads(path.read_text())
    (lost,) = [each for each in data["resources"] if kind in each["type"]]
    data["resources"].remove(lost)
    data["begun"][lost["urn"]] = {"provider": "", "inputs": lost["inputs"]}
    path.write_text(json.dumps(data))
    shop.up()
    assert aws("firehose").list_delivery_streams()["DeliveryStreamNames"] == ["it"]
    assert subscription(aws)["filterName"] == "all"
    shop.stack.preview_refresh(expect_no_changes=True)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('destination="extended_s3"', 'destination="splunk"', "destination: splunk: allowed is extended_s3"),
        ('"buffering_size": 64', '"buffering_size": 129', "bufferingSize: 129: allowed is at most 128"),
        ('"buffering_interval": 900', '"buffering_interval": 901', "bufferingInterval: 901: allowed is at most 900"),
    ],
)
def test_a_stream_that_firehose_would_refuse_is_refused(shop: Workshop, before: str, after: str, told: str) -> None:
    with pytest.raises(CommandError, match=told):
        shop.up(program().replace(before, after))


def test_the_programs_own_archive_gets_the_lines_of_app_boot_and_system(
    stack: Stack, aws: Client, tmp_path: Path
) -> None:
    stack.set_config("logArchiveDays", ConfigValue("365"))
    stack.up()
    bucket = stack.outputs()["logArchiveBucket"].value
    for of in ("app", "boot", "system"):
        write(aws, f"/bluegreen/dev/{of}", "blue/v1/i-1/one", f"first of {of}", f"second of {of}")
    today = time.strftime("logs/%Y/%m/", time.gmtime())
    assert archived(aws, bucket, today) == [
        (f"/bluegreen/dev/{of}", "blue/v1/i-1/one", f"{nth} of {of}")
        for of in ("app", "boot", "system")
        for nth in ("first", "second")
    ]
    stack.preview_refresh(expect_no_changes=True)
    rules = aws("s3").get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert [(each["ID"], each.get("Expiration"), each.get("Transitions")) for each in rules] == [
        ("old-lines", {"Days": 365}, [{"Days": 30, "StorageClass": "GLACIER_IR"}]),
        ("unfinished-uploads", None, None),
    ]

    stack.set_config("logArchiveDays", ConfigValue("0"))
    stack.up()
    assert stack.outputs()["logArchiveBucket"].value == ""
    assert bucket not in [each["Name"] for each in aws("s3").list_buckets()["Buckets"]]
    write(aws, "/bluegreen/dev/app", "blue/v1/i-2/one", "to the group alone")

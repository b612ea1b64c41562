from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pulumi
import pytest

from ami.boot.user_data import LogGroups
from components.log_archive import LogArchive
from config.settings import LogSettings
from tests.declared import ACCOUNT, CONTEXT, REGION, Declaration, declare

TOPIC = "arn:aws:sns:eu-central-1:1:alerts"
GROUPS = LogGroups(app="/bluegreen/dev/app", boot="/bluegreen/dev/boot", system="/bluegreen/dev/system")
COLD = [{"days": 30, "storageClass": "GLACIER_IR"}]


def archive(days: int = 365, **context: Any) -> Declaration:
    def program() -> None:
        made = LogArchive(
            "log-archive",
            replace(CONTEXT, **context),
            LogSettings(archive_days=days),
            groups=pulumi.Output.from_input(GROUPS),
            topic_arn=TOPIC,
        )
        pulumi.export("archive", {"bucket": made.bucket, "alarm": made.alarm})

    return declare(program)


def test_what_stands() -> None:
    declared = archive()
    assert declared.table() == {
        *(("cloudwatch.LogSubscriptionFilter", f"log-archive-{of}") for of in ("app", "boot", "system")),
        ("cloudwatch.MetricAlarm", "log-archive-late"),
        ("kinesis.FirehoseDeliveryStream", "log-archive"),
        *((kind, name) for kind in ("iam.Role", "iam.RolePolicy") for name in ("log-archive", "log-archive-sender")),
        ("s3.Bucket", "log-archive"),
        ("s3.BucketLifecycleConfiguration", "log-archive"),
        ("s3.BucketOwnershipControls", "log-archive"),
        ("s3.BucketPolicy", "log-archive"),
        ("s3.BucketPublicAccessBlock", "log-archive"),
        ("s3.BucketServerSideEncryptionConfiguration", "log-archive"),
    }
    assert declared.outputs == {"archive": {"bucket": "log-archive-1a2b", "alarm": "dev-log-archive-late"}}


def test_every_line_of_each_group_goes_to_the_stream() -> None:
    declared = archive()
    filters = declared.all("cloudwatch.LogSubscriptionFilter")
    stream = declared.one("kinesis.FirehoseDeliveryStream")
    assert {name: each.inputs for name, each in filters.items()} == {
        f"log-archive-{of}": {
            "logGroup": f"/bluegreen/dev/{of}",
            "filterPattern": "",
            "destinationArn": stream.arn,
            "roleArn": declared.one("iam.Role", "log-archive-sender").arn,
        }
        for of in ("app", "boot", "system")
    }


def test_the_stream_writes_what_it_gets_encrypted_and_in_few_objects() -> None:
    declared = archive()
    stream = declared.one("kinesis.FirehoseDeliveryStream").inputs
    assert stream == {
        "destination": "extended_s3",
        "extendedS3Configuration": {
            "bucketArn": declared.one("s3.Bucket").arn,
            "roleArn": declared.one("iam.Role", "log-archive").arn,
            "prefix": "logs/",
            "bufferingSize": 64,
            "bufferingInterval": 900,
            "compressionFormat": "UNCOMPRESSED",
            "fileExtension": ".json.gz",
        },
        "serverSideEncryption": {"enabled": True, "keyType": "AWS_OWNED_CMK"},
        "tags": {"Stack": "dev"},
    }


@pytest.mark.parametrize(
    ("kind", "name", "policy"),
    [
        ("kinesis.FirehoseDeliveryStream", "log-archive", "log-archive"),
        *(("cloudwatch.LogSubscriptionFilter", f"log-archive-{of}", "log-archive-sender") for of in ("app", "boot")),
    ],
)
def test_a_role_is_named_only_with_its_policy(kind: str, name: str, policy: str) -> None:
    declared = archive()
    assert declared.one("iam.RolePolicy", policy).urn in declared.one(kind, name).dependencies


def test_the_roles_serve_one_service_each() -> None:
    roles = archive(boundary="arn:aws:iam::1:policy/limit").all("iam.Role")
    trusted = {name: json.loads(each.inputs["assumeRolePolicy"])["Statement"][0] for name, each in roles.items()}
    assert {name: each["Principal"] for name, each in trusted.items()} == {
        "log-archive": {"Service": "firehose.amazonaws.com"},
        "log-archive-sender": {"Service": "logs.amazonaws.com"},
    }
    own = {"ArnLike": {"aws:SourceArn": f"arn:aws:logs:{REGION}:{ACCOUNT}:*"}}
    assert trusted["log-archive-sender"]["Condition"] == own
    assert {each.inputs["path"] for each in roles.values()} == {"/bluegreen/dev/"}
    assert {each.inputs["permissionsBoundary"] for each in roles.values()} == {"arn:aws:iam::1:policy/limit"}


# S3 charges 90 days of the cold class at least: before 120 days it would cost more than it saves.
@pytest.mark.parametrize(("days", "turns"), [(31, None), (119, None), (120, COLD), (365, COLD)])
def test_lines_turn_cold_where_that_is_cheaper_and_go_after_their_days(days: int, turns: Any) -> None:
    old = archive(days=days).one("s3.BucketLifecycleConfiguration").inputs["rules"][0]
    assert (old["id"], old["expiration"], old.get("transitions")) == ("old-lines", {"days": days}, turns)


def test_people_hear_of_lines_that_wait() -> None:
    declared = archive()
    alarm = declared.one("cloudwatch.MetricAlarm").inputs
    assert (alarm["name"], alarm["threshold"], alarm["alarmActions"]) == ("dev-log-archive-late", 3600, [TOPIC])
    (age, judged) = alarm["metricQueries"]
    assert (age["metric"]["namespace"], age["metric"]["metricName"]) == ("AWS/Firehose", "DeliveryToS3.DataFreshness")
    assert age["metric"]["dimensions"] == {"DeliveryStreamName": "log-archive"}
    assert judged["expression"] == age["id"]


@pytest.mark.parametrize("chosen", [True, False])
def test_protection_and_emptying_follow_the_settings(chosen: bool) -> None:
    bucket = archive(protect=chosen, force_destroy=chosen).one("s3.Bucket")
    assert (bucket.protect, bucket.inputs["forceDestroy"]) == (chosen, chosen)

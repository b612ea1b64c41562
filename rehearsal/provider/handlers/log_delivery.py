"""Firehose delivery streams to S3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .base import (
    AwsClients,
    Created,
    Handler,
    Naming,
    Props,
    differs,
    from_response,
    is_not_found,
    rename_keys,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
    until,
)

BUCKET = "extended_s3"
MAX_MIB, MAX_SECONDS = 128, 900
TIMEOUT_S = 120.0
DISABLED_STATES = ("DISABLED", "DISABLING")


class FirehoseDeliveryStreamHandler(Handler):
    pulumi_type = "aws:kinesis/firehoseDeliveryStream:FirehoseDeliveryStream"
    naming = Naming(max_length=64)
    tagged = True
    force_new = frozenset({"name", "destination"})
    _NAMES: ClassVar = {
        "bucketArn": "BucketARN",
        "roleArn": "RoleARN",
        "prefix": "Prefix",
        "compressionFormat": "CompressionFormat",
        "fileExtension": "FileExtension",
    }
    _BUFFERING: ClassVar = {"bufferingSize": "SizeInMBs", "bufferingInterval": "IntervalInSeconds"}

    def check(self, inputs: Props) -> None:
        if inputs["destination"] != BUCKET:
            raise ValueError(f"destination: {inputs['destination']}: allowed is {BUCKET} in a rehearsal")
        bucket = inputs.get("extendedS3Configuration") or {}
        for key, max_length in (("bufferingSize", MAX_MIB), ("bufferingInterval", MAX_SECONDS)):
            if (bucket.get(key) or 0) > max_length:
                raise ValueError(f"{key}: {bucket[key]}: allowed is at most {max_length}, as Firehose has it")

    def create(self, aws: AwsClients, new: Props) -> Created:
        name = new["name"]
        encryption = {"DeliveryStreamEncryptionConfigurationInput": _key(new)} if _is_encrypted(new) else {}
        created = aws.client("firehose").create_delivery_stream(
            DeliveryStreamName=name,
            ExtendedS3DestinationConfiguration=self._destination(new),
            Tags=tag_list(tags_of(new)),
            **encryption,
        )
        return Created(id=created["DeliveryStreamARN"])

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        name = new["name"]
        until(lambda: _not_ready(_describe(aws, name)), what=f"the stream {name}", timeout_s=TIMEOUT_S)

    def _destination(self, new: Props) -> dict[str, Any]:
        bucket = new["extendedS3Configuration"]
        buffering = rename_keys(bucket, self._BUFFERING)
        return rename_keys(bucket, self._NAMES) | ({"BufferingHints": buffering} if buffering else {})

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = _describe(aws, inputs["name"])
        if actual is None:
            return None
        return {"arn": actual["DeliveryStreamARN"]}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        name = inputs["name"]
        actual = _describe(aws, name)
        if actual is None:
            return None
        destination = actual["Destinations"][0]["ExtendedS3DestinationDescription"]
        buffering = from_response(destination.get("BufferingHints") or {}, self._BUFFERING)
        tags = aws.client("firehose").list_tags_for_delivery_stream(DeliveryStreamName=name)["Tags"]
        return {
            "extendedS3Configuration": from_response(destination, self._NAMES) | buffering,
            "serverSideEncryption": _current_encryption(actual.get("DeliveryStreamEncryptionConfiguration") or {}),
            "tags": tag_map(tags),
        }

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        name = new["name"]
        if differs(old, new, "extendedS3Configuration"):
            self._redirect(aws, name, new)
        if differs(old, new, "serverSideEncryption"):
            self._encrypt(aws, name, new)
        firehose, (removed, updated) = aws.client("firehose"), tag_changes(old, new)
        if removed:
            firehose.untag_delivery_stream(DeliveryStreamName=name, TagKeys=removed)
        if updated:
            firehose.tag_delivery_stream(DeliveryStreamName=name, Tags=tag_list(updated))

    def _redirect(self, aws: AwsClients, name: str, new: Props) -> None:
        """Update the stream's only destination. Firehose requires the current version id."""
        actual = _describe(aws, name) or {}
        aws.client("firehose").update_destination(
            DeliveryStreamName=name,
            CurrentDeliveryStreamVersionId=actual["VersionId"],
            DestinationId=actual["Destinations"][0]["DestinationId"],
            ExtendedS3DestinationUpdate=self._destination(new),
        )

    def _encrypt(self, aws: AwsClients, name: str, new: Props) -> None:
        firehose = aws.client("firehose")
        if _is_encrypted(new):
            firehose.start_delivery_stream_encryption(
                DeliveryStreamName=name, DeliveryStreamEncryptionConfigurationInput=_key(new)
            )
        else:
            firehose.stop_delivery_stream_encryption(DeliveryStreamName=name)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        name = state["name"]
        aws.client("firehose").delete_delivery_stream(DeliveryStreamName=name)
        # Until it is deleted it may still write objects, which would prevent the deletion of its bucket.
        until(
            lambda: None if _describe(aws, name) is None else "it still exists",
            what=f"deletion of the stream {name}",
            timeout_s=TIMEOUT_S,
        )


def _describe(aws: AwsClients, name: str) -> dict[str, Any] | None:
    try:
        response = aws.client("firehose").describe_delivery_stream(DeliveryStreamName=name)
    except Exception as error:
        if is_not_found(error):
            return None
        raise
    return dict(response["DeliveryStreamDescription"])


def _not_ready(actual: Mapping[str, Any] | None) -> str | None:
    status = actual["DeliveryStreamStatus"] if actual else "missing"
    return None if status == "ACTIVE" else f"it is {status}"


def _is_encrypted(props: Props) -> bool:
    return bool((props.get("serverSideEncryption") or {}).get("enabled"))


def _key(props: Props) -> dict[str, Any]:
    return {"KeyType": props["serverSideEncryption"].get("keyType") or "AWS_OWNED_CMK"}


def _current_encryption(actual: Mapping[str, Any]) -> Props:
    enabled = bool(actual.get("KeyType")) and actual.get("Status") not in DISABLED_STATES
    return {"enabled": enabled, "keyType": actual.get("KeyType")}

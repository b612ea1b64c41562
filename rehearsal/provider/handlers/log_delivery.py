"""Firehose delivery streams to a bucket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .base import (
    Cloud,
    Created,
    Handler,
    Naming,
    Props,
    differs,
    from_answer,
    is_gone,
    rename_keys,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
    until,
)

BUCKET = "extended_s3"
MAX_MIB, MAX_SECONDS = 128, 900
DEADLINE_S = 120.0
OFF = ("DISABLED", "DISABLING")


class FirehoseDeliveryStream(Handler):
    pulumi_type = "aws:kinesis/firehoseDeliveryStream:FirehoseDeliveryStream"
    naming = Naming(limit=64)
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
        for key, limit in (("bufferingSize", MAX_MIB), ("bufferingInterval", MAX_SECONDS)):
            if (bucket.get(key) or 0) > limit:
                raise ValueError(f"{key}: {bucket[key]}: allowed is at most {limit}, as Firehose has it")

    def create(self, cloud: Cloud, new: Props) -> Created:
        name = new["name"]
        encryption = {"DeliveryStreamEncryptionConfigurationInput": _key(new)} if _is_encrypted(new) else {}
        created = cloud.client("firehose").create_delivery_stream(
            DeliveryStreamName=name,
            ExtendedS3DestinationConfiguration=self._destination(new),
            Tags=tag_list(tags_of(new)),
            **encryption,
        )
        return Created(id=created["DeliveryStreamARN"])

    def complete(self, cloud: Cloud, id: str, new: Props) -> None:
        name = new["name"]
        until(lambda: _not_ready(_described(cloud, name)), what=f"the stream {name}", timeout_s=DEADLINE_S)

    def _destination(self, new: Props) -> dict[str, Any]:
        bucket = new["extendedS3Configuration"]
        buffering = rename_keys(bucket, self._BUFFERING)
        return rename_keys(bucket, self._NAMES) | ({"BufferingHints": buffering} if buffering else {})

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = _described(cloud, inputs["name"])
        if found is None:
            return None
        return {"arn": found["DeliveryStreamARN"]}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        name = inputs["name"]
        found = _described(cloud, name)
        if found is None:
            return None
        destination = found["Destinations"][0]["ExtendedS3DestinationDescription"]
        buffering = from_answer(destination.get("BufferingHints") or {}, self._BUFFERING)
        tags = cloud.client("firehose").list_tags_for_delivery_stream(DeliveryStreamName=name)["Tags"]
        return {
            "extendedS3Configuration": from_answer(destination, self._NAMES) | buffering,
            "serverSideEncryption": _current_encryption(found.get("DeliveryStreamEncryptionConfiguration") or {}),
            "tags": tag_map(tags),
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        name = new["name"]
        if differs(old, new, "extendedS3Configuration"):
            self._redirect(cloud, name, new)
        if differs(old, new, "serverSideEncryption"):
            self._encrypt(cloud, name, new)
        firehose, (gone, present) = cloud.client("firehose"), tag_changes(old, new)
        if gone:
            firehose.untag_delivery_stream(DeliveryStreamName=name, TagKeys=gone)
        if present:
            firehose.tag_delivery_stream(DeliveryStreamName=name, Tags=tag_list(present))

    def _redirect(self, cloud: Cloud, name: str, new: Props) -> None:
        """A stream's only destination, of the version that was just seen: Firehose refuses an older one."""
        found = _described(cloud, name) or {}
        cloud.client("firehose").update_destination(
            DeliveryStreamName=name,
            CurrentDeliveryStreamVersionId=found["VersionId"],
            DestinationId=found["Destinations"][0]["DestinationId"],
            ExtendedS3DestinationUpdate=self._destination(new),
        )

    def _encrypt(self, cloud: Cloud, name: str, new: Props) -> None:
        firehose = cloud.client("firehose")
        if _is_encrypted(new):
            firehose.start_delivery_stream_encryption(
                DeliveryStreamName=name, DeliveryStreamEncryptionConfigurationInput=_key(new)
            )
        else:
            firehose.stop_delivery_stream_encryption(DeliveryStreamName=name)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        name = state["name"]
        cloud.client("firehose").delete_delivery_stream(DeliveryStreamName=name)
        # While it goes it may still write, and what it writes would keep its bucket.
        until(
            lambda: None if _described(cloud, name) is None else "it is still there",
            what=f"the end of the stream {name}",
            timeout_s=DEADLINE_S,
        )


def _described(cloud: Cloud, name: str) -> dict[str, Any] | None:
    try:
        answer = cloud.client("firehose").describe_delivery_stream(DeliveryStreamName=name)
    except Exception as error:
        if is_gone(error):
            return None
        raise
    return dict(answer["DeliveryStreamDescription"])


def _not_ready(found: Mapping[str, Any] | None) -> str | None:
    status = found["DeliveryStreamStatus"] if found else "gone"
    return None if status == "ACTIVE" else f"it is {status}"


def _is_encrypted(props: Props) -> bool:
    return bool((props.get("serverSideEncryption") or {}).get("enabled"))


def _key(props: Props) -> dict[str, Any]:
    return {"KeyType": props["serverSideEncryption"].get("keyType") or "AWS_OWNED_CMK"}


def _current_encryption(found: Mapping[str, Any]) -> Props:
    enabled = bool(found.get("KeyType")) and found.get("Status") not in OFF
    return {"enabled": enabled, "keyType": found.get("KeyType")}

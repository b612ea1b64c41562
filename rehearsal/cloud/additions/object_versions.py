"""A version of an object that is named goes alone, also from a bucket whose versioning is suspended."""

from __future__ import annotations

from typing import Any

from moto.s3.models import FakeDeleteMarker, S3Backend

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import put_into

GAPS = [
    Gap(
        service="s3",
        action="DeleteObjects",
        reason="while versioning is suspended, moto takes all versions of a key, and breaks on a delete marker; "
        "here the named version goes, as when a bucket is emptied before it is deleted",
    ),
]

_delete_plain = S3Backend.delete_object


def extend() -> None:
    put_into(S3Backend, delete_object=_delete_object)


def _delete_object(
    self: Any, bucket_name: str, key_name: str, version_id: str | None = None, bypass: bool = False
) -> tuple[bool, dict[str, Any]]:
    keys, suspended = self.get_bucket(bucket_name).keys, self.get_bucket(bucket_name).versioning_status == "Suspended"
    if version_id is None or not suspended:
        return _delete_plain(self, bucket_name, key_name, version_id, bypass)
    named = [each for each in keys.getlist(key_name, []) if str(each.version_id) == version_id]
    kept = [each for each in keys.getlist(key_name, []) if each not in named]
    keys.setlist(key_name, kept)
    if not kept:
        dict.pop(keys, key_name)
    marker = any(isinstance(each, FakeDeleteMarker) for each in named)
    return bool(named), {"version-id": version_id} | ({"delete-marker": "true"} if marker else {})

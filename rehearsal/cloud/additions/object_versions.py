"""S3 object versions: deletion of a single version while versioning is suspended."""

from __future__ import annotations

from typing import Any

from moto.s3.models import FakeDeleteMarker, S3Backend

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import replace_methods

GAPS = [
    Gap(
        service="s3",
        action="DeleteObjects",
        reason="while versioning is suspended, moto deletes all versions of a key, and fails on a delete marker; "
        "here only the given version is deleted, as when a bucket is emptied before its deletion",
    ),
]

_delete_plain = S3Backend.delete_object


def extend() -> None:
    replace_methods(S3Backend, delete_object=_delete_object)


def _delete_object(
    self: Any, bucket_name: str, key_name: str, version_id: str | None = None, bypass: bool = False
) -> tuple[bool, dict[str, Any]]:
    keys, suspended = self.get_bucket(bucket_name).keys, self.get_bucket(bucket_name).versioning_status == "Suspended"
    if version_id is None or not suspended:
        return _delete_plain(self, bucket_name, key_name, version_id, bypass)
    selected = [version for version in keys.getlist(key_name, []) if str(version.version_id) == version_id]
    remaining = [version for version in keys.getlist(key_name, []) if version not in selected]
    keys.setlist(key_name, remaining)
    if not remaining:
        dict.pop(keys, key_name)
    marker = any(isinstance(version, FakeDeleteMarker) for version in selected)
    return bool(selected), {"version-id": version_id} | ({"delete-marker": "true"} if marker else {})

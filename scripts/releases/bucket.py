"""Releases in the artifacts bucket: keys, manifests (release.json), and breaking migrations between two releases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from ami.boot.unpack import BundleKind
from ami.boot.user_data import bundle_key
from scripts.cli.exits import UsageError

# A listing has whole seconds, by S3's clock.
CLOCK_SLACK = timedelta(seconds=5)


class Migration(StrEnum):
    """Effect of a release on the database: whether the previous release can still run on it."""

    NONE = "none"
    ADDITIVE = "additive"
    BREAKING = "breaking"


@dataclass(frozen=True, kw_only=True)
class ReleaseManifest:
    """Content of release.json; the copy inside the bundle lacks checksum, size and time of the finished bundle."""

    version: str
    commit: str
    kind: BundleKind
    migration: Migration
    sha256: str = ""
    size: int = 0
    created: str = ""

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> ReleaseManifest:
        values = {**raw, "kind": BundleKind(raw["kind"]), "migration": Migration(raw["migration"])}
        return cls(**{name: value for name, value in values.items() if name in cls.__dataclass_fields__})

    def bundled_json(self) -> bytes:
        values = {"version": self.version, "commit": self.commit, "kind": self.kind, "migration": self.migration}
        return json.dumps(values, indent=1).encode()

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=1).encode()


def manifest_key(version: str) -> str:
    return f"releases/{version}/release.json"


def bundle_url(bucket: str, version: str) -> str:
    return f"s3://{bucket}/{bundle_key(version)}"


def find(s3: Any, bucket: str, version: str) -> ReleaseManifest | None:
    from botocore.exceptions import ClientError

    try:
        body = s3.get_object(Bucket=bucket, Key=manifest_key(version))["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
    return ReleaseManifest.parse(json.loads(body))


def require(s3: Any, bucket: str, version: str) -> ReleaseManifest:
    if found := find(s3, bucket, version):
        return found
    known = ", ".join(sorted(_published(s3, bucket))) or "none"
    raise UsageError(f"release {version} was never published to {bucket}; published: {known}")


def breaking_between(s3: Any, bucket: str, older: str, newer: str) -> list[str]:
    """The releases after `older`, up to `newer`, whose migration breaks the older ones; empty when `older` isn't older.

    A release that isn't in the bucket (a bundle from elsewhere) has no manifest and is ignored.
    """
    with ThreadPoolExecutor(8) as pool:
        manifests = pool.map(lambda version: find(s3, bucket, version) if version else None, (older, newer))
        first, last = manifests
        if first is None or last is None or first.created >= last.created:
            return []
        # By the listing's times, older releases need not be read.
        since = datetime.fromisoformat(first.created) - CLOCK_SLACK
        names = [name for name, stored in _published(s3, bucket).items() if stored >= since]
        between = [release for release in pool.map(lambda name: find(s3, bucket, name), names) if release]
    return sorted(
        release.version
        for release in between
        if first.created < release.created <= last.created and release.migration is Migration.BREAKING
    )


def _published(s3: Any, bucket: str) -> dict[str, datetime]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="releases/")
    items = [item for page in pages for item in page.get("Contents", [])]
    return {item["Key"].split("/")[1]: item["LastModified"] for item in items if item["Key"].endswith("/release.json")}

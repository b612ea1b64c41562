"""History of a stack: one object in the artifacts bucket for each run of a command that changed it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from ami.boot.messages import ChangeRecord, Kind, Outcome, body

UNREADABLE = "unreadable"


def write(s3: Any, bucket: str, stack: str, record: ChangeRecord, run_id: str) -> None:
    """A sanitized record as JSON. Raises botocore's errors."""
    # Sortable, and free of the colon that some tools trip over.
    key = f"{_prefix(stack)}{record.time.replace(':', '')}-{run_id[:8]}.json"
    s3.put_object(Bucket=bucket, Key=key, Body=body(record).encode(), ContentType="application/json")


def read(s3: Any, bucket: str, stack: str, newest: int = 10) -> list[ChangeRecord]:
    """The latest records, newest first; an object that can't be read gives one with outcome UNREADABLE."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=_prefix(stack))
    keys = sorted((item["Key"] for page in pages for item in page.get("Contents", [])), reverse=True)[:newest]
    with ThreadPoolExecutor(8) as pool:
        bodies = pool.map(lambda key: s3.get_object(Bucket=bucket, Key=key)["Body"].read(), keys)
        return [_parsed(key, body) for key, body in zip(keys, bodies, strict=True)]


def _parsed(key: str, text: bytes) -> ChangeRecord:
    try:
        return ChangeRecord.parse(json.loads(text))
    except (ValueError, TypeError, AttributeError):  # one bad object must not hide all others
        unknown = cast(Kind, UNREADABLE), cast(Outcome, UNREADABLE)
        return ChangeRecord(
            kind=unknown[0], outcome=unknown[1], stack="", time="-", seconds=0, error=key, who="-", host="-"
        )


def _prefix(stack: str) -> str:
    return f"deployments/{stack}/history/"

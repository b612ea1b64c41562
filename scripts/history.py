"""What was done to a stack, by whom, with what outcome: one object for each run in the artifacts bucket."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from scripts.lock import who

# The action of a rollback by the AWS API alone: Pulumi's state doesn't know of it until it is reconciled.
DIRECT_ROLLBACK = "direct rollback"


@dataclass(frozen=True, kw_only=True)
class Place:
    """What belongs together on one color: its release, AMI, ASG and target group."""

    color: str = ""
    release: str = ""
    ami: str = ""
    asg: str = ""
    target_group: str = ""

    def __str__(self) -> str:
        return f"{self.color} {self.release}".strip() or "-"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run of a script that changed, or tried to change, a stack."""

    action: str
    outcome: str
    seconds: float
    source: Place = field(default_factory=Place)
    target: Place = field(default_factory=Place)
    detail: str = ""
    why: str = ""
    """The operator's reason, or what was wrong with the release that users were taken from."""
    took_over: str = ""
    """Who held the lock that was broken for this run: they left no record of their own."""
    changed_resources: int = 0
    notice: str = ""
    """Whether people were told of it; empty when there was nothing to tell."""
    figures: dict[str, Any] = field(default_factory=dict)
    """What was measured: requests, errors, seconds of the stages."""
    who: str = field(default_factory=who)
    host: str = field(default_factory=socket.gethostname)
    when: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))

    def as_json(self) -> dict[str, Any]:
        told = asdict(self)
        source, target = told.pop("source"), told.pop("target")
        return {**told, "from": source, "to": target}

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Record:
        """Fields that another version of this project wrote are left out."""
        places = {
            name: Place(**_known(Place, raw.get(key, {}))) for name, key in (("source", "from"), ("target", "to"))
        }
        return cls(**{**_known(cls, raw), **places})


def _known(kind: type, raw: Mapping[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in raw.items() if name in names}


def write(s3: Any, bucket: str, stack: str, record: Record, run_id: str) -> None:
    # Sortable, and free of the colon and the plus that some tools trip over.
    when = record.when.replace(":", "").replace("+0000", "Z")
    key = f"{_prefix(stack)}{when}-{run_id[:8]}.json"
    body = json.dumps(record.as_json(), indent=1).encode()
    s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")


def read(s3: Any, bucket: str, stack: str, newest: int = 10) -> list[Record]:
    """The newest records, the newest first."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=_prefix(stack))
    keys = sorted((item["Key"] for page in pages for item in page.get("Contents", [])), reverse=True)[:newest]
    with ThreadPoolExecutor(8) as pool:
        bodies = pool.map(lambda key: s3.get_object(Bucket=bucket, Key=key)["Body"].read(), keys)
        return [_parsed(key, body) for key, body in zip(keys, bodies, strict=True)]


def _parsed(key: str, body: bytes) -> Record:
    try:
        return Record.parse(json.loads(body))
    except (ValueError, TypeError, AttributeError):  # one bad object must not hide all others
        return Record(action="unknown", outcome="unreadable", seconds=0, detail=key, who="-", host="-", when="-")


def _prefix(stack: str) -> str:
    return f"deployments/{stack}/history/"

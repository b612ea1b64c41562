"""One script at a time changes a stack: whoever does holds an object in the artifacts bucket, and can be named."""

from __future__ import annotations

import getpass
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from scripts.exits import LockedError
from scripts.interrupts import shielded


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who works on a stack since when."""

    holder: str
    host: str
    pid: int
    since: str
    action: str
    id: str
    took_over: str = ""
    """Whose lock was broken for this one, in the words of this class."""

    def __str__(self) -> str:
        return f"{self.holder} on {self.host} (pid {self.pid}) for {self.action} since {self.since}"


def me(action: str) -> Holder:
    return Holder(
        holder=who(),
        host=socket.gethostname(),
        pid=os.getpid(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        action=action,
        id=uuid.uuid4().hex,
    )


def who() -> str:
    """The person, or in CI the one whose push started the run."""
    return os.environ.get("GITHUB_ACTOR") or getpass.getuser()


@contextmanager
def locked(s3: Any, bucket: str, stack: str, action: str, *, break_lock: bool = False) -> Iterator[Holder]:
    """Hold the stack's lock, or raise LockedError naming the holder; given back however the block ends."""
    key, mine = f"deployments/{stack}/lock.json", me(action)
    if break_lock:
        mine = replace(mine, took_over=str(_read(s3, bucket, key) or ""))
        s3.delete_object(Bucket=bucket, Key=key)
    try:
        _take(s3, bucket, key, mine)
        yield mine
    finally:
        with shielded():
            _give_back(s3, bucket, key, mine)


def holder(s3: Any, bucket: str, stack: str) -> Holder | None:
    return _read(s3, bucket, f"deployments/{stack}/lock.json")


def _take(s3: Any, bucket: str, key: str, mine: Holder) -> None:
    from botocore.exceptions import ClientError

    body = json.dumps(asdict(mine)).encode()
    try:
        # S3 decides who is first: it stores the object only when there is none.
        s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*", ContentType="application/json")
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
            raise
        raise LockedError(_refusal(_read(s3, bucket, key))) from error


def _refusal(other: Holder | None) -> str:
    if other is None:
        return "somebody else took the stack's lock at this moment; try again"
    gone = other.host == socket.gethostname() and not _runs(other.pid)
    return f"the stack is locked by {other}; " + (
        "that process is gone: take the lock over with --break-lock"
        if gone
        else "wait for it to end, or, when you know that it is dead, use --break-lock"
    )


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(s3: Any, bucket: str, key: str) -> Holder | None:
    from botocore.exceptions import ClientError

    try:
        return Holder(**json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise


def _give_back(s3: Any, bucket: str, key: str, mine: Holder) -> None:
    # Only our own: the lock may have been broken and taken by another meanwhile.
    if _read(s3, bucket, key) == mine:
        s3.delete_object(Bucket=bucket, Key=key)

"""Lock of a stack: an object in the artifacts bucket that names its holder, so that one run at a time changes it."""

from __future__ import annotations

import getpass
import json
import os
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from scripts.cli.exits import LockedError
from scripts.cli.interrupts import uninterruptible


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a stack's lock."""

    holder: str
    host: str
    pid: int
    since: str
    action: str
    id: str
    lock_broken: str = ""
    """The holder whose lock was broken for this one, as `str` of this class."""
    stage: str = ""
    """The current stage of the holder's command, for operators who find the lock of a killed process."""
    stage_since: str = ""

    def __str__(self) -> str:
        text = f"{self.holder} on {self.host} (pid {self.pid}) for {self.action} since {self.since}"
        return f"{text}, in the stage `{self.stage}` since {self.stage_since}" if self.stage else text

    @property
    def is_gone(self) -> bool | None:
        """Whether its process has ended; None for that of another host."""
        return is_gone(self.host, self.pid)

    @classmethod
    def parse(cls, body: bytes) -> Holder:
        """From the lock's JSON; what another version wrote, or what can't be read, is a holder too."""
        try:
            raw = json.loads(body)
        except ValueError:
            raw = None
        if not isinstance(raw, Mapping):
            raw = {}
        unknown: dict[str, Any] = {name: "unknown" for name in ("holder", "host", "since", "action", "id")}
        known = {each.name for each in fields(cls)}
        return cls(**{**unknown, "pid": 0, **{name: value for name, value in raw.items() if name in known}})


def is_gone(host: str, pid: int) -> bool | None:
    """Whether a process has ended; None for that of another host."""
    return None if host != socket.gethostname() else not _runs(pid)


def me(action: str) -> Holder:
    return Holder(
        holder=who(),
        host=socket.gethostname(),
        pid=os.getpid(),
        since=_now(),
        action=action,
        id=uuid.uuid4().hex,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def who() -> str:
    """The operator's user name, or in CI the actor of the workflow run."""
    if actor := os.environ.get("GITHUB_ACTOR"):
        return actor
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, mostly: a user id without a name
        return f"uid {os.getuid()}"


@contextmanager
def locked(
    s3: Any,
    bucket: str,
    stack: str,
    action: str,
    *,
    break_lock: bool = False,
    required: bool = True,
    note: Callable[[str], None] = lambda _: None,
) -> Iterator[Holder]:
    """Hold the stack's lock, or raise LockedError naming the holder; released however the block ends.

    A failed release is only noted: how the block ended matters more. When S3 fails, a lock that is not `required` is
    skipped, which is noted; one held by another run still raises.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    key, mine = f"deployments/{stack}/lock.json", me(action)
    try:
        try:
            if break_lock:
                mine = replace(mine, lock_broken=str(_read(s3, bucket, key) or ""))
                s3.delete_object(Bucket=bucket, Key=key)
            _acquire(s3, bucket, key, mine)
        except (ClientError, BotoCoreError) as error:
            if required:
                raise
            note(f"going on without the stack's lock, S3 failed: {error}")
        yield mine
    finally:
        with uninterruptible():
            if problem := _release(s3, bucket, key, mine):
                note(f"the stack's lock could not be released, the next run must say --break-lock: {problem}")


def holder(s3: Any, bucket: str, stack: str) -> Holder | None:
    return _read(s3, bucket, f"deployments/{stack}/lock.json")


def enter_stage(s3: Any, bucket: str, stack: str, mine: Holder, stage: str) -> None:
    """Write the current stage into the lock. Raises botocore's errors; leaves another run's lock alone."""
    key = f"deployments/{stack}/lock.json"
    found = s3.get_object(Bucket=bucket, Key=key)
    if Holder.parse(found["Body"].read()).id != mine.id:
        return
    body = json.dumps(asdict(replace(mine, stage=stage, stage_since=_now()))).encode()
    s3.put_object(Bucket=bucket, Key=key, Body=body, IfMatch=found["ETag"], ContentType="application/json")


def _acquire(s3: Any, bucket: str, key: str, mine: Holder) -> None:
    from botocore.exceptions import ClientError

    body = json.dumps(asdict(mine)).encode()
    try:
        # Atomic: S3 stores the object only when there is none.
        s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*", ContentType="application/json")
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
            raise
        other = _read(s3, bucket, key)
        if other == mine:
            return  # the first attempt succeeded, and its response was lost
        raise LockedError(_refusal(other)) from error


def _refusal(other: Holder | None) -> str:
    if other is None:
        return "another run took the stack's lock at this moment; try again"
    return f"the stack is locked by {other}; " + (
        "that process is gone: take over the lock with --break-lock"
        if other.is_gone
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
        return Holder.parse(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise


def _release(s3: Any, bucket: str, key: str, mine: Holder) -> str:
    """Delete the lock; why that failed, or nothing."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        # Only our own: another run may have broken it meanwhile.
        found = _read(s3, bucket, key)
        if found and found.id == mine.id:
            s3.delete_object(Bucket=bucket, Key=key)
    except (ClientError, BotoCoreError) as error:
        return str(error)
    return ""

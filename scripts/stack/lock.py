"""One script at a time changes a stack: whoever does holds an object in the artifacts bucket, and can be named."""

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
from scripts.cli.interrupts import shielded


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who works on a stack since when."""

    holder: str
    host: str
    pid: int
    since: str
    action: str
    id: str
    lock_broken: str = ""
    """Whose lock was broken for this one, in the words of this class."""
    stage: str = ""
    """What is done now, as the holder's script names it: for whoever finds the lock of one that was killed."""
    stage_since: str = ""

    def __str__(self) -> str:
        told = f"{self.holder} on {self.host} (pid {self.pid}) for {self.action} since {self.since}"
        return f"{told}, in the stage `{self.stage}` since {self.stage_since}" if self.stage else told

    @property
    def is_gone(self) -> bool | None:
        """Whether its process has ended; None for that of another host."""
        return is_gone(self.host, self.pid)

    @classmethod
    def parse(cls, body: bytes) -> Holder:
        """What another version of this script wrote is a holder, too, and so is what nobody can read."""
        try:
            told = json.loads(body)
        except ValueError:
            told = None
        if not isinstance(told, Mapping):
            told = {}
        unknown: dict[str, Any] = {name: "unknown" for name in ("holder", "host", "since", "action", "id")}
        known = {each.name for each in fields(cls)}
        return cls(**{**unknown, "pid": 0, **{name: value for name, value in told.items() if name in known}})


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
    """The person, or in CI the one whose push started the run."""
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
    """Hold the stack's lock, or raise LockedError naming the holder; given back however the block ends.

    A lock that can't be given back is noted only: what the block did, and how it ended, matters more. One that is not
    `required` is gone without, which is noted, when S3 fails; held by another it still raises.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    key, mine = f"deployments/{stack}/lock.json", me(action)
    try:
        try:
            if break_lock:
                mine = replace(mine, lock_broken=str(_read(s3, bucket, key) or ""))
                s3.delete_object(Bucket=bucket, Key=key)
            _take(s3, bucket, key, mine)
        except (ClientError, BotoCoreError) as error:
            if required:
                raise
            note(f"without the stack's lock, which S3 did not give: {error}")
        yield mine
    finally:
        with shielded():
            if trouble := _give_back(s3, bucket, key, mine):
                note(f"the stack's lock could not be given back, the next run must say --break-lock: {trouble}")


def holder(s3: Any, bucket: str, stack: str) -> Holder | None:
    return _read(s3, bucket, f"deployments/{stack}/lock.json")


def enter_stage(s3: Any, bucket: str, stack: str, mine: Holder, stage: str) -> None:
    """Write into the lock what is done from now on. Raises botocore's errors, and does nothing to another's lock."""
    key = f"deployments/{stack}/lock.json"
    found = s3.get_object(Bucket=bucket, Key=key)
    if Holder.parse(found["Body"].read()).id != mine.id:
        return
    body = json.dumps(asdict(replace(mine, stage=stage, stage_since=_now()))).encode()
    s3.put_object(Bucket=bucket, Key=key, Body=body, IfMatch=found["ETag"], ContentType="application/json")


def _take(s3: Any, bucket: str, key: str, mine: Holder) -> None:
    from botocore.exceptions import ClientError

    body = json.dumps(asdict(mine)).encode()
    try:
        # S3 decides who is first: it stores the object only when there is none.
        s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*", ContentType="application/json")
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
            raise
        other = _read(s3, bucket, key)
        if other == mine:
            return  # the first try got through, and its answer did not
        raise LockedError(_refusal(other)) from error


def _refusal(other: Holder | None) -> str:
    if other is None:
        return "somebody else took the stack's lock at this moment; try again"
    return f"the stack is locked by {other}; " + (
        "that process is gone: take the lock over with --break-lock"
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


def _give_back(s3: Any, bucket: str, key: str, mine: Holder) -> str:
    """Why it could not be, or nothing."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        # Only our own: the lock may have been broken and taken by another meanwhile.
        found = _read(s3, bucket, key)
        if found and found.id == mine.id:
            s3.delete_object(Bucket=bucket, Key=key)
    except (ClientError, BotoCoreError) as error:
        return str(error)
    return ""

"""Exit codes of the commands, and the errors that carry one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Exit codes of all commands; 2 is a wrong option or argument, as everywhere."""

    OK = 0
    FAILED = 1
    """The command failed; the message says what it left."""
    USAGE = 2
    REFUSED = 3
    """A check said no; nothing was changed."""
    LOCKED = 4
    """Another run changes this stack; the message names the lock's holder."""
    ROLLED_BACK = 5
    """The traffic was shifted, the release was bad, and the traffic is back where it was."""
    ROLLBACK_FAILED = 6
    """The release is bad, and its rollback failed: an operator must act now."""
    DRIFTED = 7
    """The stack is not what its program and config say; nothing was changed. Pulumi's CLI has the same code for it."""
    INTERRUPTED = 130


class ScriptError(Exception):
    """A command's failure, with the code to exit with."""

    code = Exit.FAILED

    def __init__(self, message: str = "", details: Mapping[str, Any] | None = None) -> None:
        """`details` are further keys of the JSON document."""
        super().__init__(message)
        self.details = dict(details or {})


class UsageError(ScriptError):
    code = Exit.USAGE


class RefusedError(ScriptError):
    code = Exit.REFUSED


class LockedError(ScriptError):
    code = Exit.LOCKED


class RolledBackError(ScriptError):
    code = Exit.ROLLED_BACK


class RollbackFailedError(ScriptError):
    code = Exit.ROLLBACK_FAILED


class InterruptedByUserError(ScriptError):
    code = Exit.INTERRUPTED

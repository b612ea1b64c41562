"""How a script ends: the exit codes, and the errors that carry one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Exit codes of all scripts; 2 is a wrong option or argument, as everywhere."""

    OK = 0
    FAILED = 1
    """It was tried and didn't work; the message says what is left."""
    USAGE = 2
    REFUSED = 3
    """A check said no; nothing was changed."""
    LOCKED = 4
    """Somebody else works on this stack; the message names the holder."""
    TURNED_BACK = 5
    """Users were switched, the smoke test failed, and they are back where they were."""
    STUCK = 6
    """Users are where they should not be, and the way back failed: a person must act now."""
    DRIFTED = 7
    """The stack is not what its program and config say; nothing was changed. Pulumi's CLI has the same code for it."""
    INTERRUPTED = 130


class ScriptError(Exception):
    """A script's end that isn't success, with the code to exit with."""

    code = Exit.FAILED

    def __init__(self, message: str = "", details: Mapping[str, Any] | None = None) -> None:
        """`details` stand beside the message in a JSON answer."""
        super().__init__(message)
        self.details = dict(details or {})


class UsageError(ScriptError):
    code = Exit.USAGE


class RefusedError(ScriptError):
    code = Exit.REFUSED


class LockedError(ScriptError):
    code = Exit.LOCKED


class TurnedBackError(ScriptError):
    code = Exit.TURNED_BACK


class StuckError(ScriptError):
    code = Exit.STUCK


class InterruptedByUserError(ScriptError):
    code = Exit.INTERRUPTED

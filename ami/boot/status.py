"""The status file says how far this boot has come; a later boot and the failure unit read it."""

import json
import logging
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from .files import write_atomically
from .messages import timestamp

LOG = logging.getLogger("boot")


class State(StrEnum):
    """What a machine is at, seen from outside."""

    BOOTING = "booting"
    READY = "ready"
    FAILED = "failed"


@dataclass(kw_only=True)
class Status:
    path: Path
    release: str = ""
    state: State = State.BOOTING
    step: str = ""
    error: str = ""
    served_before: bool = False  # an earlier boot was ready: the launch hook is history
    told: list[str] = field(default_factory=list)  # who has heard of a failure, see news.py
    reported: bool = False  # all of them
    steps: dict[str, float] = field(default_factory=dict)
    started: str = ""
    finished: str = ""

    @classmethod
    def load(cls, path: Path) -> "Status":
        """The status that the last boot left; a new one when there is none or it can't be read."""
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            return cls(path=path, **{**kept, "state": State(kept["state"])})
        except (OSError, ValueError, KeyError, TypeError):
            return cls(path=path)

    @classmethod
    def begin(cls, path: Path) -> "Status":
        last = cls.load(path)
        served_before = last.served_before or last.state is State.READY
        status = cls(path=path, release=last.release, served_before=served_before, started=timestamp())
        try:
            status.save()
        except OSError as error:
            LOG.error("save status failed file=%s error=%s", path, error)  # the first step fails by it, and tells it
        return status

    def save(self) -> None:
        content: dict[str, Any] = {key: value for key, value in vars(self).items() if key != "path"}
        write_atomically(self.path, json.dumps(content, indent=2) + "\n")

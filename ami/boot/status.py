"""Status file of the boot: its progress, for a later boot and for the failure unit."""

import json
import logging
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from .files import write_atomically
from .messages import timestamp

LOG = logging.getLogger("boot")


class BootState(StrEnum):
    BOOTING = "booting"
    READY = "ready"
    FAILED = "failed"


@dataclass(kw_only=True)
class BootStatus:
    path: Path
    release: str = ""
    state: BootState = BootState.BOOTING
    step: str = ""
    error: str = ""
    served_before: bool = False  # an earlier boot was ready: the launch hook is completed
    notified: list[str] = field(default_factory=list)  # channels, see failure_notifications.py
    reported: bool = False  # all channels are notified
    steps: dict[str, float] = field(default_factory=dict)
    started: str = ""
    finished: str = ""

    @classmethod
    def load(cls, path: Path) -> "BootStatus":
        """The last boot's status; a new one when there is none or it can't be read."""
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            return cls(path=path, **{**saved, "state": BootState(saved["state"])})
        except (OSError, ValueError, KeyError, TypeError):
            return cls(path=path)

    @classmethod
    def begin(cls, path: Path) -> "BootStatus":
        last = cls.load(path)
        served_before = last.served_before or last.state is BootState.READY
        status = cls(path=path, release=last.release, served_before=served_before, started=timestamp())
        try:
            status.save()
        except OSError as error:
            LOG.error("save status failed file=%s error=%s", path, error)  # the first step fails by it, and reports it
        return status

    def save(self) -> None:
        content: dict[str, Any] = {key: value for key, value in vars(self).items() if key != "path"}
        write_atomically(self.path, json.dumps(content, indent=2) + "\n")

"""People hear of ends that nobody asked for: at once, never more often than they can read, and none is forgotten."""

import json
import logging
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from . import news, report
from .files import write_atomically
from .machine import Machine
from .messages import Crash
from .report import Reports
from .retrying import Deadline
from .user_data import METRICS_NAMESPACE, Known

LOG = logging.getLogger("boot")
QUIET_SECONDS = 300.0  # between two messages: an app that crashes again and again is replaced by its health check
# How long, and how often, those are told again who could not be.
INSIST_SECONDS = 600.0
INSIST_PAUSE = 5.0


@dataclass(kw_only=True)
class Record:
    """What a watch that is started again must know.

    `since`: what was before it is settled, in nanoseconds since 1970. `told`: when the last message was, in seconds.
    `untold`: the ends since. `invocation`, `restarts`: Docker's daemon, as last seen.
    """

    since: int = 0
    told: float = 0.0
    untold: int = 0
    invocation: str = ""
    restarts: int = 0

    @classmethod
    def load(cls, path: Path) -> "Record":
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return cls()

    def save(self, path: Path) -> None:
        report.attempt("watch record", lambda: write_atomically(path, json.dumps(asdict(self)) + "\n"))


class Telling:
    """What stands between the ends and those who hear of them. Nothing here waits longer than NEWS_SECONDS."""

    def __init__(self, machine: Machine, record: Record) -> None:
        self._machine, self._record = machine, record
        self._waiting: Crash | None = None
        self._current: Crash | None = None
        self._missing = set[str]()
        self._uncounted = self._counting = 0
        self._words, self._counts = Reports(), Reports()
        self._until = self._pause = Deadline(0)

    def hear(self, crash: Crash, *, ends: int) -> None:
        """`ends` is how many ends of the app it was."""
        self._uncounted += ends
        self._record.untold += 1
        self._waiting, self._until = crash, Deadline(INSIST_SECONDS)
        self.push()

    @property
    def is_done(self) -> bool:
        """All that may be told by now is told and counted, or given up."""
        return not self._missing and not self._uncounted

    def push(self) -> None:
        """Called each second or so: tell what may be told by now, and those again who have not heard."""
        if self._waiting is not None and self._quiet_is_over() and not self._missing:
            self._begin(self._waiting)
        if not self.is_done and self._pause.passed:
            self._tell()

    def _quiet_is_over(self) -> bool:
        """Also where the clock was set back since."""
        return not 0 <= time.time() - self._record.told < QUIET_SECONDS

    def _begin(self, crash: Crash) -> None:
        left = max(0, self._record.untold - 1)
        more = f"; {left} more since the last message were not reported" if left else ""
        self._current, self._waiting = replace(crash, suppressed=left, error=crash.error + more), None
        self._missing = {news.NOTIFICATION, news.EVENT}
        self._words = Reports()  # of the message before, a late answer says nothing of this one
        self._until, self._pause = Deadline(INSIST_SECONDS), Deadline(0)
        self._record.told, self._record.untold = time.time(), 0
        self._record.save(self._machine.places.watch_record)

    def _tell(self) -> None:
        limit = Deadline(report.NEWS_SECONDS)
        if self._current is not None:
            told = news.words(self._machine, self._current, limit)
            self._words.start({what: told[what] for what in told if what in self._missing})
        if self._uncounted and not self._counts.is_open(news.METRIC):
            self._counting = counted = self._uncounted
            self._counts.start({news.METRIC: lambda: self._count(counted, limit)})
        self._missing -= self._words.collect(limit.remaining())
        if self._counts.collect(limit.remaining()):
            self._uncounted -= self._counting
        self._pause = Deadline(0 if self.is_done else INSIST_PAUSE)
        if self._until.passed and not self.is_done:
            LOG.error("give up telling who=%s ends=%d", ", ".join(sorted(self._missing)) or "none", self._uncounted)
            self._missing, self._uncounted = set(), 0
            self._words, self._counts = Reports(), Reports()

    def _count(self, ends: int, limit: Deadline) -> None:
        known = self._machine.known or Known()
        dimensions = {"Stack": known.stack, "Color": known.color}
        report.put_app_ends(self._machine.cloud, METRICS_NAMESPACE, dimensions, ends, limit)

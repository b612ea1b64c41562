"""Crash reports of the app and Docker: sent at once, rate-limited, retried until they are through."""

import json
import logging
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from . import failure_notifications, report
from .boot_context import BootContext
from .files import write_atomically
from .messages import Crash
from .report import BackgroundReports
from .retrying import Deadline
from .user_data import METRICS_NAMESPACE, ReportingInfo

LOG = logging.getLogger("boot")
MESSAGE_INTERVAL_SECONDS = 300.0  # an app that crashes again and again is replaced by its health check
# How long, and how often, failed reports are retried.
RETRY_SECONDS = 600.0
RETRY_PAUSE = 5.0


@dataclass(kw_only=True)
class WatchRecord:
    """State of the watch that survives its restart.

    `since`: earlier events are done with, in nanoseconds since 1970. `reported_at`: time of the last message, in
    seconds since 1970. `unreported`: number of crashes since then. `invocation`, `restarts`: the Docker daemon's, as
    last seen.
    """

    since: int = 0
    reported_at: float = 0.0
    unreported: int = 0
    invocation: str = ""
    restarts: int = 0

    @classmethod
    def load(cls, path: Path) -> "WatchRecord":
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return cls()

    def save(self, path: Path) -> None:
        report.best_effort("watch record", lambda: write_atomically(path, json.dumps(asdict(self)) + "\n"))


class CrashReporter:
    """Queue of one crash, and the reports under way. No method waits longer than NOTIFY_SECONDS."""

    def __init__(self, context: BootContext, record: WatchRecord) -> None:
        self._context, self._record = context, record
        self._queued: Crash | None = None
        self._current: Crash | None = None
        self._pending = set[str]()
        self._uncounted = self._counting = 0
        self._messages, self._counts = BackgroundReports(), BackgroundReports()
        self._until = self._pause = Deadline(0)

    def enqueue(self, crash: Crash, *, exits: int) -> None:
        """`exits` is the number of app exits to count; the message replaces one that is still queued."""
        self._uncounted += exits
        self._record.unreported += 1
        self._queued, self._until = crash, Deadline(RETRY_SECONDS)
        self.push()

    @property
    def is_done(self) -> bool:
        """All that may be sent by now is sent and counted, or abandoned."""
        return not self._pending and not self._uncounted

    def push(self) -> None:
        """Send what may be sent by now and retry what failed; called about once a second."""
        if self._queued is not None and self._interval_is_over() and not self._pending:
            self._begin(self._queued)
        if not self.is_done and self._pause.passed:
            self._send()

    def _interval_is_over(self) -> bool:
        """Also where the clock was set back since."""
        return not 0 <= time.time() - self._record.reported_at < MESSAGE_INTERVAL_SECONDS

    def _begin(self, crash: Crash) -> None:
        suppressed = max(0, self._record.unreported - 1)
        more = f"; {suppressed} more since the last message were not reported" if suppressed else ""
        self._current, self._queued = replace(crash, suppressed=suppressed, error=crash.error + more), None
        self._pending = {failure_notifications.NOTIFICATION, failure_notifications.EVENT}
        self._messages = BackgroundReports()  # a late answer to the previous message says nothing about this one
        self._until, self._pause = Deadline(RETRY_SECONDS), Deadline(0)
        self._record.reported_at, self._record.unreported = time.time(), 0
        self._record.save(self._context.paths.watch_record)

    def _send(self) -> None:
        deadline = Deadline(report.NOTIFY_SECONDS)
        if self._current is not None:
            channels = failure_notifications.message_channels(self._context, self._current, deadline)
            self._messages.start({name: channels[name] for name in channels if name in self._pending})
        if self._uncounted and not self._counts.is_open(failure_notifications.METRIC):
            self._counting = counted = self._uncounted
            self._counts.start({failure_notifications.METRIC: lambda: self._count(counted, deadline)})
        self._pending -= self._messages.collect(deadline.remaining())
        if self._counts.collect(deadline.remaining()):
            self._uncounted -= self._counting
        self._pause = Deadline(0 if self.is_done else RETRY_PAUSE)
        if self._until.passed and not self.is_done:
            pending = ", ".join(sorted(self._pending)) or "none"
            LOG.error("give up crash report channels=%s uncounted_exits=%d", pending, self._uncounted)
            self._pending, self._uncounted = set(), 0
            self._messages, self._counts = BackgroundReports(), BackgroundReports()

    def _count(self, exits: int, deadline: Deadline) -> None:
        info = self._context.reporting_info or ReportingInfo()
        dimensions = {"Stack": info.stack, "Color": info.color}
        report.put_unexpected_exits(self._context.cloud, METRICS_NAMESPACE, dimensions, exits, deadline)

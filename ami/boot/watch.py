"""Watch for unexpected exits of the app's container and of Docker, reported within seconds."""

import logging
import signal
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from . import docker_state
from .boot_context import BootContext
from .container import last_lines
from .container_exits import SETTLE_SECONDS, ContainerExit, ExitDetector
from .crash_reporter import CrashReporter, WatchRecord
from .docker_events import NANOSECONDS, Event, Stream, StreamEndedError, moment
from .docker_state import AppContainer, DockerDaemon, UnreachableError
from .messages import AppExited, Crash, DockerFailed, sanitized, timestamp
from .retrying import Deadline

LOG = logging.getLogger("boot")
C = TypeVar("C", bound=Crash)
TICK = 1.0  # between two pushes of the crash reporter
RECOVERY_POLL = 0.5  # between two checks whether Docker is back
DOWN_ALERT_SECONDS = 60.0  # systemd restarts Docker within seconds; later than this, it is reported as down
MAX_REMEMBERED_EVENTS = 256  # as many as Docker itself remembers and may send again


def main(context: BootContext) -> NoReturn:
    """Runs until the unit is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ContainerWatch(context).run()


class ContainerWatch:
    def __init__(self, context: BootContext) -> None:
        self._context = context
        self._record = WatchRecord.load(context.paths.watch_record)
        self._reporter = CrashReporter(context, self._record)
        self._detector = ExitDetector()
        self._ignore_until = self._record.since
        self._seen = deque[Event](maxlen=MAX_REMEMBERED_EVENTS)
        self._tail: tuple[str, ...] = ()
        self._disconnected_at = 0.0  # when Docker was last connected, in seconds since 1970; 0 before it ever was

    def run(self) -> NoReturn:
        LOG.info("start watch container=%s", self._context.container)
        while True:
            self._on_connected(self._wait_for_docker())
            try:
                with Stream(self._context.container, self._record.since) as stream:
                    self._follow(stream)
            except StreamEndedError as ended:
                self._disconnected_at = time.time()
                LOG.warning("reconnect docker events reason=%s", ended)
            time.sleep(RECOVERY_POLL)  # a Docker that ends each stream at once

    def _follow(self, stream: Stream) -> NoReturn:
        while True:
            event = stream.next(TICK)
            confirmed = self._process(event) if event is not None else None
            for exited in (confirmed, self._detector.confirm(time.monotonic())):
                if exited is not None:
                    self._app_exited(exited)
            self._reporter.push()

    def _process(self, event: Event) -> ContainerExit | None:
        """Skips events that Docker sends again after a reconnection."""
        if event.at <= self._ignore_until or event in self._seen:
            return None
        self._seen.append(event)
        exited = self._detector.process(event, time.monotonic())
        if event.action == "die" and self._detector.is_pending:
            self._tail = self._last_lines(until=moment(event.at))  # now: the restarted app may log a lot
        if exited is None:
            self._save_checkpoint(self._detector.checkpoint)
        return exited

    def _last_lines(self, *, until: str = "") -> tuple[str, ...]:
        return tuple(last_lines(self._context.container, until=until))

    def _save_checkpoint(self, at: int) -> None:
        if at > self._record.since:
            self._record.since = at
            self._record.save(self._context.paths.watch_record)

    def _app_exited(self, exited: ContainerExit) -> None:
        """The checkpoint follows the report: a watch that is killed in between reports twice rather than never."""
        self._report_exit(exited)
        self._save_checkpoint(self._detector.checkpoint)

    def _report_exit(self, exited: ContainerExit) -> None:
        if docker_state.system_is_stopping():
            LOG.info("skip exit reason=the instance is shutting down code=%d", exited.exit_code)
            return
        memory = exited.out_of_memory or docker_state.killed_by_kernel(exited)
        why = " (out of memory)" if memory else ""
        app = None
        try:
            app = docker_state.app(self._context.container)
            after = _outlook(app)
        except UnreachableError as error:
            after = f"its state is unknown: {error}"
        text = f"the app exited unexpectedly with code {exited.exit_code}{why}; {after}"
        details = {"exit_code": exited.exit_code, "out_of_memory": memory, "lines": self._tail}
        self._reporter.enqueue(self._crash(AppExited, text, exited.at / NANOSECONDS, app, **details), exits=1)

    def _wait_for_docker(self) -> AppContainer | None:
        """Waits until Docker answers; returns the app's container, None where there is none."""
        deadline, reported = Deadline(DOWN_ALERT_SECONDS), False
        while True:
            daemon = docker_state.daemon()
            try:
                # A request to its socket would start a Docker that an operator stopped.
                if daemon is None or daemon.state == "active":
                    return docker_state.app(self._context.container)
            except UnreachableError as error:
                LOG.info("wait docker reason=%s", error)
            if deadline.passed and not reported:
                reported = True
                self._report_down(daemon)
            self._reporter.push()
            time.sleep(RECOVERY_POLL)

    def _report_down(self, daemon: DockerDaemon | None) -> None:
        state = daemon.state if daemon is not None else "unknown"
        if not self._disconnected_at or state == "inactive" or docker_state.system_is_stopping():
            LOG.info("skip docker down state=%s", state)
            return
        down = time.time() - self._disconnected_at
        text = f"the Docker daemon has been down for {down:.0f} s; its state in systemd is {state}"
        crash = self._crash(DockerFailed, text, self._disconnected_at, None, lines=self._last_lines())
        self._reporter.enqueue(crash, exits=0)

    def _on_connected(self, app: AppContainer | None) -> None:
        """Docker answers: for the first time, again, or as another daemon than before."""
        record, daemon, now = self._record, docker_state.daemon(), time.time()
        if not record.since:
            record.since = int((app.created if app is not None else now) * NANOSECONDS)
        if self._crashed(daemon) and not docker_state.system_is_stopping():
            self._docker_crashed(app, now)
        if daemon is not None:
            record.invocation, record.restarts = daemon.invocation, daemon.restarts
        record.save(self._context.paths.watch_record)

    def _crashed(self, daemon: DockerDaemon | None) -> bool:
        """NRestarts counts systemd's automatic restarts, and starts at 0 again with each manual one."""
        if daemon is None:
            return bool(self._disconnected_at)
        known = self._record.invocation
        return known not in ("", daemon.invocation) and daemon.restarts > self._record.restarts

    def _docker_crashed(self, app: AppContainer | None, now: float) -> None:
        """With or without the app: an exit of the app is part of this report, its earlier events are skipped."""
        app = self._recovered(app)
        since = self._disconnected_at
        down = f"was down for {now - since:.1f} s" if since else "was down for an unknown time"
        exited = app is None or not app.runs or (since > 0 and app.started >= since)
        if exited:
            self._detector, self._ignore_until = ExitDetector(), time.time_ns()
        text = f"the Docker daemon crashed and {down}; {_outlook(app) if exited else 'the app kept running'}"
        crash = self._crash(DockerFailed, text, since or now, app, lines=self._last_lines())
        self._reporter.enqueue(crash, exits=1 if exited else 0)
        self._save_checkpoint(self._ignore_until)

    def _recovered(self, app: AppContainer | None) -> AppContainer | None:
        """Docker answers a little before it has restarted its containers."""
        deadline = Deadline(SETTLE_SECONDS)
        while app is not None and not app.runs and not deadline.passed:
            time.sleep(SETTLE_SECONDS / 4)
            with suppress(UnreachableError):
                app = docker_state.app(self._context.container)
        return app

    def _crash(self, kind: type[C], error: str, at: float, app: AppContainer | None, **details: Any) -> C:
        """`at` in seconds since 1970."""
        restarts = app.restarts if app is not None else 0
        crash = kind(**self._context.origin, error=error, time=timestamp(at), restarts=restarts, **details)
        LOG.error("report crash kind=%s error=%s", crash.kind, error)
        return sanitized(crash, self._context.secrets)


def _outlook(app: AppContainer | None) -> str:
    """What became of the app's container."""
    if app is None:
        return "its container is gone"
    if app.runs:
        times = f" (restarts since boot: {app.restarts})" if app.restarts else ""
        return f"Docker restarted it{times}"
    if app.status == "restarting":
        return f"Docker is restarting it (restarts since boot: {app.restarts})"
    return f"it stays {app.status} (exit code {app.exit_code}); the group's health check decides"

"""Once the app serves, people know within seconds when it or Docker ended and nobody had asked for that."""

import logging
import signal
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from . import docker_state
from .container import last_lines
from .docker_events import NANOSECONDS, Event, Stream, StreamEndedError, moment
from .docker_state import App, Daemon, UnreachableError
from .ends import SETTLE_SECONDS, End, Ends
from .machine import Machine
from .messages import AppExited, Crash, DockerFailed, sanitized, timestamp
from .retrying import Deadline
from .telling import Record, Telling

LOG = logging.getLogger("boot")
C = TypeVar("C", bound=Crash)
TICK = 1.0  # between two looks at what is still to be told
BACK_PAUSE = 0.5  # between two looks at whether Docker is back
BACK_SECONDS = 60.0  # systemd starts Docker within seconds; later than this, people hear that it is still down
REMEMBERED = 256  # as many events as Docker itself remembers and may tell again


def main(machine: Machine) -> NoReturn:
    """Runs until the unit is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Watch(machine).run()


class Watch:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._record = Record.load(machine.places.watch_record)
        self._telling = Telling(machine, self._record)
        self._ends = Ends()
        self._floor = self._record.since
        self._heard = deque[Event](maxlen=REMEMBERED)
        self._tail: tuple[str, ...] = ()
        self._lost = 0.0  # when Docker was last heard of, in seconds since 1970; 0 before it ever was

    def run(self) -> NoReturn:
        LOG.info("start watch container=%s", self._machine.container)
        while True:
            self._meet(self._docker())
            try:
                with Stream(self._machine.container, self._record.since) as stream:
                    self._follow(stream)
            except StreamEndedError as ended:
                self._lost = time.time()
                LOG.warning("lose docker events reason=%s", ended)
            time.sleep(BACK_PAUSE)  # a Docker that ends each stream at once

    def _follow(self, stream: Stream) -> NoReturn:
        while True:
            event = stream.next(TICK)
            end = self._hear(event) if event is not None else None
            for each in (end, self._ends.settle(time.monotonic())):
                if each is not None:
                    self._app_ended(each)
            self._telling.push()

    def _hear(self, event: Event) -> End | None:
        """What Docker tells again after a reconnection is nothing new."""
        if event.at <= self._floor or event in self._heard:
            return None
        self._heard.append(event)
        end = self._ends.hear(event, time.monotonic())
        if event.action == "die" and self._ends.is_open:
            self._tail = self._last_lines(until=moment(event.at))  # now: its next start may have much to say
        if end is None:
            self._note(self._ends.settled_at)
        return end

    def _last_lines(self, *, until: str = "") -> tuple[str, ...]:
        return tuple(last_lines(self._machine.container, until=until))

    def _note(self, settled_at: int) -> None:
        if settled_at > self._record.since:
            self._record.since = settled_at
            self._record.save(self._machine.places.watch_record)

    def _app_ended(self, end: End) -> None:
        """Noted only once it is told: a watch that is killed meanwhile tells it rather twice than not at all."""
        self._tell_end(end)
        self._note(self._ends.settled_at)

    def _tell_end(self, end: End) -> None:
        if docker_state.machine_stops():
            LOG.info("skip end reason=the machine stops code=%d", end.exit_code)
            return
        memory = end.out_of_memory or docker_state.killed_by_kernel(end)
        why = " because its memory ran out" if memory else ""
        app = None
        try:
            app = docker_state.app(self._machine.container)
            after = _outlook(app)
        except UnreachableError as error:
            after = f"Docker does not say what became of it: {error}"
        text = f"the app ended with exit code {end.exit_code}{why}, and nobody had asked it to; {after}"
        how = {"exit_code": end.exit_code, "out_of_memory": memory, "lines": self._tail}
        self._telling.hear(self._crash(AppExited, text, end.at / NANOSECONDS, app, **how), ends=1)

    def _docker(self) -> App | None:
        """Waits until Docker answers; what it then says of the app."""
        limit, told = Deadline(BACK_SECONDS), False
        while True:
            daemon = docker_state.daemon()
            try:
                # Asking Docker would start one that somebody stopped.
                if daemon is None or daemon.state == "active":
                    return docker_state.app(self._machine.container)
            except UnreachableError as error:
                LOG.info("wait docker reason=%s", error)
            if limit.passed and not told:
                told = True
                self._still_down(daemon)
            self._telling.push()
            time.sleep(BACK_PAUSE)

    def _still_down(self, daemon: Daemon | None) -> None:
        state = daemon.state if daemon is not None else "unknown"
        if not self._lost or state == "inactive" or docker_state.machine_stops():
            LOG.info("skip docker down state=%s", state)
            return
        text = f"Docker's daemon is down for {time.time() - self._lost:.0f} s by now: systemd says {state}"
        crash = self._crash(DockerFailed, text, self._lost, None, lines=self._last_lines())
        self._telling.hear(crash, ends=0)

    def _meet(self, app: App | None) -> None:
        """Docker answers: for the first time, again, or as another daemon than before."""
        record, daemon, now = self._record, docker_state.daemon(), time.time()
        if not record.since:
            record.since = int((app.created if app is not None else now) * NANOSECONDS)
        if self._ended_by_itself(daemon) and not docker_state.machine_stops():
            self._docker_ended(app, now)
        if daemon is not None:
            record.invocation, record.restarts = daemon.invocation, daemon.restarts
        record.save(self._machine.places.watch_record)

    def _ended_by_itself(self, daemon: Daemon | None) -> bool:
        """systemd counts the starts that nobody asked for, and from 0 again with each that somebody did."""
        if daemon is None:
            return bool(self._lost)
        known = self._record.invocation
        return known not in ("", daemon.invocation) and daemon.restarts > self._record.restarts

    def _docker_ended(self, app: App | None, now: float) -> None:
        """With or without the app: where it went too, what Docker told of that so far is told with this."""
        app = self._recovered(app)
        down = f"was down for {now - self._lost:.1f} s" if self._lost else "was down for an unknown time"
        went = app is None or not app.runs or (self._lost > 0 and app.started >= self._lost)
        if went:
            self._ends, self._floor = Ends(), time.time_ns()
        words = _outlook(app) if went else "the app ran on"
        text = f"Docker's daemon ended by itself and {down}; {words}"
        crash = self._crash(DockerFailed, text, self._lost or now, app, lines=self._last_lines())
        self._telling.hear(crash, ends=1 if went else 0)
        self._note(self._floor)

    def _recovered(self, app: App | None) -> App | None:
        """Docker answers a little before it has started again what it starts again."""
        limit = Deadline(SETTLE_SECONDS)
        while app is not None and not app.runs and not limit.passed:
            time.sleep(SETTLE_SECONDS / 4)
            with suppress(UnreachableError):
                app = docker_state.app(self._machine.container)
        return app

    def _crash(self, kind: type[C], error: str, at: float, app: App | None, **more: Any) -> C:
        """`at` in seconds since 1970."""
        restarts = app.restarts if app is not None else 0
        made = kind(**self._machine.origin, error=error, time=timestamp(at), restarts=restarts, **more)
        LOG.error("report crash kind=%s error=%s", made.kind, error)
        return sanitized(made, self._machine.secrets)


def _outlook(app: App | None) -> str:
    """What became of it."""
    if app is None:
        return "its container is gone"
    if app.runs:
        times = f" (restarts since the machine's boot: {app.restarts})" if app.restarts else ""
        return f"Docker started it again{times}"
    if app.status == "restarting":
        return f"Docker starts it again (restarts since the machine's boot: {app.restarts})"
    return f"it is left {app.status} with exit code {app.exit_code}, and the group's health check decides"

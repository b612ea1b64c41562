"""Unexpected container exits, distinguished from requested ones by the order of Docker's events."""

from dataclasses import dataclass, replace

from .docker_events import NANOSECONDS, Event

# Docker reports `kill` after it sent the signal, so that `die` can come first; `oom` may come before or after `die`.
# Where the app is restarted, `start` decides earlier.
SETTLE_SECONDS = 1.0
# The signals that end a container: SIGINT, SIGQUIT, SIGKILL, SIGTERM. Others (a SIGHUP to reload the config) request no
# exit; a stop by an image's own STOPSIGNAL is recognized by the `stop` event that follows.
ENDING_SIGNALS = {"2", "3", "9", "15"}
MEMORY_SECONDS = 10.0  # a process that was OOM-killed earlier than that did not cause the exit


@dataclass(frozen=True, kw_only=True)
class ContainerExit:
    """`at` in nanoseconds since 1970, as the event."""

    at: int
    container: str
    exit_code: int
    out_of_memory: bool = False


class ExitDetector:
    """`checkpoint` is the time from which the event stream can be resumed: no earlier event is needed to understand
    the later ones."""

    def __init__(self) -> None:
        self.checkpoint = 0
        self._stop_requested = False
        self._memory_at: int | None = None
        self._pending: ContainerExit | None = None
        self._due = 0.0

    @property
    def is_pending(self) -> bool:
        """The container exited, and it is not clear yet whether that was requested."""
        return self._pending is not None

    def process(self, event: Event, now: float) -> ContainerExit | None:
        """The unexpected exit that this event confirms. `now` is a monotonic clock's, in seconds."""
        match event.action:
            case "kill" if event.attributes.get("signal") in ENDING_SIGNALS:
                self._stop_requested, self._pending = True, None
            case "stop" | "destroy":
                self._stop_requested, self._pending = True, None
            case "oom":
                self._memory_at = event.at
                if self._pending is not None:
                    self._pending = replace(self._pending, out_of_memory=True)
            case "die" if not self._stop_requested:
                self._pending, self._due = self._exit(event), now + SETTLE_SECONDS
            case "start":
                return self._start(event)
        return None

    def confirm(self, now: float) -> ContainerExit | None:
        """The pending exit, once no event has explained it for SETTLE_SECONDS."""
        if self._pending is None or now < self._due:
            return None
        confirmed, self._pending = self._pending, None
        self.checkpoint = confirmed.at
        return confirmed

    def _start(self, event: Event) -> ContainerExit | None:
        confirmed, self._pending = self._pending, None
        self.checkpoint = event.at
        self._stop_requested, self._memory_at = False, None
        return confirmed

    def _exit(self, event: Event) -> ContainerExit:
        code = event.attributes.get("exitCode", "")
        return ContainerExit(
            at=event.at,
            container=event.container,
            exit_code=int(code) if code.isdecimal() else -1,
            out_of_memory=self._memory_at is not None and event.at - self._memory_at < MEMORY_SECONDS * NANOSECONDS,
        )

"""Of a container's ends, those that nobody asked for are known, from the order of Docker's events."""

from dataclasses import dataclass, replace

from .docker_events import NANOSECONDS, Event

# Docker says `kill` after it sent the signal, so that `die` can come first; `oom` comes beside both. Where the app is
# started again, `start` settles it earlier.
SETTLE_SECONDS = 1.0
# The signals that end a container: SIGINT, SIGQUIT, SIGKILL, SIGTERM. One of others (a SIGHUP to read its config) asks
# for no end; a stop by a release's own STOPSIGNAL is known by the `stop` that follows.
ENDING_SIGNALS = {"2", "3", "9", "15"}
MEMORY_SECONDS = 10.0  # a process that was killed for its memory earlier than that is not what the app ended by


@dataclass(frozen=True, kw_only=True)
class End:
    """`at` in nanoseconds since 1970, as the event."""

    at: int
    container: str
    exit_code: int
    out_of_memory: bool = False


class Ends:
    """`settled_at` is the time of the last event that needs none before it to be understood: whoever begins to hear
    anew begins after it."""

    def __init__(self) -> None:
        self.settled_at = 0
        self._asked = False
        self._memory_at: int | None = None
        self._open: End | None = None
        self._due = 0.0

    @property
    def is_open(self) -> bool:
        """An end is known, and not yet whether somebody asked for it."""
        return self._open is not None

    def hear(self, event: Event, now: float) -> End | None:
        """The end that is settled by this event. `now` is any clock's that goes on steadily, in seconds."""
        match event.action:
            case "kill" if event.attributes.get("signal") in ENDING_SIGNALS:
                self._asked, self._open = True, None
            case "stop" | "destroy":
                self._asked, self._open = True, None
            case "oom":
                self._memory_at = event.at
                if self._open is not None:
                    self._open = replace(self._open, out_of_memory=True)
            case "die" if not self._asked:
                self._open, self._due = self._end(event), now + SETTLE_SECONDS
            case "start":
                return self._start(event)
        return None

    def settle(self, now: float) -> End | None:
        """The end that nothing which came after it explains."""
        if self._open is None or now < self._due:
            return None
        end, self._open = self._open, None
        self.settled_at = end.at
        return end

    def _start(self, event: Event) -> End | None:
        end, self._open = self._open, None
        self.settled_at = event.at
        self._asked, self._memory_at = False, None
        return end

    def _end(self, event: Event) -> End:
        code = event.attributes.get("exitCode", "")
        return End(
            at=event.at,
            container=event.container,
            exit_code=int(code) if code.isdecimal() else -1,
            out_of_memory=self._memory_at is not None and event.at - self._memory_at < MEMORY_SECONDS * NANOSECONDS,
        )

"""HAProxy access log, received line by line: request counts for the load balancer's metrics."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

# Frontend, backend, server, status, termination state, failed connections before, ms until the target's response.
LOG_FORMAT = "%f %b %s %ST %ts %rc %Tr"
LINE_LIMIT = 1024  # bytes
# Receive buffer for some seconds of heavy traffic without a read; the kernel may grant less.
BUFFER = 8 << 20
SO_RCVBUFFORCE = 33  # Linux's number, which Python does not name
FRONTEND = "listener-"
NO_SERVER = "<NOSRV>"
RESPONSE_PHASES = "-DLT"  # HAProxy's phases in which the target has started its response


@dataclass(frozen=True, kw_only=True)
class RequestOutcome:
    """Outcome of a request to `port`.

    `target_group`: its ARN, when a target was selected, else empty. `status`: as the client got it, 0 when it had
    disconnected. `from_target`: the target's own response, after `seconds`. `by_rule`: a fixed response or redirect of
    a rule. `failed_connections`: connection attempts to targets that failed.
    """

    port: int
    target_group: str
    status: int
    from_target: bool
    by_rule: bool
    failed_connections: int
    seconds: float | None


class AccessLog:
    """Log receiver on a loopback port; `address` is for HAProxy's configuration."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with contextlib.suppress(PermissionError):  # as root, beyond the host's limit
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, struct.pack("i", BUFFER))
        self._socket.bind(("127.0.0.1", 0))
        self._lines: Counter[bytes] = Counter()

    @property
    def address(self) -> str:
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def read(self) -> None:
        """Receive pending lines; equal lines, as most are, are only counted."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._lines[self._socket.recv(LINE_LIMIT)] += 1

    def pop_counts(self, groups: Mapping[str, str]) -> Counter[RequestOutcome]:
        """Requests by outcome since the last call; `groups` maps HAProxy's backend to the ARN."""
        lines, self._lines = self._lines, Counter()
        counts: Counter[RequestOutcome] = Counter()
        for line, count in lines.items():
            if outcome := parse(line.decode(errors="replace"), groups):
                counts[outcome] += count
        return counts

    def close(self) -> None:
        self._socket.close()


def parse(line: str, groups: Mapping[str, str]) -> RequestOutcome | None:
    """The request's outcome; None for other lines, such as HAProxy's own messages."""
    parts = line.split()
    if len(parts) != len(LOG_FORMAT.split()) or not parts[0].startswith(FRONTEND):
        return None
    frontend, backend, server, status, ended, failed, waited = parts
    from_target = ended[1:2] in RESPONSE_PHASES and ended[:1] != "L" and server != NO_SERVER
    retries = int(failed.removeprefix("+"))
    # After a retry there may be no target left to try, although the first attempt had one.
    has_target = server != NO_SERVER or retries > 0
    return RequestOutcome(
        port=int(frontend.removeprefix(FRONTEND)),
        target_group=groups.get(backend, "") if has_target else "",
        status=max(int(status), 0),
        from_target=from_target,
        by_rule=ended.startswith("L"),
        # The last attempt is not among the retries: it counts when its connection failed too.
        failed_connections=retries + (ended[1:2] == "C" and ended[:1] in "Ss" and server != NO_SERVER),
        seconds=int(waited) / 1000 if from_target and int(waited) >= 0 else None,
    )

"""HAProxy's own account of each request, line by line, as the load balancer's metrics count it."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

# Frontend, backend, server, status, how it ended, connections that failed before, ms until the target's answer.
LOG_FORMAT = "%f %b %s %ST %ts %rc %Tr"
LINE_LIMIT = 1024  # bytes
# Room for some seconds of a busy door, in case that nobody reads for so long; the kernel may grant less.
BUFFER = 8 << 20
SO_RCVBUFFORCE = 33  # Linux's number, which Python does not name
FRONTEND = "listener-"
NO_SERVER = "<NOSRV>"
ANSWERED = "-DLT"  # HAProxy's phases in which the target has begun its answer


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A kind of request that came in at `port`.

    `target_group`: its ARN, when a target was chosen, else empty. `status`: what the user got, 0 when he had left.
    `by_target`: the target's own answer, after `seconds`. `ordered`: a fixed response or a redirect of a rule.
    `failed_connections`: of each request, those to targets that never came about.
    """

    port: int
    target_group: str
    status: int
    by_target: bool
    ordered: bool
    failed_connections: int
    seconds: float | None


class Traffic:
    """Listens on a port of the loopback; `log` is what HAProxy's configuration says of it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with contextlib.suppress(PermissionError):  # as root, beyond the machine's limit
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, struct.pack("i", BUFFER))
        self._socket.bind(("127.0.0.1", 0))
        self._lines: Counter[bytes] = Counter()

    @property
    def log(self) -> str:
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def read(self) -> None:
        """Takes in what has come; equal lines, which most are, cost no more than one."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._lines[self._socket.recv(LINE_LIMIT)] += 1

    def take(self, groups: Mapping[str, str]) -> Counter[Answered]:
        """How many requests of each kind ended since the last call; `groups` is HAProxy's backend to ARN."""
        lines, self._lines = self._lines, Counter()
        found: Counter[Answered] = Counter()
        for line, count in lines.items():
            if answered := parse(line.decode(errors="replace"), groups):
                found[answered] += count
        return found

    def close(self) -> None:
        self._socket.close()


def parse(line: str, groups: Mapping[str, str]) -> Answered | None:
    """None for what is no request's line, as HAProxy's own messages."""
    parts = line.split()
    if len(parts) != len(LOG_FORMAT.split()) or not parts[0].startswith(FRONTEND):
        return None
    frontend, backend, server, status, ended, failed, waited = parts
    by_target = ended[1:2] in ANSWERED and ended[:1] != "L" and server != NO_SERVER
    retries = int(failed.removeprefix("+"))
    # After a retry there may be no target left to try: the first one had been chosen all the same.
    chosen = server != NO_SERVER or retries > 0
    return Answered(
        port=int(frontend.removeprefix(FRONTEND)),
        target_group=groups.get(backend, "") if chosen else "",
        status=max(int(status), 0),
        by_target=by_target,
        ordered=ended.startswith("L"),
        # The last try is no retry: when its connection did not come about either, the request ended so.
        failed_connections=retries + (ended[1:2] == "C" and ended[:1] in "Ss" and server != NO_SERVER),
        seconds=int(waited) / 1000 if by_target and int(waited) >= 0 else None,
    )

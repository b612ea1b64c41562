"""Open-loop HTTP load generator: a constant request rate, a log of every request, and the generator's own lag.

Output files: requests.tsv (one line per request), retried.tsv (one per retry), series.jsonl (one per 100 ms),
status.jsonl (one per second) and, at the end, summary.json. A line `mark NAME` or `stop` appended to the
file `control` takes effect within 100 ms; SIGTERM stops it as well. With --keep, files and percentiles cover the last
minutes only: each file is rotated to FILE.old, which replaces the previous one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import ipaddress
import json
import signal
import socket
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from rehearsal.load.http_responses import Response, ResponseError, ResponseParser

TICK = 0.1
# Idle connections are closed by the client, before any server would: no race between close and request.
IDLE_TIMEOUT = 2.0
# Requests sent in one batch before responses are processed, and the pause between batches (seconds).
SLICE, PAUSE = 50, 0.001
# On schedule, a request is sent within milliseconds of its due time; a longer lag means that the generator stalled.
STALL = 0.05
FAILURES_SHOWN = 20
MAX_RUN_S, MAX_ROTATED_RUN_S = 3600.0, 7 * 86_400.0  # without rotation the log grows by the second
MAX_TRIES = 5
BAD_GATEWAY = 502
CONNECTION_LOST = "connection lost before the response"


class LoadError(Exception):
    """Invalid options of the load generator."""


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """Options: requests per second, round-robin over `paths`, for at most `seconds`.

    `tries`: attempts per request whose connection was lost, as browsers retry a GET. `keep`: minutes that the files
    cover at least; 0 keeps all.
    """

    url: str
    rate: float
    paths: tuple[str, ...]
    out: Path
    seconds: float = 900.0
    timeout: float = 5.0
    in_flight: int = 500
    tries: int = 1
    keep: float = 0.0

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), parts.port or 80

    def requests(self) -> list[bytes]:
        host = urlsplit(self.url).netloc
        lines = "User-Agent: bluegreen-load\r\nAccept: */*\r\n\r\n"
        return [f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}".encode() for path in self.paths]

    def validate(self) -> None:
        """Raises LoadError: above all for a target that is not this host."""
        parts = urlsplit(self.url)
        if parts.scheme != "http" or not parts.hostname or not _loopback(parts.hostname):
            raise LoadError(f"--url {self.url}: allowed are http:// URLs of this host's loopback addresses")
        if not 0 < self.rate <= 5000:
            raise LoadError(f"--rate {self.rate:g}: allowed are more than 0 and up to 5000 requests per second")
        max_seconds = MAX_ROTATED_RUN_S if self.keep else MAX_RUN_S
        if not 0 < self.seconds <= max_seconds:
            more = "" if self.keep else f", with --keep up to {MAX_ROTATED_RUN_S:g}"
            raise LoadError(f"--seconds {self.seconds:g}: allowed are more than 0 and up to {max_seconds:g}{more}")
        if self.keep < 0:
            raise LoadError(f"--keep {self.keep:g}: allowed are minutes, 0 keeps all")
        if not 1 <= self.tries <= MAX_TRIES:
            raise LoadError(f"--tries {self.tries}: allowed are 1 to {MAX_TRIES}")
        if not self.paths or not all(
            path.startswith("/") and path.isprintable() and " " not in path for path in self.paths
        ):
            raise LoadError(f"--paths {','.join(self.paths)}: allowed are paths that begin with / and hold no space")


def _loopback(host: str) -> bool:
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(addresses) and all(ipaddress.ip_address(address).is_loopback for address in addresses)


@dataclass(kw_only=True)
class Tally:
    """Counts and latencies of one period."""

    requests: int = 0
    failed: int = 0
    releases: Counter[str] = field(default_factory=Counter)
    colors: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    latencies: array[float] = field(default_factory=lambda: array("f"))
    lags: array[float] = field(default_factory=lambda: array("f"))

    def add(self, response: Response, error: str, latency: float, lag: float) -> None:
        self.requests += 1
        self.failed += bool(error)
        if response.release:
            self.releases[response.release] += 1
        if response.color:
            self.colors[response.color] += 1
        self.statuses[str(response.status) if response.status else "none"] += 1
        self.latencies.append(latency)
        self.lags.append(lag)

    def as_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "failed": self.failed,
            "releases": dict(self.releases),
            "colors": dict(self.colors),
            "statuses": dict(self.statuses),
            "p50_ms": percentile(self.latencies, 50),
            "p99_ms": percentile(self.latencies, 99),
            "lag_p99_ms": percentile(self.lags, 99),
            "lag_max_ms": round(max(self.lags, default=0.0) * 1000, 2),
        }


def percentile(seconds: Sequence[float], percent: float) -> float:
    """In milliseconds; 0 without values."""
    if not seconds:
        return 0.0
    ranked = sorted(seconds)
    return round(ranked[min(len(ranked) - 1, int(len(ranked) * percent / 100))] * 1000, 2)


@dataclass(frozen=True, kw_only=True)
class PendingRequest:
    """A request in flight, in attempt `tries`. `due`: by the loop's clock; `lag`: of the first attempt."""

    request: bytes
    due: float
    lag: float
    tries: int = 1


def lost_in_transit(response: Response, error: str) -> bool:
    """Whether the instance failed during the request: a load balancer then returns a 502 that names no release."""
    return error.startswith(CONNECTION_LOST) or (not error and response.status == BAD_GATEWAY and not response.release)


class ClientConnection(asyncio.Protocol):
    """A keep-alive connection: one request at a time, idle in the pool in between."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.parser = ResponseParser()
        self.transport: asyncio.Transport | None = None
        self.pending: PendingRequest | None = None
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows what create_connection promises
        self.transport = transport

    def send(self, pending: PendingRequest) -> None:
        assert self.transport is not None  # noqa: S101 - the pool holds connected ones only
        self.pending = pending
        self.transport.write(pending.request)

    def data_received(self, data: bytes) -> None:
        if self.pending is None:
            self.abort()  # a response without a request
            return
        try:
            response = self.parser.feed(data)
        except ResponseError as error:
            self.finish(Response(), f"response not understood: {error}")
            return
        if response is not None:
            self.finish(response, "")

    def connection_lost(self, exc: Exception | None) -> None:
        if self.pending is not None and (response := self.parser.end_of_stream()) is not None:
            self.finish(response, "")
        elif self.pending is not None:
            self.finish(Response(), f"{CONNECTION_LOST}: {exc or 'closed by the server'}")
        self.generator.discard(self)

    def finish(self, response: Response, error: str) -> None:
        pending, self.pending = self.pending, None
        if error or response.close:
            self.abort()
        else:
            self.generator.return_to_pool(self)
        if pending is not None:
            self.generator.complete(pending, response, error)

    def abort(self) -> None:
        self.generator.discard(self)
        if self.transport is not None:
            self.transport.abort()


class Generator:
    """Schedule, connection pool and counts."""

    def __init__(self, plan: LoadPlan, files: Files) -> None:
        self.plan, self.files = plan, files
        self.requests = plan.requests()
        self.loop = asyncio.get_running_loop()
        self.idle: deque[ClientConnection] = deque()
        self.busy: dict[ClientConnection, None] = {}  # ordered by send time
        self.connecting: set[asyncio.Task[None]] = set()
        self.total, self.second, self.moment = Tally(), Tally(), Tally()
        self.failures: list[dict[str, Any]] = []
        self.number = 0
        self.behind = False
        self.started = self.rotated = self.loop.time()
        self.epoch = time.time() - self.started
        self.stopping = asyncio.Event()

    def send_due(self) -> None:
        """Send all requests that are due; each records its lag."""
        if self.stopping.is_set():
            return
        now = self.loop.time()
        for _ in range(SLICE):
            due = self.started + self.number / self.plan.rate
            if due - self.started >= self.plan.seconds:
                self.stopping.set()
                return
            if due > now or self._must_wait(now - due):
                break
            self._send(PendingRequest(request=self.requests[self.number % len(self.requests)], due=due, lag=now - due))
            self.number += 1
        self.loop.call_at(due if due > now else now + PAUSE, self.send_due)

    @property
    def _full(self) -> bool:
        return not self.idle and len(self.busy) + len(self.connecting) >= self.plan.in_flight

    def _must_wait(self, lag: float) -> bool:
        """After its own stall the generator catches up as responses arrive: the service did not cause the backlog."""
        if lag > STALL:
            self.behind = True
        elif not self._full:
            self.behind = False
        return self.behind and self._full and lag < self.plan.timeout

    def _send(self, pending: PendingRequest) -> None:
        while self.idle:
            connection = self.idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                self.busy[connection] = None
                connection.send(pending)
                return
        if self._full:
            self.record(pending, Response(), f"not sent: {self.plan.in_flight} requests are in flight already")
            return
        task = self.loop.create_task(self._connect(pending))
        self.connecting.add(task)
        task.add_done_callback(self.connecting.discard)

    async def _connect(self, pending: PendingRequest) -> None:
        host, port = self.plan.address
        try:
            async with asyncio.timeout(self.plan.timeout):
                _transport, connection = await self.loop.create_connection(lambda: ClientConnection(self), host, port)
        except TimeoutError:
            self.record(pending, Response(), f"no connection within {self.plan.timeout:g} s")
        except OSError as error:
            self.record(pending, Response(), f"no connection: {error.strerror or error}")
        else:
            self.busy[connection] = None
            connection.send(pending)

    def complete(self, pending: PendingRequest, response: Response, error: str) -> None:
        """Retry a lost request up to `tries` times; it stays one request with its original due time."""
        if pending.tries >= self.plan.tries or not lost_in_transit(response, error):
            self.record(pending, response, error)
            return
        self.files.retried(pending.due + self.epoch, pending.tries, error or f"status {response.status}")
        self._send(replace(pending, tries=pending.tries + 1))

    def return_to_pool(self, connection: ClientConnection) -> None:
        self.busy.pop(connection, None)
        connection.idle_since = self.loop.time()
        self.idle.append(connection)

    def discard(self, connection: ClientConnection) -> None:
        self.busy.pop(connection, None)
        if connection in self.idle:
            self.idle.remove(connection)

    def record(self, pending: PendingRequest, response: Response, error: str) -> None:
        """Latency counts from `due`, so that the generator's own lag is part of it (no coordinated omission)."""
        due, lag = pending.due, pending.lag
        latency = self.loop.time() - due
        if not error and response.status >= 400:
            error = f"status {response.status}"
        for tally in (self.total, self.second, self.moment):
            tally.add(response, error, latency, lag)
        self.files.request(due + self.epoch, lag, latency, response, error)
        if error and len(self.failures) < FAILURES_SHOWN:
            self.failures.append({"time": round(due + self.epoch, 6), "error": error})

    def sweep(self) -> None:
        """Time requests out, and close idle connections before the server would."""
        now = self.loop.time()
        for connection in list(self.busy):
            if connection.pending is None or now - connection.pending.due < self.plan.timeout:
                break
            connection.finish(Response(), f"no response within {self.plan.timeout:g} s")
        while self.idle and now - self.idle[0].idle_since > IDLE_TIMEOUT:
            self.idle[0].abort()

    async def run_periodic_tasks(self) -> None:
        ticks = 0
        while True:
            ticks += 1
            await asyncio.sleep(max(0.0, self.started + ticks * TICK - self.loop.time()))
            self.sweep()
            for command in self.files.commands():
                self._execute(command)
            self.files.write_series(self.loop.time() + self.epoch, self.moment)
            self.moment = Tally()
            if ticks % round(1 / TICK) == 0:
                self.files.write_status(self.loop.time() + self.epoch, self.second, self.total, len(self.busy))
                self.second = Tally()
            if self.plan.keep and self.loop.time() - self.rotated >= self.plan.keep * 60:
                self._rotate()

    def _rotate(self) -> None:
        """Rotate the files and restart the percentiles; the counts continue."""
        self.rotated = self.loop.time()
        self.files.rotate()
        self.total.latencies, self.total.lags = array("f"), array("f")

    def _execute(self, command: list[str]) -> None:
        match command:
            case ["stop"]:
                self.stopping.set()
            case ["mark", *name]:
                self.files.marks.append({"time": round(self.loop.time() + self.epoch, 3), "name": " ".join(name)})

    async def run(self) -> dict[str, Any]:
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self.stopping.set)
        periodic = asyncio.create_task(self.run_periodic_tasks())
        self.send_due()
        await self.stopping.wait()
        ended = self.loop.time()
        while (self.busy or self.connecting) and self.loop.time() < ended + self.plan.timeout + 1:
            await asyncio.sleep(0.02)
        periodic.cancel()
        for connection in [*self.idle, *self.busy]:
            connection.abort()
        return self.summary(ended - self.started)

    def summary(self, seconds: float) -> dict[str, Any]:
        cpu = time.process_time()
        return {
            **self.total.as_json(),
            "rps": round(self.total.requests / seconds, 1) if seconds else 0.0,
            "target_rps": self.plan.rate,
            "seconds": round(seconds, 3),
            "started": round(self.started + self.epoch, 6),
            "failures": self.failures,
            "marks": self.files.marks,
            "cpu_seconds": round(cpu, 3),
            "cpu_share": round(cpu / seconds, 4) if seconds else 0.0,
        }


class Files:
    """The generator's output folder; lines are flushed within 100 ms."""

    def __init__(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out = out
        (out / "summary.json").unlink(missing_ok=True)  # of an earlier load
        self.marks: list[dict[str, Any]] = []
        self._open()
        # A new file, read from its start: a writer may append as soon as it exists.
        (out / "control").unlink(missing_ok=True)
        self._control = (out / "control").open("w+")

    def _open(self) -> None:
        self._requests = _fresh(self.out / "requests.tsv")
        self._retried = _fresh(self.out / "retried.tsv")
        self._series = _fresh(self.out / "series.jsonl")
        self._status = _fresh(self.out / "status.jsonl")

    @property
    def _logs(self) -> tuple[TextIO, ...]:
        return self._requests, self._retried, self._series, self._status

    def rotate(self) -> None:
        """Start new files; the old ones stay until the next rotation."""
        for file in self._logs:
            file.close()
            Path(file.name).replace(f"{file.name}.old")
        self._open()

    def request(self, due: float, lag: float, latency: float, response: Response, error: str) -> None:
        times = f"{due:.6f}\t{lag * 1000:.2f}\t{latency * 1000:.2f}"
        self._requests.write(f"{times}\t{response.status}\t{response.release}\t{response.color}\t{error}\n")

    def retried(self, due: float, tries: int, reason: str) -> None:
        """A failed attempt that is followed by another."""
        self._retried.write(f"{due:.6f}\t{tries}\t{reason}\n")
        self._retried.flush()

    def write_series(self, now: float, tally: Tally) -> None:
        self._requests.flush()
        _line(self._series, {"time": round(now, 3), "releases": dict(tally.releases), "failed": tally.failed})

    def write_status(self, now: float, second: Tally, total: Tally, in_flight: int) -> None:
        so_far = {"total": total.requests, "total_failed": total.failed, "in_flight": in_flight}
        _line(self._status, {"time": round(now, 3), **second.as_json(), **so_far})

    def commands(self) -> Iterable[list[str]]:
        while line := self._control.readline():
            yield line.split()

    def write_summary(self, summary: dict[str, Any]) -> None:
        for file in (*self._logs, self._control):
            file.close()
        fresh = self.out / "summary.json.new"
        fresh.write_text(json.dumps(summary, indent=1))
        fresh.replace(self.out / "summary.json")


def _fresh(path: Path) -> TextIO:
    return path.open("w", buffering=1 << 16)


def _line(file: TextIO, content: dict[str, Any]) -> None:
    file.write(json.dumps(content) + "\n")
    file.flush()


async def generate(plan: LoadPlan) -> dict[str, Any]:
    files = Files(plan.out)
    # Objects so far are permanent: the garbage collector need not scan them between requests.
    gc.freeze()
    summary = await Generator(plan, files).run()
    files.write_summary(summary)
    return summary


def parse(argv: Sequence[str]) -> LoadPlan:
    parser = argparse.ArgumentParser(prog="python -m rehearsal.load.generator", description=__doc__)
    parser.add_argument("--url", required=True, help="target: http://127.0.0.1:PORT")
    parser.add_argument("--rate", type=float, default=600.0, help="requests per second (default: 600)")
    parser.add_argument("--paths", default="/", help="paths, comma-separated, requested round-robin (default: /)")
    parser.add_argument("--out", type=Path, required=True, help="folder for logs and summary")
    parser.add_argument("--seconds", type=float, default=900.0, help="maximum duration (default: 900)")
    parser.add_argument("--timeout", type=float, default=5.0, help="request timeout in seconds (default: 5)")
    parser.add_argument("--in-flight", type=int, default=500, help="maximum of requests in flight (default: 500)")
    parser.add_argument("--tries", type=int, default=1, help="attempts per lost request (default: 1)")
    parser.add_argument("--keep", type=float, default=0.0, help="minutes that rotated logs cover (default: all)")
    options = parser.parse_args(argv)
    options.paths = tuple(options.paths.split(","))
    plan = LoadPlan(**vars(options))
    plan.validate()
    return plan


def main(argv: Sequence[str]) -> int:
    try:
        plan = parse(argv)
    except LoadError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    asyncio.run(generate(plan))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

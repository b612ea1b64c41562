"""Users knock at an even rate whatever the answers; every request is counted, and so is the generator's own lateness.

Writes into its folder: requests.tsv (a line a request), retried.tsv (a line for each further try of one), series.jsonl
(100 ms each), status.jsonl (a line a second) and, at the end, summary.json. A line `mark NAME` or `stop` appended to
its file `control` is obeyed within 100 ms; TERM is a stop as well. With --keep, files and percentiles hold the last
minutes only: each file is renamed to FILE.old once it has as many, in the place of the one before.
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

from rehearsal.load.http_responses import Answer, AnswerError, AnswerParser

TICK = 0.1
# A connection unused for longer is closed from this side, before any server would: no race between close and request.
IDLE_LIMIT = 2.0
# Sent at once at the most before answers are looked at, and the pause in between.
SLICE, PAUSE = 50, 0.001
# On schedule, a request is sent within milliseconds of its time; later than this, the generator itself was held up.
OWN_STALL = 0.05
FAILURES_SHOWN = 20
LONGEST_RUN, LONGEST_KEPT_RUN = 3600.0, 7 * 86_400.0  # a log that is kept whole grows by the second
MOST_TRIES = 5
BAD_GATEWAY = 502
LOST = "connection lost before the answer"


class LoadError(Exception):
    """The load can't be generated as asked."""


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """Requests a second, in turn to each path, for at most so many seconds.

    `tries`: how often one is sent whose answer was lost under way, as a browser sends a GET again. `keep`: minutes
    that the files hold, at least; 0 keeps all.
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
        """Refuse what must not happen: above all load on a machine that is not this one."""
        parts = urlsplit(self.url)
        if parts.scheme != "http" or not parts.hostname or not _loopback(parts.hostname):
            raise LoadError(f"--url {self.url}: load goes only to http:// URLs of this machine's loopback addresses")
        if not 0 < self.rate <= 5000:
            raise LoadError(f"--rate {self.rate:g}: allowed are more than 0 and up to 5000 requests a second")
        longest = LONGEST_KEPT_RUN if self.keep else LONGEST_RUN
        if not 0 < self.seconds <= longest:
            more = "" if self.keep else f", with --keep up to {LONGEST_KEPT_RUN:g}"
            raise LoadError(f"--seconds {self.seconds:g}: allowed are more than 0 and up to {longest:g}{more}")
        if self.keep < 0:
            raise LoadError(f"--keep {self.keep:g}: allowed are minutes, 0 keeps all")
        if not 1 <= self.tries <= MOST_TRIES:
            raise LoadError(f"--tries {self.tries}: allowed are 1 to {MOST_TRIES}")
        if not self.paths or not all(
            path.startswith("/") and path.isprintable() and " " not in path for path in self.paths
        ):
            raise LoadError(f"--paths {','.join(self.paths)}: allowed are paths that begin with / and hold no space")


def _loopback(host: str) -> bool:
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(address).is_loopback for address in found)


@dataclass(kw_only=True)
class Tally:
    """Counts of one stretch of time."""

    requests: int = 0
    failed: int = 0
    releases: Counter[str] = field(default_factory=Counter)
    colors: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    latencies: array[float] = field(default_factory=lambda: array("f"))
    lags: array[float] = field(default_factory=lambda: array("f"))

    def add(self, answer: Answer, error: str, latency: float, lag: float) -> None:
        self.requests += 1
        self.failed += bool(error)
        if answer.release:
            self.releases[answer.release] += 1
        if answer.color:
            self.colors[answer.color] += 1
        self.statuses[str(answer.status) if answer.status else "none"] += 1
        self.latencies.append(latency)
        self.lags.append(lag)

    def facts(self) -> dict[str, Any]:
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
    """In milliseconds; 0 when there is nothing to rank."""
    if not seconds:
        return 0.0
    ranked = sorted(seconds)
    return round(ranked[min(len(ranked) - 1, int(len(ranked) * percent / 100))] * 1000, 2)


@dataclass(frozen=True, kw_only=True)
class Knock:
    """A request on its way for the `tries`-th time. `due`: by the loop's clock; `lag`: how late its first try was."""

    request: bytes
    due: float
    lag: float
    tries: int = 1


def lost(answer: Answer, error: str) -> bool:
    """Whether the machine went away under the request: a balancer says so by a 502 that is no release's own."""
    return error.startswith(LOST) or (not error and answer.status == BAD_GATEWAY and not answer.release)


class Connection(asyncio.Protocol):
    """One request at a time; between two it waits in the pool."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.parser = AnswerParser()
        self.transport: asyncio.Transport | None = None
        self.knock: Knock | None = None
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows what create_connection promises
        self.transport = transport

    def send(self, knock: Knock) -> None:
        assert self.transport is not None  # noqa: S101 - the pool holds connected ones only
        self.knock = knock
        self.transport.write(knock.request)

    def data_received(self, data: bytes) -> None:
        if self.knock is None:
            self.abandon()  # an answer that nobody asked for
            return
        try:
            answer = self.parser.feed(data)
        except AnswerError as error:
            self.finish(Answer(), f"answer not understood: {error}")
            return
        if answer is not None:
            self.finish(answer, "")

    def connection_lost(self, exc: Exception | None) -> None:
        if self.knock is not None and (answer := self.parser.ended()) is not None:
            self.finish(answer, "")
        elif self.knock is not None:
            self.finish(Answer(), f"{LOST}: {exc or 'closed by the other side'}")
        self.generator.forget(self)

    def finish(self, answer: Answer, error: str) -> None:
        knock, self.knock = self.knock, None
        if error or answer.close:
            self.abandon()
        else:
            self.generator.give_back(self)
        if knock is not None:
            self.generator.settle(knock, answer, error)

    def abandon(self) -> None:
        self.generator.forget(self)
        if self.transport is not None:
            self.transport.abort()


class Generator:
    """Keeps the schedule, the pool of connections and the counts."""

    def __init__(self, plan: LoadPlan, files: Files) -> None:
        self.plan, self.files = plan, files
        self.requests = plan.requests()
        self.loop = asyncio.get_running_loop()
        self.idle: deque[Connection] = deque()
        self.busy: dict[Connection, None] = {}  # in the order of sending
        self.connecting: set[asyncio.Task[None]] = set()
        self.total, self.second, self.moment = Tally(), Tally(), Tally()
        self.failures: list[dict[str, Any]] = []
        self.number = 0
        self.behind = False
        self.started = self.rotated = self.loop.time()
        self.epoch = time.time() - self.started
        self.stopping = asyncio.Event()

    def send_due(self) -> None:
        """Send all that is due by now: how late this comes is part of each request's record."""
        if self.stopping.is_set():
            return
        now = self.loop.time()
        for _ in range(SLICE):
            due = self.started + self.number / self.plan.rate
            if due - self.started >= self.plan.seconds:
                self.stopping.set()
                return
            if due > now or self._has_to_wait(now - due):
                break
            self._send(Knock(request=self.requests[self.number % len(self.requests)], due=due, lag=now - due))
            self.number += 1
        self.loop.call_at(due if due > now else now + PAUSE, self.send_due)

    @property
    def _full(self) -> bool:
        return not self.idle and len(self.busy) + len(self.connecting) >= self.plan.in_flight

    def _has_to_wait(self, lag: float) -> bool:
        """After a stall of its own the generator catches up as answers come: the service is not to blame for it."""
        if lag > OWN_STALL:
            self.behind = True
        elif not self._full:
            self.behind = False
        return self.behind and self._full and lag < self.plan.timeout

    def _send(self, knock: Knock) -> None:
        while self.idle:
            connection = self.idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                self.busy[connection] = None
                connection.send(knock)
                return
        if self._full:
            self.record(knock, Answer(), f"not sent: {self.plan.in_flight} requests are unanswered already")
            return
        task = self.loop.create_task(self._connect(knock))
        self.connecting.add(task)
        task.add_done_callback(self.connecting.discard)

    async def _connect(self, knock: Knock) -> None:
        host, port = self.plan.address
        try:
            async with asyncio.timeout(self.plan.timeout):
                _transport, connection = await self.loop.create_connection(lambda: Connection(self), host, port)
        except TimeoutError:
            self.record(knock, Answer(), f"no connection within {self.plan.timeout:g} s")
        except OSError as error:
            self.record(knock, Answer(), f"no connection: {error.strerror or error}")
        else:
            self.busy[connection] = None
            connection.send(knock)

    def settle(self, knock: Knock, answer: Answer, error: str) -> None:
        """One that was lost under way is sent again, where the plan says so; it stays one request, due when it was."""
        if knock.tries >= self.plan.tries or not lost(answer, error):
            self.record(knock, answer, error)
            return
        self.files.retried(knock.due + self.epoch, knock.tries, error or f"status {answer.status}")
        self._send(replace(knock, tries=knock.tries + 1))

    def give_back(self, connection: Connection) -> None:
        self.busy.pop(connection, None)
        connection.idle_since = self.loop.time()
        self.idle.append(connection)

    def forget(self, connection: Connection) -> None:
        self.busy.pop(connection, None)
        if connection in self.idle:
            self.idle.remove(connection)

    def record(self, knock: Knock, answer: Answer, error: str) -> None:
        """`due` counts as the beginning: a request that this generator sent late was late for its user too."""
        due, lag = knock.due, knock.lag
        latency = self.loop.time() - due
        if not error and answer.status >= 400:
            error = f"status {answer.status}"
        for tally in (self.total, self.second, self.moment):
            tally.add(answer, error, latency, lag)
        self.files.request(due + self.epoch, lag, latency, answer, error)
        if error and len(self.failures) < FAILURES_SHOWN:
            self.failures.append({"time": round(due + self.epoch, 6), "error": error})

    def sweep(self) -> None:
        """Give up on requests beyond their time, and close connections before the server would."""
        now = self.loop.time()
        for connection in list(self.busy):
            if connection.knock is None or now - connection.knock.due < self.plan.timeout:
                break
            connection.finish(Answer(), f"no answer within {self.plan.timeout:g} s")
        while self.idle and now - self.idle[0].idle_since > IDLE_LIMIT:
            self.idle[0].abandon()

    async def keep_books(self) -> None:
        ticks = 0
        while True:
            ticks += 1
            await asyncio.sleep(max(0.0, self.started + ticks * TICK - self.loop.time()))
            self.sweep()
            for words in self.files.commands():
                self._obey(words)
            self.files.write_series(self.loop.time() + self.epoch, self.moment)
            self.moment = Tally()
            if ticks % round(1 / TICK) == 0:
                self.files.write_status(self.loop.time() + self.epoch, self.second, self.total, len(self.busy))
                self.second = Tally()
            if self.plan.keep and self.loop.time() - self.rotated >= self.plan.keep * 60:
                self._rotate()

    def _rotate(self) -> None:
        """Counts go on; what they are ranked by begins again, as the files do."""
        self.rotated = self.loop.time()
        self.files.rotate()
        self.total.latencies, self.total.lags = array("f"), array("f")

    def _obey(self, words: list[str]) -> None:
        match words:
            case ["stop"]:
                self.stopping.set()
            case ["mark", *name]:
                self.files.marks.append({"time": round(self.loop.time() + self.epoch, 3), "name": " ".join(name)})

    async def run(self) -> dict[str, Any]:
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self.stopping.set)
        books = asyncio.create_task(self.keep_books())
        self.send_due()
        await self.stopping.wait()
        ended = self.loop.time()
        while (self.busy or self.connecting) and self.loop.time() < ended + self.plan.timeout + 1:
            await asyncio.sleep(0.02)
        books.cancel()
        for connection in [*self.idle, *self.busy]:
            connection.abandon()
        return self.summary(ended - self.started)

    def summary(self, seconds: float) -> dict[str, Any]:
        cpu = time.process_time()
        return {
            **self.total.facts(),
            "rps": round(self.total.requests / seconds, 1) if seconds else 0.0,
            "asked_rps": self.plan.rate,
            "seconds": round(seconds, 3),
            "started": round(self.started + self.epoch, 6),
            "failures": self.failures,
            "marks": self.files.marks,
            "cpu_seconds": round(cpu, 3),
            "cpu_share": round(cpu / seconds, 4) if seconds else 0.0,
        }


class Files:
    """The generator's folder; lines reach it within 100 ms."""

    def __init__(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out = out
        (out / "summary.json").unlink(missing_ok=True)  # of an earlier load: it would pass for this one's
        self.marks: list[dict[str, Any]] = []
        self._open()
        # A new file, read from its start: whoever saw it appear may have written already.
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
        """Go on in new files; those before stay until the next time."""
        for file in self._logs:
            file.close()
            Path(file.name).replace(f"{file.name}.old")
        self._open()

    def request(self, due: float, lag: float, latency: float, answer: Answer, error: str) -> None:
        times = f"{due:.6f}\t{lag * 1000:.2f}\t{latency * 1000:.2f}"
        self._requests.write(f"{times}\t{answer.status}\t{answer.release}\t{answer.color}\t{error}\n")

    def retried(self, due: float, tries: int, reason: str) -> None:
        """A try that came to nothing, and another follows."""
        self._retried.write(f"{due:.6f}\t{tries}\t{reason}\n")
        self._retried.flush()

    def write_series(self, now: float, tally: Tally) -> None:
        self._requests.flush()
        _line(self._series, {"time": round(now, 3), "releases": dict(tally.releases), "failed": tally.failed})

    def write_status(self, now: float, second: Tally, total: Tally, in_flight: int) -> None:
        so_far = {"total": total.requests, "total_failed": total.failed, "in_flight": in_flight}
        _line(self._status, {"time": round(now, 3), **second.facts(), **so_far})

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
    # What is there by now stays: the collector need not walk through it between two requests.
    gc.freeze()
    summary = await Generator(plan, files).run()
    files.write_summary(summary)
    return summary


def parse(argv: Sequence[str]) -> LoadPlan:
    parser = argparse.ArgumentParser(prog="python -m rehearsal.load.generator", description=__doc__)
    parser.add_argument("--url", required=True, help="where to knock: http://127.0.0.1:PORT")
    parser.add_argument("--rate", type=float, default=600.0, help="requests a second (default: 600)")
    parser.add_argument("--paths", default="/", help="paths, separated by commas, asked in turn (default: /)")
    parser.add_argument("--out", type=Path, required=True, help="folder for logs and summary")
    parser.add_argument("--seconds", type=float, default=900.0, help="end after so long at the latest (default: 900)")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds until a request has failed (default: 5)")
    parser.add_argument("--in-flight", type=int, default=500, help="unanswered requests at a time (default: 500)")
    parser.add_argument("--tries", type=int, default=1, help="times a lost request is sent (default: 1)")
    parser.add_argument("--keep", type=float, default=0.0, help="minutes that the logs hold, at least (default: all)")
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

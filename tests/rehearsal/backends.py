"""HTTP backends for load balancer and load tests: each has a color, counts requests, and can be made to fail."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Backend:
    """Keep-alive HTTP/1.1 on a free port of an address; every attribute may be changed while it runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: str, color: str, release: str) -> None:
        self.address, self.color, self.release = address, color, release
        self.health_status = 200
        self.health_delay = 0.0
        self.status = 200
        self.delay = 0.0
        self.raw_answer = b""
        self.drop = False
        self.paths: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.port = 0
        self._loop = loop
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def target(self) -> tuple[str, int]:
        return self.address, self.port

    @property
    def served(self) -> int:
        return sum(count for path, count in self.paths.items() if path != "/health")

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, self.address, port or self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while not self.drop:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path = head.split(" ", 2)[1]
                self.paths[path] += 1
                self.headers.append(dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line))
                await asyncio.sleep(self.health_delay if path == "/health" else self.delay)
                writer.write(self._answer(path))
                await writer.drain()
        self._writers.discard(writer)
        writer.close()

    def _answer(self, path: str) -> bytes:
        if self.raw_answer and path != "/health":
            return self.raw_answer
        status = self.health_status if path == "/health" else self.status
        body = self.color.encode()
        names = f"X-Color: {self.color}\r\nX-Release: {self.release}\r\n"
        return f"HTTP/1.1 {status} Said\r\n{names}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Backends:
    """A thread with an event loop for all backends of a test."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.all: list[Backend] = []
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def start(self, color: str, release: str = "v1", address: str = "127.0.0.1") -> Backend:
        backend = Backend(self.loop, address, color, release)
        self._run(backend.start()).result(10)
        self.all.append(backend)
        return backend

    def stop(self, backend: Backend) -> None:
        self._run(backend.stop()).result(10)

    def restart(self, backend: Backend) -> None:
        self._run(backend.start()).result(10)

    def close(self) -> None:
        for backend in self.all:
            self.stop(backend)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0.05))
        self.loop.close()

    def _run(self, work: object) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)  # type: ignore[arg-type]


@contextlib.contextmanager
def load_process(url: str, out: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """The load generator for the duration of the block."""
    argv = [sys.executable, "-m", "rehearsal.load.generator", "--url", url, "--out", str(out), *options]
    with subprocess.Popen(argv, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()

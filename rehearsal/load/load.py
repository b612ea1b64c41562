"""Load of a rehearsal: a running load generator, its request log, and figures per second for the report."""

from __future__ import annotations

import resource
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.host.sandbox import SERVING_NICE, Process, Sandbox
from rehearsal.load import request_log
from rehearsal.load.generator import percentile
from rehearsal.load.request_log import Request, RequestLog

PATHS = ("/", "/visits")
MAX_SECONDS = 1800.0
TIMEOUT_S = 10.0
IN_FLIGHT = 2000  # more than three seconds of load: a host that stalls for a moment delays requests and fails none
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Load:
    """A running load generator; `folder` has its files."""

    folder: Path
    process: Process

    @classmethod
    def start(
        cls, sandbox: Sandbox, url: str, rate: int, *, tries: int = 1, seconds: float = MAX_SECONDS, keep: float = 0.0
    ) -> Load:
        """Start the generator with `rate` requests per second.

        `tries`: attempts per request that was lost with its instance. `seconds`: maximum duration. `keep`: minutes that
        the log covers at least, 0 for all.
        """
        folder = sandbox.folder / "load"
        argv = [
            sys.executable,
            "-m",
            "rehearsal.load.generator",
            "--url",
            url,
            "--rate",
            str(rate),
            "--out",
            str(folder),
        ]
        argv += ["--paths", ",".join(PATHS), "--seconds", str(seconds), "--timeout", str(TIMEOUT_S)]
        argv += ["--tries", str(tries), "--keep", str(keep)]
        argv += ["--in-flight", str(min(IN_FLIGHT, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))]
        process = sandbox.start("load", argv, cwd=ROOT, nice=SERVING_NICE)
        sandbox.wait_ready(process, lambda: request_log.not_ready_reason(folder), what="the load generator")
        return cls(folder=folder, process=process)

    def stop(self) -> dict[str, Any]:
        """Stop the generator; its summary, as in report.json."""
        return request_log.stop(self.folder)

    def log(self) -> RequestLog:
        return RequestLog.read(self.folder)

    def failed(self) -> int:
        """Number of failed requests so far."""
        return sum(bool(request.error) for request in self.log().requests)

    def releases(self) -> set[str]:
        """Every `color release` with a response so far."""
        return {_name(request) for request in self.log().requests if request.release}


def latest_second(folder: Path) -> dict[str, Any]:
    """Figures of the latest second for the live view; empty while there is none."""
    status = request_log.last_status(folder)
    if not status:
        return {}
    colors, releases = status["colors"], status["releases"]
    color = next(iter(colors)) if len(colors) == 1 else ""
    by = {f"{color} {release}": count for release, count in releases.items()} if color else colors
    return {"by": by, "p50_ms": status["p50_ms"], "p99_ms": status["p99_ms"], "failed_total": status["total_failed"]}


def seconds(requests: Sequence[Request]) -> list[dict[str, Any]]:
    """One row per second of the load, for the charts: responses by release, and latency."""
    if not requests:
        return []
    start = min(request.due for request in requests)
    rows: dict[int, list[Request]] = {}
    for request in requests:
        rows.setdefault(int(request.due - start), []).append(request)
    return [_row(rows.get(number, [])) for number in range(max(rows) + 1)]


def _row(requests: Sequence[Request]) -> dict[str, Any]:
    latencies = [request.latency_ms / 1000 for request in requests]
    by: Mapping[str, int] = Counter(_name(request) for request in requests)
    return {"by": dict(by), "p50_ms": percentile(latencies, 50), "p99_ms": percentile(latencies, 99)}


def _name(request: Request) -> str:
    return "failed" if request.error else f"{request.color} {request.release}"

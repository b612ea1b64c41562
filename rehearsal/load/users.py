"""The rehearsal's users: they arrive, are watched while they go on, and leave with an account of what they met."""

from __future__ import annotations

import resource
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.host.sandbox import SERVING, Ground, Process
from rehearsal.load import request_log
from rehearsal.load.generator import percentile
from rehearsal.load.request_log import Request, RequestLog

PATHS = ("/", "/visits")
LONGEST_S = 1800.0
TIMEOUT_S = 10.0
IN_FLIGHT = 2000  # more than three seconds of users: a machine that stalls for a moment keeps them waiting, not away
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Users:
    """A running load; `folder` holds what it writes."""

    folder: Path
    process: Process

    @classmethod
    def arrive(
        cls, ground: Ground, url: str, rate: int, *, tries: int = 1, seconds: float = LONGEST_S, keep: float = 0.0
    ) -> Users:
        """`tries`: how often a request is sent that was lost with the machine that had it.

        `seconds`: the longest that they stay. `keep`: minutes that their log holds at least, 0 for all.
        """
        folder = ground.folder / "load"
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
        process = ground.start("load", argv, cwd=ROOT, nice=SERVING)
        ground.wait_ready(process, lambda: request_log.objection(folder), what="the load generator")
        return cls(folder=folder, process=process)

    def leave(self) -> dict[str, Any]:
        """The summary, in the report's words."""
        return request_log.stop(self.folder)

    def log(self) -> RequestLog:
        return RequestLog.read(self.folder)

    def failed(self) -> int:
        """Failures so far."""
        return sum(bool(request.error) for request in self.log().requests)

    def seen(self) -> set[str]:
        """Every `color release` that answered a user so far."""
        return {_name(request) for request in self.log().requests if request.release}


def latest_second(folder: Path) -> dict[str, Any]:
    """What the live view shows of the newest second; empty while there is none."""
    status = request_log.last_status(folder)
    if not status:
        return {}
    colors, releases = status["colors"], status["releases"]
    by = {f"{next(iter(colors))} {one}": count for one, count in releases.items()} if len(colors) == 1 else colors
    return {"by": by, "p50_ms": status["p50_ms"], "p99_ms": status["p99_ms"], "failed_total": status["total_failed"]}


def seconds(requests: Sequence[Request]) -> list[dict[str, Any]]:
    """One row for each second of the load, for the pictures: who answered, and how fast."""
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

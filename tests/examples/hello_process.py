"""The sample release as a separate process, with the contract's environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from rehearsal.host.sandbox import Sandbox, url_answers, wait_until

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "hello"
REQUEST_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Hello:
    """One running app; `log` holds what it printed."""

    popen: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        return requests.get(self.url + path, headers=headers, timeout=REQUEST_TIMEOUT_S)

    def deep(self) -> requests.Response:
        return self.get("/health?deep=1")

    def cpu_seconds(self) -> float:
        times = psutil.Process(self.popen.pid).cpu_times()
        return float(times.user + times.system)


@contextmanager
def running(sandbox: Sandbox, folder: Path, **environment: str) -> Iterator[Hello]:
    """Ready when it answers; killed at the end, unless it has exited."""
    port = sandbox.port()
    variables = {"PATH": os.environ["PATH"], "PORT": str(port), "RELEASE": "v1", "COLOR": "blue", **environment}
    log = folder / f"hello-{port}.log"
    with log.open("wb") as output:
        argv = [sys.executable, "app.py"]
        popen = subprocess.Popen(argv, cwd=FOLDER, env=variables, stdout=output, stderr=subprocess.STDOUT)
    hello = Hello(popen=popen, port=port, log=log)
    path = environment.get("HEALTH_PATH", "/health")
    try:
        wait_until(url_answers(hello.url + path), what=f"hello ({log.read_text()})", deadline=20)
        yield hello
    finally:
        popen.kill()
        popen.wait(timeout=10)

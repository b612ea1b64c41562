"""Bare start of the release in /bare/release: plain `docker build` and `docker run` on an instance.

Copied to the instance and run with its Python: `bare_start.py PORT HEALTH_PATH [BASE_IMAGE]`. Prints the seconds
of each part as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from itertools import pairwise

FOLDER = "/bare"
TAG = "bare"
POLL_S = 0.05  # as in the boot program
TIMEOUT_S = 120.0


def start(port: str, health_path: str, base_image: str = "") -> dict[str, float]:
    base = ["--build-arg", f"BASE_IMAGE={base_image}"] if base_image else []
    moments = [time.monotonic()]
    _docker("build", "--tag", TAG, *base, f"{FOLDER}/release")
    moments.append(time.monotonic())
    _docker("run", "--detach", "--publish", f"{port}:{port}", "--env-file", f"{FOLDER}/app.env", TAG)
    moments.append(time.monotonic())
    while not _healthy(f"http://127.0.0.1:{port}{health_path}"):
        if time.monotonic() - moments[0] > TIMEOUT_S:
            raise TimeoutError(f"no 200 from {health_path} within {TIMEOUT_S:g} s")
        time.sleep(POLL_S)
    moments.append(time.monotonic())
    parts = dict(zip(("image", "run", "ready"), _differences(moments), strict=True))
    return {**parts, "seconds": round(moments[-1] - moments[0], 3)}


def _docker(*argv: str) -> None:
    subprocess.run(["docker", *argv], stdout=subprocess.DEVNULL, check=True)


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - a port of this instance
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _differences(moments: list[float]) -> list[float]:
    return [round(after - before, 3) for before, after in pairwise(moments)]


if __name__ == "__main__":
    print(json.dumps(start(*sys.argv[1:])))  # noqa: T201

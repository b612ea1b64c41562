"""A fake host for a test: a PATH with fake programs, a home, a cache, and no internet."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rehearsal.cli import PulumiCli, ensure_cli
from rehearsal.cli.location import VERSION

ROOT = Path(__file__).parents[3]
NOWHERE = "http://127.0.0.1:9"
GO = """
import pathlib, os, subprocess, time
folder = pathlib.Path({folder!r})
if argv[0] == "version":
    print("go version {number} linux/amd64")
elif argv[0] == "build":
    with (folder / "builds").open("a") as builds:
        builds.write("build\\n")
    while (folder / "block").exists():
        if not (folder / "pids").exists():
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            (folder / "part").write_text(f"{{os.getpid()}} {{child.pid}}")
            (folder / "part").rename(folder / "pids")
        time.sleep(0.01)
    program = pathlib.Path(argv[argv.index("-o") + 1])
    program.write_text("#!{python}\\nprint('{version}')\\n")
    program.chmod(0o700)
elif argv[0] == "list":
    print(folder / "sdk")
elif (folder / "offline").exists():
    sys.exit("go: module lookup disabled by GOPROXY=off")
"""


@dataclass(kw_only=True)
class Host:
    folder: Path
    notifications: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": str(self.folder / "bin"),
            "HOME": str(self.folder / "home"),
            "BLUEGREEN_CACHE": str(self.cache),
            "PYTHONPATH": f"{self.folder / 'python'}:{ROOT}",
            "GOPROXY": "off",
            "GOFLAGS": "-mod=mod",
            "PIP_INDEX_URL": f"{NOWHERE}/simple",
            "PIP_RETRIES": "0",
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), NOWHERE),
        }

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def program(self, name: str, body: str | bytes = "pass") -> Path:
        path = self.folder / "bin" / name
        script = f"#!{sys.executable}\nimport sys\nargv = sys.argv[1:]\n{body}\n" if isinstance(body, str) else body
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(script.encode() if isinstance(script, str) else script)
        path.chmod(0o755)
        return path

    def module(self, name: str, body: str) -> None:
        """A Python module that shadows the installed one of this name."""
        path = self.folder / "python" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(body)

    def go(self, number: str = "go1.26.8") -> str:
        """Body of a fake `go` that builds a CLI at once, or blocks in the build while a file `block` exists."""
        entry_point = self.folder / "sdk/python/cmd/pulumi-language-python-exec"
        entry_point.parent.mkdir(parents=True, exist_ok=True)
        entry_point.write_text("entry point\n")
        return GO.format(folder=str(self.folder), number=number, python=sys.executable, version=VERSION)

    def ensure(self, **variables: str) -> PulumiCli:
        (self.folder / "home").mkdir(exist_ok=True)
        return ensure_cli(notify=self.notifications.append, environment=self.environment | variables)

    def start(self, *, cwd: Path = ROOT) -> subprocess.Popen[str]:
        (self.folder / "home").mkdir(exist_ok=True)
        variables = self.environment | {"PYTHONPATH": f"{self.folder / 'python'}:{cwd}"}
        return subprocess.Popen(
            [sys.executable, "-m", "rehearsal.cli"],
            cwd=cwd,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def builds(self) -> int:
        path = self.folder / "builds"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def cached(self) -> list[str]:
        return sorted(path.name for path in self.cache.iterdir())


def wait_until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)

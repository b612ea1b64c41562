"""Virtual environment of this checkout, with the locked packages: created once, by the first run.

Uses the standard library only, in a syntax that older Pythons can parse: it reports that they are too old.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path
from typing import IO

# Symbolic links are not followed, as everywhere in the project.
ROOT = Path(__file__).absolute().parents[2]
MIN_PYTHON = (3, 11)


def main(root: Path = ROOT) -> int:
    if sys.version_info < MIN_PYTHON:
        log(f"{sys.executable} is Python {sys.version.split()[0]}; 3.11 or later is needed: set PYTHON to one")
        return 1
    with (root / "requirements-dev.txt").open() as requirements:
        wait_for_turn(requirements)  # the lock goes with the process, however that ends
        if is_ready(root):
            return 0
        log("creating the virtual environment .venv with the packages of requirements-dev.txt: a minute or two, once")
        return create(root)


def is_ready(root: Path) -> bool:
    """Whether the environment is complete, and newer than the list of packages."""
    ready = root / ".venv" / "ready"
    return ready.exists() and ready.stat().st_mtime >= (root / "requirements-dev.txt").stat().st_mtime


def create(root: Path) -> int:
    """Create the environment, or complete one that was cut short; `ready` comes last."""
    venv = root / ".venv"
    pip = [str(venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r"]
    for argv, hint in (
        ([sys.executable, "-m", "venv", str(venv)], "on Debian and Ubuntu, `apt-get install python3-venv` is missing"),
        (
            [*pip, str(root / "requirements-dev.txt")],
            "the package index must be reachable; the same command tries again",
        ),
    ):
        # To stderr: another program may read the command's stdout.
        if subprocess.run(argv, stdout=sys.stderr, check=False).returncode:
            log(f"the virtual environment could not be created, `{' '.join(argv)}` failed: {hint}")
            return 1
    link(venv)
    (venv / "ready").touch()
    return 0


def link(venv: Path) -> None:
    """Link the console script: `bluegreen` in an activated environment."""
    script = venv / "bin" / "bluegreen"
    script.unlink(missing_ok=True)
    script.symlink_to(Path("..", "..", "bluegreen"))


def wait_for_turn(file: IO[str]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log("another run is creating the virtual environment: waiting for it")
        fcntl.flock(file, fcntl.LOCK_EX)


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - typer is not installed yet


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

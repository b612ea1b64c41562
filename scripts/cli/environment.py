"""Virtual environment of this checkout, with the locked packages: made once, by whichever run comes first.

Of the standard library alone, and of a syntax that older Pythons read too: it is what says that they are too old.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path
from typing import IO

# Links are not followed, as nowhere where the project's files are looked for.
ROOT = Path(__file__).absolute().parents[2]
OLDEST = (3, 11)


def main(root: Path = ROOT) -> int:
    if sys.version_info < OLDEST:
        tell(f"{sys.executable} is Python {sys.version.split()[0]}; 3.11 or later is needed: set PYTHON to one")
        return 1
    with (root / "requirements-dev.txt").open() as requirements:
        wait_for_turn(requirements)  # the lock goes with the process, however that ends
        if is_ready(root):
            return 0
        tell("making the virtual environment .venv with the packages of requirements-dev.txt: a minute or two, once")
        return make(root)


def is_ready(root: Path) -> bool:
    """Whether an environment was made to the end, and since the packages were last changed."""
    ready = root / ".venv" / "ready"
    return ready.exists() and ready.stat().st_mtime >= (root / "requirements-dev.txt").stat().st_mtime


def make(root: Path) -> int:
    """An environment that was cut short is completed; `ready` comes last."""
    venv = root / ".venv"
    pip = [str(venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r"]
    for argv, hint in (
        ([sys.executable, "-m", "venv", str(venv)], "on Debian and Ubuntu, `apt-get install python3-venv` is missing"),
        (
            [*pip, str(root / "requirements-dev.txt")],
            "the package index must be reachable; the same command tries again",
        ),
    ):
        # Their output is no result: what the command prints may be read by another program.
        if subprocess.run(argv, stdout=sys.stderr, check=False).returncode:
            tell(f"the virtual environment could not be made, `{' '.join(argv)}` failed: {hint}")
            return 1
    link(venv)
    (venv / "ready").touch()
    return 0


def link(venv: Path) -> None:
    """The console script: `bluegreen` for whoever has activated the environment."""
    script = venv / "bin" / "bluegreen"
    script.unlink(missing_ok=True)
    script.symlink_to(Path("..", "..", "bluegreen"))


def wait_for_turn(file: IO[str]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        tell("another run makes the virtual environment: waiting for it")
        fcntl.flock(file, fcntl.LOCK_EX)


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - typer comes with what is made here


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

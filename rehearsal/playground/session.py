"""Session file of the running playground in build/playground, and requests of `stop` and `fault` to it."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rehearsal.host import processes
from rehearsal.host.processes import ProcessIdentity

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "playground"
FILE = "playground.json"
TOKEN_HEADER = "X-Playground-Token"  # noqa: S105 - the header's name
TIMEOUT_S = 60.0  # a fault waits for Docker
NOT_RUNNING = "No playground is running: `sudo make playground` starts one."


class SessionError(Exception):
    """The playground can't be reached, or refused a command; the message is a sentence."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """`run`: id of the run; `token`: authorizes to stop the playground and to inject faults."""

    process: ProcessIdentity
    page: str
    run: str
    token: str

    @property
    def alive(self) -> bool:
        return processes.alive(self.process)

    def write(self) -> None:
        """Write the file atomically, readable by its owner only."""
        fresh = FOLDER / f"{FILE}.new"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self), file, indent=1)
        fresh.replace(FOLDER / FILE)

    def post(self, path: str) -> dict[str, Any]:
        """Send a command to the playground's server; its response. Raises SessionError."""
        request = urllib.request.Request(  # noqa: S310 - the run's own server
            f"{self.page}{path}", method="POST", data=b"", headers={TOKEN_HEADER: self.token}
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
                content: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            raise SessionError(str(json.load(error)["error"])) from error
        except OSError as error:
            raise SessionError(f"the playground at {self.page} does not answer: {error}") from error
        return content


def find() -> Session | None:
    """The session of this checkout's running playground, or None. Raises SessionError when its file can't be read."""
    try:
        raw = json.loads((FOLDER / FILE).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise SessionError(f"the playground here belongs to another user: {error.filename} is not readable") from error
    session = Session(**{**raw, "process": ProcessIdentity(**raw["process"])})
    return session if session.alive else None

"""The running playground's record in build/playground, and requests to it: how `stop` and `fault` find their way."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rehearsal.host import processes
from rehearsal.host.processes import Identity

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "playground"
FILE = "playground.json"
TOKEN_HEADER = "X-Playground-Token"  # noqa: S105 - the header's name
TIMEOUT_S = 60.0  # a fault waits for Docker
NONE_RUNS = "No playground runs: `sudo make playground` starts one."


class SessionError(Exception):
    """The playground can't be reached, or refused; the message is a sentence."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """`run` is its folder; `token` lets whoever may read the record stop it and inject faults."""

    process: Identity
    page: str
    run: str
    token: str

    @property
    def alive(self) -> bool:
        return processes.alive(self.process)

    def write(self) -> None:
        """Readable by its owner only, and never seen half written."""
        fresh = FOLDER / f"{FILE}.new"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self), file, indent=1)
        fresh.replace(FOLDER / FILE)

    def post(self, path: str) -> dict[str, Any]:
        """Send a command to the playground's server; its answer."""
        request = urllib.request.Request(  # noqa: S310 - the run's own server
            f"{self.page}{path}", method="POST", data=b"", headers={TOKEN_HEADER: self.token}
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                content: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            raise SessionError(str(json.load(error)["error"])) from error
        except OSError as error:
            raise SessionError(f"the playground at {self.page} does not answer: {error}") from error
        return content


def find() -> Session | None:
    """The playground that runs in this project, or None. Raises SessionError when its record can't be read."""
    try:
        raw = json.loads((FOLDER / FILE).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise SessionError(f"the playground here is another user's: {error.filename} can't be read") from error
    session = Session(**{**raw, "process": Identity(**raw["process"])})
    return session if session.alive else None

"""Container exits of a Docker daemon, reported to a callback."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable

CLOSE_SECONDS = 5.0
# What `docker events` prints for each container that exits.
LINE = "{{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}"


def events_command(docker_host: str, label: str, since: float) -> list[str]:
    """`since`: epoch seconds; exits between then and the command's own start are included."""
    options = ("--filter", f"label={label}", "--filter", "event=die", "--since", f"{since:.3f}", "--format", LINE)
    return ["docker", "--host", docker_host, "events", *options]


class ContainerExitListener:
    """Calls `on_exit` with a container's name and exit code, in a thread of its own, until `close`."""

    def __init__(self, docker_host: str, label: str, on_exit: Callable[[str, int], None]) -> None:
        self._on_exit = on_exit
        command = events_command(docker_host, label, time.time())
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._thread = threading.Thread(target=self._listen, name="container-exits", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No callback runs afterwards."""
        self._process.kill()
        self._process.wait(timeout=CLOSE_SECONDS)
        self._thread.join(timeout=CLOSE_SECONDS)

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            name, _, code = line.strip().rpartition(" ")
            if name and code.isdigit():
                self._on_exit(name, int(code))

"""Who listens hears of each container with a label that ends, from construction until `close`."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable

CLOSE_SECONDS = 5.0
# `docker events` prints it for each container that ends.
LINE = "{{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}"


def watch_command(docker_host: str, label: str, since: float) -> list[str]:
    """`since`: epoch seconds; what ended between then and the command's own start is told as well."""
    wanted = ("--filter", f"label={label}", "--filter", "event=die", "--since", f"{since:.3f}", "--format", LINE)
    return ["docker", "--host", docker_host, "events", *wanted]


class Endings:
    """Calls `hear` with the container's name and exit code, in a thread of its own."""

    def __init__(self, docker_host: str, label: str, hear: Callable[[str, int], None]) -> None:
        self._hear = hear
        command = watch_command(docker_host, label, time.time())
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._thread = threading.Thread(target=self._listen, name="endings", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Nothing is heard afterwards."""
        self._process.kill()
        self._process.wait(timeout=CLOSE_SECONDS)
        self._thread.join(timeout=CLOSE_SECONDS)

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            name, _, code = line.strip().rpartition(" ")
            if name and code.isdigit():
                self._hear(name, int(code))

"""What Docker, systemd and the kernel know of the app and of Docker itself at this moment."""

import json
import logging
import re
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime

from .commands import CommandError, run
from .docker_events import NANOSECONDS
from .ends import MEMORY_SECONDS, End
from .files import read_pairs
from .retrying import Deadline

LOG = logging.getLogger("boot")
ASK_SECONDS = 5.0
UNIT = "docker.service"
INSPECT = ("docker", "inspect", "--type", "container", "--format", "{{json .}}")


class UnreachableError(Exception):
    """Docker does not answer."""


@dataclass(frozen=True, kw_only=True)
class App:
    """Times in seconds since 1970; `restarts` counts those by the container's restart policy."""

    status: str
    exit_code: int
    restarts: int
    created: float
    started: float

    @property
    def runs(self) -> bool:
        return self.status == "running"


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """As systemd knows it: `invocation` is another one after each start, `restarts` counts those by systemd itself."""

    state: str
    invocation: str
    restarts: int


def app(name: str) -> App | None:
    """None where there is no such container. Raises UnreachableError."""
    try:
        text = run([*INSPECT, name], deadline=Deadline(ASK_SECONDS), quiet=True)
        found = next(json.loads(line) for line in text.splitlines() if line.startswith("{"))
        state = found["State"]
        return App(
            status=state["Status"],
            exit_code=int(state["ExitCode"]),
            restarts=int(found["RestartCount"]),
            created=_seconds(found["Created"]),
            started=_seconds(state["StartedAt"]),
        )
    except CommandError as error:
        if re.search("no such (object|container)", str(error), re.IGNORECASE):
            return None
        raise UnreachableError(str(error)) from error
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise UnreachableError(f"docker inspect {name}: {error}") from error


def daemon() -> Daemon | None:
    """None where systemd can't be asked."""
    said = read_pairs(_systemctl("show", UNIT, "--property=ActiveState,InvocationID,NRestarts"))
    try:
        return Daemon(state=said["ActiveState"], invocation=said["InvocationID"], restarts=int(said["NRestarts"]))
    except (KeyError, ValueError):
        return None


def machine_stops() -> bool:
    """A shutdown or reboot is under way: whatever ends now was asked to."""
    return _systemctl("is-system-running").strip() == "stopping"


def killed_by_kernel(end: End) -> bool:
    """By the kernel's log: Docker's own `oom` is lost when the container is gone before Docker looked."""
    ago = time.time() - end.at / NANOSECONDS
    try:
        lines = run(["dmesg", "--kernel"], deadline=Deadline(ASK_SECONDS), quiet=True)
    except (CommandError, OSError) as error:
        LOG.warning("read kernel log failed error=%s", error)
        return False
    killed = re.compile(rf"^\[ *([\d.]+)\] .*oom-kill:.*task_memcg=[^,]*{re.escape(end.container)}", re.MULTILINE)
    died = time.monotonic() - ago  # the kernel's own clock, which is the log's as well
    return any(abs(died - float(at)) < MEMORY_SECONDS for at in killed.findall(lines))


def _systemctl(*arguments: str) -> str:
    """What it says, whatever it ends with: that of a state is a fault for any but the usual ones."""
    command = ["systemctl", *arguments]
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ASK_SECONDS, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        LOG.warning("ask systemd failed error=%s", error)
        return ""


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()

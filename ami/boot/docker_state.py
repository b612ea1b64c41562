"""State of the app's container and of Docker, from Docker, systemd and the kernel's log."""

import json
import logging
import re
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime

from .commands import CommandError, run
from .container_exits import MEMORY_SECONDS, ContainerExit
from .docker_events import NANOSECONDS
from .files import read_pairs
from .retrying import Deadline

LOG = logging.getLogger("boot")
QUERY_SECONDS = 5.0
UNIT = "docker.service"
INSPECT = ("docker", "inspect", "--type", "container", "--format", "{{json .}}")


class UnreachableError(Exception):
    """Docker does not answer."""


@dataclass(frozen=True, kw_only=True)
class AppContainer:
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
class DockerDaemon:
    """State in systemd: `invocation` changes with each start, `restarts` counts systemd's automatic ones."""

    state: str
    invocation: str
    restarts: int


def app(name: str) -> AppContainer | None:
    """None where there is no such container. Raises UnreachableError."""
    try:
        text = run([*INSPECT, name], deadline=Deadline(QUERY_SECONDS), quiet=True)
        container = next(json.loads(line) for line in text.splitlines() if line.startswith("{"))
        state = container["State"]
        return AppContainer(
            status=state["Status"],
            exit_code=int(state["ExitCode"]),
            restarts=int(container["RestartCount"]),
            created=_seconds(container["Created"]),
            started=_seconds(state["StartedAt"]),
        )
    except CommandError as error:
        if re.search("no such (object|container)", str(error), re.IGNORECASE):
            return None
        raise UnreachableError(str(error)) from error
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise UnreachableError(f"docker inspect {name}: {error}") from error


def daemon() -> DockerDaemon | None:
    """None where systemd does not answer."""
    properties = read_pairs(_systemctl("show", UNIT, "--property=ActiveState,InvocationID,NRestarts"))
    try:
        return DockerDaemon(
            state=properties["ActiveState"],
            invocation=properties["InvocationID"],
            restarts=int(properties["NRestarts"]),
        )
    except (KeyError, ValueError):
        return None


def system_is_stopping() -> bool:
    """A shutdown or reboot is in progress: exits are expected."""
    return _systemctl("is-system-running").strip() == "stopping"


def killed_by_kernel(exited: ContainerExit) -> bool:
    """Whether the kernel's log has an OOM kill of it: Docker's `oom` event is lost when the container exits first."""
    ago = time.time() - exited.at / NANOSECONDS
    try:
        lines = run(["dmesg", "--kernel"], deadline=Deadline(QUERY_SECONDS), quiet=True)
    except (CommandError, OSError) as error:
        LOG.warning("read kernel log failed error=%s", error)
        return False
    killed = re.compile(rf"^\[ *([\d.]+)\] .*oom-kill:.*task_memcg=[^,]*{re.escape(exited.container)}", re.MULTILINE)
    died = time.monotonic() - ago  # the clock of the kernel's log
    return any(abs(died - float(at)) < MEMORY_SECONDS for at in killed.findall(lines))


def _systemctl(*arguments: str) -> str:
    """Its output, whatever its exit code: `is-system-running` exits with 1 for any state but `running`."""
    command = ["systemctl", *arguments]
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=QUERY_SECONDS, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        LOG.warning("query systemd failed error=%s", error)
        return ""


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()

"""Container of the release: start, readiness check, stop, last log lines."""

import json
import logging
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as changed
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from .commands import CommandError, run
from .image import tag
from .masking import TAIL_LINES
from .retrying import Deadline
from .user_data import UserData

LOG = logging.getLogger("boot")
NAME = "app"
POLL = 0.05
HEALTH_TIMEOUT = 2.0
# Docker starts a container in well under one. A log driver that hangs costs half a minute, not the boot.
LOGGED_START_SECONDS = 30.0


class NotReadyError(Exception):
    pass


@dataclass(frozen=True, kw_only=True)
class RunArgs:
    user_data: UserData
    env_file: Path
    instance_id: str
    region: str
    endpoint: str | None = None
    name: str = NAME


def run_command(args: RunArgs) -> list[str]:
    user_data = args.user_data
    return [
        *("docker", "run", "--detach", "--name", args.name),
        *("--publish", f"{user_data.app.port}:{user_data.app.port}", "--env-file", str(args.env_file)),
        *("--stop-timeout", str(user_data.app.drain_timeout)),
        *_log_options(args),
        tag(user_data),
    ]


def _log_options(args: RunArgs) -> list[str]:
    """Non-blocking: while CloudWatch is down, lines are lost rather than the app blocked or its start refused."""
    if not args.user_data.log_groups.app:
        return []
    options = {
        "awslogs-region": args.region,
        "awslogs-group": args.user_data.log_groups.app,
        "awslogs-stream": f"{args.user_data.color}/{args.user_data.release.version}/{args.instance_id}/app",
        "mode": "non-blocking",
        "max-buffer-size": "4m",
    }
    if args.endpoint:
        options["awslogs-endpoint"] = args.endpoint
    return ["--log-driver", "awslogs", *(f"--log-opt={key}={value}" for key, value in options.items())]


def replace(args: RunArgs, deadline: Deadline) -> bool:
    """Start the release's container in place of an earlier boot's, whose environment is old.

    Returns whether the app's log goes to its log group. Where Docker's log driver can't be started, the app starts
    without it, and its log stays on the instance. Raises CommandError.
    """
    found = run(["docker", "ps", "--all", "--quiet", "--filter", f"name=^{args.name}$"], deadline=deadline, quiet=True)
    if found:
        run(["docker", "stop", args.name], deadline=deadline, quiet=True)
        _remove(args.name, deadline)
    try:
        run(run_command(args), deadline=Deadline(LOGGED_START_SECONDS, within=deadline), quiet=True)
    except CommandError as error:
        if not _is_log_driver_failure(args, error):
            raise
        LOG.warning("keep app log on the instance reason=%s", error)
        _remove(args.name, deadline)
        without = changed(args.user_data, log_groups=changed(args.user_data.log_groups, app=""))
        run(run_command(changed(args, user_data=without)), deadline=deadline, quiet=True)
        return False
    return True


def _is_log_driver_failure(args: RunArgs, error: CommandError) -> bool:
    """Docker has no exit code for it; a command that timed out may hang in the driver as well."""
    return bool(_log_options(args)) and ("logging driver" in str(error) or "timed out" in str(error))


def _remove(name: str, deadline: Deadline) -> None:
    run(["docker", "rm", "--force", "--volumes", name], deadline=deadline, quiet=True)


def enable_restarts(name: str, deadline: Deadline) -> None:
    """Set the restart policy once the app is ready: an exit before that fails the boot and is not retried."""
    run(["docker", "update", "--restart", "unless-stopped", name], deadline=deadline, quiet=True)


def stop(name: str, seconds: int) -> None:
    """SIGTERM, and SIGKILL after so many seconds. A stopped container stays stopped when Docker restarts."""
    deadline = Deadline(seconds + 10)  # Docker's own work around the wait
    run(["docker", "stop", "--time", str(seconds), name], deadline=deadline, quiet=True)


def last_lines(name: str, *, until: str = "") -> list[str]:
    """The last log lines; with `until` (a time as Docker takes it) those before it, of the last 200 lines."""
    count, before = (4 * TAIL_LINES, ["--until", until]) if until else (TAIL_LINES, [])
    try:
        command = ["docker", "logs", "--tail", str(count), *before, name]
        return run(command, deadline=Deadline(5), quiet=True).splitlines()[-TAIL_LINES:]
    except CommandError as error:
        return [f"no log of {name}: {error}"]


def wait_ready(name: str, user_data: UserData, deadline: Deadline) -> None:
    """Wait for the health answer. `docker wait` exits with the container, so that a crash is noticed at once."""
    watch = subprocess.Popen(
        ["docker", "wait", name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        _poll(name, user_data, deadline, lambda: _exit_code(watch))
    finally:
        watch.kill()
        watch.communicate()


def _exit_code(watch: subprocess.Popen[str]) -> str | None:
    if watch.poll() is None:
        return None
    return watch.stdout.read().strip() if watch.stdout else ""


def _poll(name: str, user_data: UserData, deadline: Deadline, exit_code: Callable[[], str | None]) -> None:
    last = ""
    while (reason := not_ready_reason(user_data)) is not None:
        if reason != last:
            LOG.info("wait ready reason=%s", reason)
            last = reason
        code = exit_code()
        if code is not None or deadline.passed:
            ended = f"the container exited with {code} before it was ready" if code is not None else "timed out"
            raise NotReadyError(f"{ended}; health: {reason}; last log lines: {_evidence(name)}")
        time.sleep(POLL)


def _evidence(name: str) -> str:
    lines = last_lines(name)
    for line in lines:
        LOG.info("app: %s", line)
    return " | ".join(line for line in lines[-5:] if line.strip()) or "(none)"


def not_ready_reason(user_data: UserData) -> str | None:
    """None when the health path answers 200 with the instance's release."""
    connection = HTTPConnection("127.0.0.1", user_data.app.port, timeout=HEALTH_TIMEOUT)
    try:
        connection.request("GET", user_data.app.health_path, headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read(1 << 16)
    except (OSError, HTTPException) as error:
        return f"no answer on port {user_data.app.port} ({str(error) or type(error).__name__})"
    finally:
        connection.close()
    if response.status != 200:
        return f"{user_data.app.health_path} answers {response.status}: {body[:300].decode(errors='replace')}"
    return _release_mismatch(body, user_data)


def _release_mismatch(body: bytes, user_data: UserData) -> str | None:
    try:
        release = json.loads(body)["release"]
    except (ValueError, KeyError, TypeError):
        return f"{user_data.app.health_path} answers 200 without JSON that names the release"
    return None if release == user_data.release.version else f"{user_data.app.health_path} answers release {release!r}"

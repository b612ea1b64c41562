"""Entry point of the instance's systemd units: boot, failed (reports for a killed boot), drain, logs, watch."""

import argparse
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable
from logging.handlers import RotatingFileHandler
from pathlib import Path

from . import drain, failure_notifications, parameters, report, system_logs, watch
from .boot_context import BootContext, Paths
from .cloud import Cloud
from .files import read_pairs
from .masking import TAIL_LINES, MaskingFormatter, Secrets, Tail
from .messages import BootFailed, sanitized, timestamp
from .metadata import Metadata
from .retrying import Deadline, TransientError, retry
from .status import BootState, BootStatus
from .steps import STEPS, Step, StepError, run_steps
from .user_data import MAX_BOOT, ReportingInfo

LOG = logging.getLogger("boot")
FAILED_SECONDS = 60.0  # for the failure unit to read identity and user data
WATCH_SECONDS = 300.0  # for the watch; its unit restarts it, and it catches up on the events meanwhile
LOG_BYTES = 4 << 20  # and as much of older lines: many boots of an instance that is rebooted each night


def log_to_journal(secrets: Secrets, file: Path | None = None) -> Tail:
    """Log masked lines to the journal and, where one is named, to the file that the log agent ships."""
    formatter, tail = MaskingFormatter(secrets), Tail()

    def add(handlers: list[logging.Handler]) -> None:
        for handler in handlers:
            handler.setFormatter(formatter)
            LOG.addHandler(handler)

    LOG.setLevel(logging.INFO)
    add([logging.StreamHandler(sys.stdout), tail])
    if file is not None:
        add(_file_handlers(file))
    return tail


def _file_handlers(file: Path) -> list[logging.Handler]:
    """None when the file can't be opened: that must not fail a boot, whose own steps report what is wrong."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return [RotatingFileHandler(file, maxBytes=LOG_BYTES, backupCount=1)]
    except OSError as error:
        LOG.error("open log failed file=%s error=%s", file, error)
        return []


def boot(paths: Paths, steps: tuple[Step, ...] = STEPS) -> int:
    secrets = Secrets()
    tail = log_to_journal(secrets, paths.log)
    threading.Thread(target=__import__, args=("boto3",), daemon=True).start()  # 0.2 s, while the first requests run
    total = Deadline(MAX_BOOT)
    context = BootContext(
        paths=paths,
        metadata=Metadata(),
        secrets=secrets,
        total=total,
        deadline=total,
        status=BootStatus.begin(paths.status),
    )
    try:
        run_steps(context, steps)
    except StepError as error:
        fail(context, error, tail)
        return 1
    report.best_effort("status", lambda: finish(context.status, BootState.READY))
    LOG.info("finish boot release=%s seconds=%.3f", context.status.release, sum(context.status.steps.values()))
    return 0


def fail(context: BootContext, error: StepError, tail: Tail) -> None:
    text = context.secrets.mask(str(error))
    LOG.error("fail step=%s error=%s", error.step, text)
    context.status.error = text
    shutil.rmtree(context.paths.work, ignore_errors=True)  # where the disk is full, this is what filled it
    report.best_effort("status", lambda: finish(context.status, BootState.FAILED))
    if not hasattr(context, "cloud"):
        LOG.error("report impossible reason=the region is unknown")
        return
    failure_notifications.notify_all(context, boot_failure(context, error.step, tail.lines), report.BackgroundReports())


def boot_failure(context: BootContext, step: str, lines: Iterable[str]) -> BootFailed:
    """The failure of the boot that the status describes, sanitized."""
    status = context.status
    failure = BootFailed(
        **context.origin,
        time=status.finished,
        step=step,
        error=status.error,
        step_seconds=status.steps,
        lines=tuple(lines),
    )
    return sanitized(failure, context.secrets)


def finish(status: BootStatus, state: BootState) -> None:
    if status.state is not state:  # the failure unit repeats a message with its original time
        status.state, status.finished = state, timestamp()
    status.save()


def failed(paths: Paths) -> int:
    """Runs after the boot unit failed: it was killed, ran out of memory or time, or a channel could not be notified."""
    secrets = app_secrets(paths.env_file)
    log_to_journal(secrets, paths.log)
    status = BootStatus.load(paths.status)
    if status.state is BootState.FAILED and status.reported:
        return 0
    deadline = Deadline(FAILED_SECONDS)
    context = BootContext(
        paths=paths, metadata=Metadata(), secrets=secrets, total=deadline, deadline=deadline, status=status
    )
    try:
        identify(context)
    except (OSError, ValueError, TransientError) as error:
        LOG.error("report impossible reason=the instance's identity is unknown error=%s", error)
        failure_notifications.power_off(context)
        return 1
    status.error = status.error or f"the boot program exited without a report: {unit_result()}"
    lines = boot_journal()
    report.best_effort("status", lambda: finish(status, BootState.FAILED))
    failure = boot_failure(context, status.step, lines)
    failure_notifications.retry_until_notified(context, failure)
    if failure_notifications.GROUP not in status.notified:
        failure_notifications.power_off(context)
    return 0 if status.reported else 1


def identify(context: BootContext) -> None:
    """Read identity, region and user data, within the context's deadline."""
    context.identity = retry(context.metadata.identity, what="identity", deadline=context.deadline)
    context.cloud = Cloud(context.identity.region)
    text = retry(context.metadata.user_data, what="user data", deadline=context.deadline)
    context.reporting_info = ReportingInfo.parse(text)


def app_secrets(env_file: Path) -> Secrets:
    """The app's parameters, secret or not, from the env file that the failed boot wrote."""
    try:
        pairs = read_pairs(env_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Secrets()
    return Secrets(value for name, value in pairs.items() if name not in parameters.INSTANCE_VARIABLES)


def unit_result() -> str:
    """How the failed unit ended, from the variables that systemd passes to an OnFailure unit."""
    names = ("MONITOR_SERVICE_RESULT", "MONITOR_EXIT_CODE", "MONITOR_EXIT_STATUS")
    return ", ".join(os.environ[name] for name in names if name in os.environ) or "unknown reason"


def boot_journal() -> list[str]:
    command = ["journalctl", "--unit", "bluegreen-boot", "--boot", "--lines", str(TAIL_LINES), "--output", "cat"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"no journal: {error}"]
    return done.stdout.splitlines()


def drain_unit(paths: Paths) -> int:
    log_to_journal(Secrets())
    return drain.main(Metadata(), paths)


def logs_unit(paths: Paths) -> int:
    log_to_journal(Secrets())
    return system_logs.main(Metadata(), paths)


def watch_unit(paths: Paths) -> int:
    secrets, deadline = app_secrets(paths.env_file), Deadline(WATCH_SECONDS)
    log_to_journal(secrets)
    status = BootStatus.load(paths.status)
    context = BootContext(
        paths=paths, metadata=Metadata(), secrets=secrets, total=deadline, deadline=deadline, status=status
    )
    try:
        identify(context)
    except (OSError, ValueError, TransientError) as error:
        LOG.error("watch impossible reason=the instance's identity is unknown error=%s", error)
        return 1
    return watch.main(context)


COMMANDS = {"boot": boot, "failed": failed, "drain": drain_unit, "logs": logs_unit, "watch": watch_unit}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="boot", description=__doc__)
    parser.add_argument("command", nargs="?", choices=COMMANDS, default="boot")
    parser.add_argument("--disk", type=Path, default=Paths.disk, help="kept over a reboot (default: %(default)s)")
    parser.add_argument("--memory", type=Path, default=Paths.memory, help="lost at a reboot (default: %(default)s)")
    options = parser.parse_args(arguments)
    return COMMANDS[options.command](Paths(disk=options.disk, memory=options.memory))


if __name__ == "__main__":
    sys.exit(main())

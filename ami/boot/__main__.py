"""A machine's units run this file: boot, failed (what boot could not report), drain, logs, or watch."""

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

from . import drain, news, parameters, report, system_logs, watch
from .cloud import Cloud
from .files import read_pairs
from .machine import Machine, Places
from .masking import TAIL_LINES, MaskingFormatter, Secrets, Tail
from .messages import BootFailed, sanitized, timestamp
from .metadata import Metadata
from .retrying import Deadline, TransientError, retry
from .status import State, Status
from .steps import STEPS, Step, StepError, run_steps
from .user_data import MAX_BOOT, Known

LOG = logging.getLogger("boot")
FAILED_SECONDS = 60.0  # for the failure unit to learn who it is
WATCH_SECONDS = 300.0  # for the watch; it is started again, and nothing is missed meanwhile
LOG_BYTES = 4 << 20  # and as much of older lines: many boots of a machine that is rebooted each night


def log_to_journal(secrets: Secrets, file: Path | None = None) -> Tail:
    """Without secrets, also into the file, where there is one: the log agent sends that away."""
    formatter, tail = MaskingFormatter(secrets), Tail()

    def add(handlers: list[logging.Handler]) -> None:
        for handler in handlers:
            handler.setFormatter(formatter)
            LOG.addHandler(handler)

    LOG.setLevel(logging.INFO)
    add([logging.StreamHandler(sys.stdout), tail])
    if file is not None:
        add(_into(file))
    return tail


def _into(file: Path) -> list[logging.Handler]:
    """None when the disk takes no file: that must not end a boot, whose own steps tell what is wrong with the disk."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return [RotatingFileHandler(file, maxBytes=LOG_BYTES, backupCount=1)]
    except OSError as error:
        LOG.error("open log failed file=%s error=%s", file, error)
        return []


def boot(places: Places, steps: tuple[Step, ...] = STEPS) -> int:
    secrets = Secrets()
    tail = log_to_journal(secrets, places.log)
    threading.Thread(target=__import__, args=("boto3",), daemon=True).start()  # 0.2 s, beside the first questions
    total = Deadline(MAX_BOOT)
    machine = Machine(
        places=places,
        metadata=Metadata(),
        secrets=secrets,
        total=total,
        deadline=total,
        status=Status.begin(places.status),
    )
    try:
        run_steps(machine, steps)
    except StepError as error:
        fail(machine, error, tail)
        return 1
    report.attempt("status", lambda: finish(machine.status, State.READY))
    LOG.info("finish boot release=%s seconds=%.3f", machine.status.release, sum(machine.status.steps.values()))
    return 0


def fail(machine: Machine, error: StepError, tail: Tail) -> None:
    text = machine.secrets.mask(str(error))
    LOG.error("fail step=%s error=%s", error.step, text)
    machine.status.error = text
    shutil.rmtree(machine.places.work, ignore_errors=True)  # where the disk is full, this is what filled it
    report.attempt("status", lambda: finish(machine.status, State.FAILED))
    if not hasattr(machine, "cloud"):
        LOG.error("report impossible reason=the machine does not know its region")
        return
    news.spread(machine, failure_of(machine, error.step, tail.lines), report.Reports())


def failure_of(machine: Machine, step: str, lines: Iterable[str]) -> BootFailed:
    """Of the boot that the status tells of."""
    status = machine.status
    found = BootFailed(
        **machine.origin,
        time=status.finished,
        step=step,
        error=status.error,
        step_seconds=status.steps,
        lines=tuple(lines),
    )
    return sanitized(found, machine.secrets)


def finish(status: Status, state: State) -> None:
    if status.state is not state:  # the failure unit repeats a message with the time that it bore
        status.state, status.finished = state, timestamp()
    status.save()


def failed(places: Places) -> int:
    """Runs after the boot unit failed: it was killed, out of memory or of time, or somebody could not be told."""
    secrets = app_secrets(places.env_file)
    log_to_journal(secrets, places.log)
    status = Status.load(places.status)
    if status.state is State.FAILED and status.reported:
        return 0
    limit = Deadline(FAILED_SECONDS)
    machine = Machine(places=places, metadata=Metadata(), secrets=secrets, total=limit, deadline=limit, status=status)
    try:
        know_oneself(machine)
    except (OSError, ValueError, TransientError) as unknown:
        LOG.error("report impossible reason=the machine does not know itself error=%s", unknown)
        news.power_off(machine)
        return 1
    status.error = status.error or f"the boot program ended without a report: {unit_result()}"
    lines = boot_journal()
    report.attempt("status", lambda: finish(status, State.FAILED))
    failure = failure_of(machine, status.step, lines)
    news.insist(machine, failure)
    if news.GROUP not in status.told:
        news.power_off(machine)
    return 0 if status.reported else 1


def know_oneself(machine: Machine) -> None:
    """Identity, region and user data, within the machine's deadline."""
    machine.identity = retry(machine.metadata.identity, what="identity", deadline=machine.deadline)
    machine.cloud = Cloud(machine.identity.region)
    machine.known = Known.of(retry(machine.metadata.user_data, what="user data", deadline=machine.deadline))


def app_secrets(env_file: Path) -> Secrets:
    """What the boot that failed had been told, and this process has not: the app's parameters, secret or not."""
    try:
        pairs = read_pairs(env_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Secrets()
    return Secrets(value for name, value in pairs.items() if name not in parameters.MACHINE_NAMES)


def unit_result() -> str:
    """systemd tells an OnFailure unit how the failed one ended."""
    names = ("MONITOR_SERVICE_RESULT", "MONITOR_EXIT_CODE", "MONITOR_EXIT_STATUS")
    return ", ".join(os.environ[name] for name in names if name in os.environ) or "no reason known"


def boot_journal() -> list[str]:
    command = ["journalctl", "--unit", "bluegreen-boot", "--boot", "--lines", str(TAIL_LINES), "--output", "cat"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"no journal: {error}"]
    return done.stdout.splitlines()


def drain_unit(places: Places) -> int:
    log_to_journal(Secrets())
    return drain.main(Metadata(), places)


def logs_unit(places: Places) -> int:
    log_to_journal(Secrets())
    return system_logs.main(Metadata(), places)


def watch_unit(places: Places) -> int:
    secrets, limit = app_secrets(places.env_file), Deadline(WATCH_SECONDS)
    log_to_journal(secrets)
    status = Status.load(places.status)
    machine = Machine(places=places, metadata=Metadata(), secrets=secrets, total=limit, deadline=limit, status=status)
    try:
        know_oneself(machine)
    except (OSError, ValueError, TransientError) as unknown:
        LOG.error("watch impossible reason=the machine does not know itself error=%s", unknown)
        return 1
    return watch.main(machine)


COMMANDS = {"boot": boot, "failed": failed, "drain": drain_unit, "logs": logs_unit, "watch": watch_unit}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="boot", description=__doc__)
    parser.add_argument("command", nargs="?", choices=COMMANDS, default="boot")
    parser.add_argument("--disk", type=Path, default=Places.disk, help="what outlives a reboot (default: %(default)s)")
    parser.add_argument("--memory", type=Path, default=Places.memory, help="what must not (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    return COMMANDS[chosen.command](Places(disk=chosen.disk, memory=chosen.memory))


if __name__ == "__main__":
    sys.exit(main())

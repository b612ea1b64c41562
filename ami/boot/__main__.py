"""A machine's units run this file: boot, failed (what boot could not report), drain, or logs."""

import argparse
import logging
import os
import subprocess
import sys
import threading
from logging.handlers import RotatingFileHandler
from pathlib import Path

from . import drain, report, system_logs
from .cloud import Cloud
from .machine import Machine, Places
from .masking import TAIL_LINES, MaskingFormatter, Secrets, Tail
from .metadata import Metadata
from .retrying import Deadline
from .settings import LONGEST_BOOT, read_pairs
from .status import State, Status, now
from .steps import STEPS, Step, StepError, run_steps

LOG = logging.getLogger("boot")
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
    total = Deadline(LONGEST_BOOT)
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
    finish(machine.status, State.READY)
    LOG.info("finish boot release=%s seconds=%.3f", machine.status.release, sum(machine.status.steps.values()))
    return 0


def fail(machine: Machine, error: StepError, tail: Tail) -> None:
    text = machine.secrets.mask(str(error))
    LOG.error("fail step=%s error=%s", error.step, text)
    machine.status.error = text
    finish(machine.status, State.FAILED)
    if not hasattr(machine, "cloud"):
        LOG.error("report impossible reason=the machine does not know its region")
        return
    identity, steps = machine.identity.instance_id, machine.status.steps
    failure = failure_of(machine.pairs, error.step, text, instance=identity, timings=steps, tail=tuple(tail.lines))
    machine.status.reported = tell(machine, failure)
    machine.status.save()


def failure_of(
    pairs: dict[str, str], step: str, error: str, *, instance: str, timings: dict[str, float], tail: tuple[str, ...]
) -> report.Failure:
    return report.Failure(
        step=step,
        error=error,
        instance=instance,
        release=pairs.get("RELEASE", ""),
        color=pairs.get("COLOR", ""),
        stack=pairs.get("STACK", ""),
        timings=timings,
        log_tail=tail,
    )


def tell(machine: Machine, failure: report.Failure) -> bool:
    """People first: the group ends the machine as soon as it knows. True when both got the news."""
    cloud, topic = machine.cloud, machine.pairs.get("ALERTS_TOPIC_ARN", "")
    limit = Deadline(report.REPORT_SECONDS)
    told = not topic or report.attempt(
        "notification", lambda: report.notify(cloud, topic, failure, machine.secrets, limit)
    )
    _count(machine, failure)
    hook, served_before = machine.pairs.get("LAUNCH_HOOK", "boot"), machine.status.served_before
    left = report.attempt("group", lambda: report.give_up(cloud, hook, failure.instance, served_before=served_before))
    return left and told


def _count(machine: Machine, failure: report.Failure) -> None:
    """For the alarm that watches the color; user data that could not be read names none."""
    if not (failure.stack and failure.color):
        return
    dimensions = {"Stack": failure.stack, "Color": failure.color}
    namespace = machine.pairs.get("METRICS_NAMESPACE", "bluegreen")
    limit = Deadline(report.REPORT_SECONDS)
    report.attempt("metric", lambda: report.put_failure(machine.cloud, namespace, dimensions, limit))


def finish(status: Status, state: State) -> None:
    status.state, status.finished = state, now()
    status.save()


def failed(places: Places) -> int:
    """Runs after the boot unit failed. Killed, out of memory or of time: then nobody has heard of it yet."""
    secrets = Secrets()
    log_to_journal(secrets, places.log)
    status = Status.load(places.status)
    if status.state is State.FAILED and status.reported:
        return 0
    limit = Deadline(60)
    machine = Machine(places=places, metadata=Metadata(), secrets=secrets, total=limit, deadline=limit, status=status)
    machine.identity = machine.metadata.identity()
    machine.cloud = Cloud(machine.identity.region)
    machine.pairs = read_pairs(machine.metadata.user_data())
    error = status.error or f"the boot program ended without a report: {unit_result()}"
    instance, tail = machine.identity.instance_id, tuple(boot_journal())
    failure = failure_of(machine.pairs, status.step, error, instance=instance, timings=status.steps, tail=tail)
    status.error, status.reported = error, tell(machine, failure)
    finish(status, State.FAILED)
    return 0 if status.reported else 1


def unit_result() -> str:
    """systemd tells an OnFailure unit how the failed one ended."""
    names = ("MONITOR_SERVICE_RESULT", "MONITOR_EXIT_CODE", "MONITOR_EXIT_STATUS")
    return ", ".join(os.environ[name] for name in names if name in os.environ) or "no reason known"


def boot_journal() -> list[str]:
    command = ["journalctl", "--unit", "bluegreen-boot", "--boot", "--lines", str(TAIL_LINES), "--output", "cat"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"no journal: {error}"]
    return done.stdout.splitlines()


def drain_unit(_: Places) -> int:
    log_to_journal(Secrets())
    return drain.main(Metadata())


def logs_unit(places: Places) -> int:
    log_to_journal(Secrets())
    return system_logs.main(Metadata(), places)


COMMANDS = {"boot": boot, "failed": failed, "drain": drain_unit, "logs": logs_unit}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="boot", description=__doc__)
    parser.add_argument("command", nargs="?", choices=COMMANDS, default="boot")
    parser.add_argument("--disk", type=Path, default=Places.disk, help="what outlives a reboot (default: %(default)s)")
    parser.add_argument("--memory", type=Path, default=Places.memory, help="what must not (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    return COMMANDS[chosen.command](Places(disk=chosen.disk, memory=chosen.memory))


if __name__ == "__main__":
    sys.exit(main())

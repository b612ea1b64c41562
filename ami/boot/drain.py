"""Drain of an instance: the app finishes its work before a termination or shutdown."""

import logging
import signal
import threading
import time

from . import container, report
from .boot_context import Paths
from .cloud import Cloud, is_retryable
from .commands import CommandError
from .metadata import TERMINATED, Metadata
from .retrying import Deadline, TransientError, retry
from .user_data import TERMINATION_HOOK, UserData, UserDataError, parse

LOG = logging.getLogger("boot")
POLL = 1.0  # one small request to the metadata service
MAX_DEREGISTRATION_SECONDS = 3700.0  # a load balancer's deregistration delay is 3,600 s at most
# While Auto Scaling can't be reached, the app serves on for so long: the default deregistration delay, twice.
MAX_UNREACHABLE_SECONDS = 60.0
# Docker flushes its buffer when a container exits. The log agent sends every 2 s, and needs some time to do it.
APP_LOG_FLUSH_SECONDS, SYSTEM_LOG_FLUSH_SECONDS = 1.0, 4.0
# The termination hook waits for the drain timeout and 30 seconds more: 10 for Docker's own work, 4 for the last lines,
# 10 for this; when it times out, the group continues without it.
COMPLETE_SECONDS = 10.0


def main(metadata: Metadata, paths: Paths) -> int:
    shutdown = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: shutdown.set())
    try:
        # Now, because the metadata service may be unreachable during the drain.
        user_data = parse(retry(metadata.user_data, what="user data", deadline=Deadline(300)))
    except UserDataError as error:
        LOG.error("skip drain error=%s", error)  # the boot failed for the same reason: no app runs
        return 0
    if wait_for_termination(metadata, shutdown):
        LOG.info("drain reason=terminated")
        drain_in_group(metadata, user_data, container.NAME, paths)
    else:
        LOG.info("drain reason=shutdown")
        stop_app(container.NAME, user_data.app.drain_timeout)
    return 0


def wait_for_termination(metadata: Metadata, shutdown: threading.Event) -> bool:
    """True when the group terminates the instance, False when it shuts down."""
    while not shutdown.is_set():
        try:
            if metadata.target_lifecycle_state() == TERMINATED:
                return True
        except TransientError as error:
            LOG.warning("read lifecycle state failed error=%s", error)
        shutdown.wait(POLL)
    return False


def drain_in_group(metadata: Metadata, user_data: UserData, name: str, paths: Paths) -> None:
    """Wait for deregistration, stop the app, let its log flush, complete the termination hook."""
    identity = retry(metadata.identity, what="identity", deadline=Deadline(MAX_UNREACHABLE_SECONDS))
    cloud = Cloud(identity.region)
    group = ""

    def look_up() -> None:
        nonlocal group
        group = _deregistered_group(cloud, identity.instance_id)

    report.best_effort("group lookup", look_up)
    stop_app(name, user_data.app.drain_timeout)
    time.sleep(log_flush_seconds(user_data, paths))
    if group:
        action = report.LifecycleAction(hook=TERMINATION_HOOK, group=group, instance_id=identity.instance_id)
        report.best_effort("drain", lambda: report.complete(cloud, action, "CONTINUE", Deadline(COMPLETE_SECONDS)))


def _deregistered_group(cloud: Cloud, instance_id: str) -> str:
    """The group, once the load balancer has deregistered the instance.

    The metadata says Terminated as soon as the termination begins; deregistration ends before the hook waits.
    """

    def lookup() -> str:
        group, state = retry(
            lambda: report.group_of(cloud, instance_id, Deadline(report.GROUP_SECONDS)),
            what="group",
            deadline=Deadline(MAX_UNREACHABLE_SECONDS),
            is_retryable=is_retryable,
        )
        if state == "Terminating":
            raise TransientError(f"group {group} still waits for deregistration")
        return group

    return retry(lookup, what="deregistration", deadline=Deadline(MAX_DEREGISTRATION_SECONDS))


def log_flush_seconds(user_data: UserData, paths: Paths) -> float:
    """Seconds until the last lines of the app and the system are sent."""
    if paths.log_agent.exists():
        return SYSTEM_LOG_FLUSH_SECONDS
    return APP_LOG_FLUSH_SECONDS if user_data.log_groups.app else 0.0


def stop_app(name: str, seconds: int) -> None:
    try:
        container.stop(name, seconds)
    except CommandError as error:
        LOG.warning("stop app failed error=%s", error)  # it may never have started

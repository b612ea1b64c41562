"""The app has finished its work and is stopped, because the group ends the machine or the machine shuts down."""

import logging
import signal
import threading

from . import container, report
from .cloud import Cloud
from .commands import CommandError
from .metadata import TERMINATED, Metadata
from .retrying import Deadline, TransientError, retry
from .settings import Settings, SettingsError, parse

LOG = logging.getLogger("boot")
POLL = 1.0  # one small request to the metadata service
LONGEST_DEREGISTRATION = 3700.0  # a balancer may take up to 3,600 s to let go


def main(metadata: Metadata) -> int:
    shutdown = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: shutdown.set())
    try:
        # Now, because the metadata may be out of reach when the time has come.
        settings = parse(retry(metadata.user_data, what="user data", deadline=Deadline(300)))
    except SettingsError as error:
        LOG.error("skip drain error=%s", error)  # the boot failed for the same reason: no app runs
        return 0
    if wait_for_end(metadata, shutdown):
        LOG.info("drain reason=terminated")
        end_in_group(metadata, settings, container.NAME)
    else:
        LOG.info("drain reason=shutdown")
        stop_app(container.NAME, settings.drain_seconds)
    return 0


def wait_for_end(metadata: Metadata, shutdown: threading.Event) -> bool:
    """True when the group ends this machine, False when the machine shuts down."""
    while not shutdown.is_set():
        try:
            if metadata.target_lifecycle_state() == TERMINATED:
                return True
        except TransientError as error:
            LOG.warning("ask lifecycle state failed error=%s", error)
        shutdown.wait(POLL)
    return False


def end_in_group(metadata: Metadata, settings: Settings, name: str) -> None:
    identity = metadata.identity()
    cloud = Cloud(identity.region)
    group = ""

    def look_up() -> None:
        nonlocal group
        group = _group_past_balancer(cloud, identity.instance_id)

    report.attempt("group lookup", look_up)
    stop_app(name, settings.drain_seconds)
    if group:
        action = report.Action(hook=settings.termination_hook, group=group, instance_id=identity.instance_id)
        report.attempt("drain", lambda: report.complete(cloud, action, "CONTINUE", Deadline(report.REPORT_SECONDS)))


def _group_past_balancer(cloud: Cloud, instance_id: str) -> str:
    """The metadata says Terminated as soon as the way out begins; the balancer lets go before the hook waits."""

    def ask() -> str:
        group, state = report.group_of(cloud, instance_id, Deadline(report.REPORT_SECONDS))
        if state == "Terminating":
            raise TransientError(f"group {group} still waits for the balancer")
        return group

    return retry(ask, what="balancer", deadline=Deadline(LONGEST_DEREGISTRATION))


def stop_app(name: str, seconds: int) -> None:
    try:
        container.stop(name, seconds)
    except CommandError as error:
        LOG.warning("stop app failed error=%s", error)  # it may never have started

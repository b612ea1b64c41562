"""The app has finished its work and is stopped, because the group ends the machine or the machine shuts down."""

import logging
import signal
import threading
import time

from . import container, report
from .cloud import Cloud, may_pass
from .commands import CommandError
from .machine import Places
from .metadata import TERMINATED, Metadata
from .retrying import Deadline, TransientError, retry
from .user_data import TERMINATION_HOOK, UserData, UserDataError, parse

LOG = logging.getLogger("boot")
POLL = 1.0  # one small request to the metadata service
LONGEST_DEREGISTRATION = 3700.0  # a balancer may take up to 3,600 s to let go
# Without an answer on where the group is, the app goes on for so long: the default time of a balancer to let go, twice.
LONGEST_SILENCE = 60.0
# Docker sends what it holds when a container ends. The log agent sends every 2 s, and needs some time to do it.
APP_LINES_SECONDS, SYSTEM_LINES_SECONDS = 1.0, 4.0
# The termination hook holds a machine for the drain timeout and 30 seconds more: 10 for Docker's own work, 4 for the
# last lines, 10 for this; when it is over, the group goes on by itself.
COMPLETE_SECONDS = 10.0


def main(metadata: Metadata, places: Places) -> int:
    shutdown = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: shutdown.set())
    try:
        # Now, because the metadata may be out of reach when the time has come.
        user_data = parse(retry(metadata.user_data, what="user data", deadline=Deadline(300)))
    except UserDataError as error:
        LOG.error("skip drain error=%s", error)  # the boot failed for the same reason: no app runs
        return 0
    if wait_for_end(metadata, shutdown):
        LOG.info("drain reason=terminated")
        end_in_group(metadata, user_data, container.NAME, places)
    else:
        LOG.info("drain reason=shutdown")
        stop_app(container.NAME, user_data.app.drain_timeout)
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


def end_in_group(metadata: Metadata, user_data: UserData, name: str, places: Places) -> None:
    """No new work since the balancer let go, the work that there was is done, its lines are away, the group goes on."""
    identity = retry(metadata.identity, what="identity", deadline=Deadline(LONGEST_SILENCE))
    cloud = Cloud(identity.region)
    group = ""

    def look_up() -> None:
        nonlocal group
        group = _group_past_balancer(cloud, identity.instance_id)

    report.attempt("group lookup", look_up)
    stop_app(name, user_data.app.drain_timeout)
    time.sleep(seconds_of_last_lines(user_data, places))
    if group:
        action = report.Action(hook=TERMINATION_HOOK, group=group, instance_id=identity.instance_id)
        report.attempt("drain", lambda: report.complete(cloud, action, "CONTINUE", Deadline(COMPLETE_SECONDS)))


def _group_past_balancer(cloud: Cloud, instance_id: str) -> str:
    """The metadata says Terminated as soon as the way out begins; the balancer lets go before the hook waits."""

    def ask() -> str:
        group, state = retry(
            lambda: report.group_of(cloud, instance_id, Deadline(report.GROUP_SECONDS)),
            what="group",
            deadline=Deadline(LONGEST_SILENCE),
            may_pass=may_pass,
        )
        if state == "Terminating":
            raise TransientError(f"group {group} still waits for the balancer")
        return group

    return retry(ask, what="balancer", deadline=Deadline(LONGEST_DEREGISTRATION))


def seconds_of_last_lines(user_data: UserData, places: Places) -> float:
    """How long the machine stays so that what the app and the system said last is sent away."""
    if places.log_agent.exists():
        return SYSTEM_LINES_SECONDS
    return APP_LINES_SECONDS if user_data.log_groups.app else 0.0


def stop_app(name: str, seconds: int) -> None:
    try:
        container.stop(name, seconds)
    except CommandError as error:
        LOG.warning("stop app failed error=%s", error)  # it may never have started

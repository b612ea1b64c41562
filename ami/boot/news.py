"""A failed boot is known to people, to the boot log, to the alarm and to the group; to each of them once."""

import logging
import subprocess
import time
from collections.abc import Callable

from . import report
from .machine import Machine
from .messages import BootFailed, InstanceFailure
from .report import Reports
from .retrying import Deadline
from .user_data import LAUNCH_HOOK, METRICS_NAMESPACE, Known

LOG = logging.getLogger("boot")
NOTIFICATION, EVENT, METRIC, GROUP = "notification", "event", "metric", "group"
ALL = (NOTIFICATION, EVENT, METRIC, GROUP)
INSIST_SECONDS = (
    60.0  # how long the failure unit goes on telling who has not heard; the group ends the machine meanwhile
)
INSIST_PAUSE = 5.0
POWER_OFF = ("systemctl", "--no-block", "poweroff")


def spread(machine: Machine, failure: BootFailed, reports: Reports) -> None:
    """People, log and alarm at once, then the group, which ends the machine as soon as it knows.

    What is down delays neither of the others by more than NEWS_SECONDS, and late answers are waited for only once the
    group knows. Those who have heard stand in the status.
    """
    news, missing = _news(machine, failure), _missing(machine)
    reports.start({what: news[what] for what in news if what in missing})
    _note(machine, reports.collect(report.NEWS_SECONDS))
    if GROUP in _missing(machine):
        cloud, before = machine.cloud, machine.status.served_before
        if report.attempt(GROUP, lambda: report.give_up(cloud, LAUNCH_HOOK, failure.instance, served_before=before)):
            _note(machine, {GROUP})
    _note(machine, reports.collect(report.LATE_SECONDS))


def insist(machine: Machine, failure: BootFailed) -> None:
    """Tell those who have not heard, again and again for a while.

    Also those whose answer never came, though they may have heard: twice is better than never, and the message's
    `time` is the same.
    """
    limit, reports = Deadline(INSIST_SECONDS), Reports()
    spread(machine, failure, reports)
    while _missing(machine) and limit.remaining() > INSIST_PAUSE:
        time.sleep(INSIST_PAUSE)
        spread(machine, failure, reports)


def power_off(machine: Machine) -> None:
    """The last resort of a machine whose group can't be told that it is of no use.

    EC2 Auto Scaling takes a machine that stops while its launch is under way for unhealthy, cancels the launch
    ("Instance became unhealthy while waiting for instance to be in InService state") and starts another; without that,
    it would wait until the launch hook's heartbeat is over. A machine that served before is left to the balancer's
    checks: its old container may still serve.
    """
    if machine.status.served_before:
        LOG.error("skip power off reason=the balancer's health checks decide on a machine that served before")
        return
    LOG.error("power off reason=the group can't be told that this machine is of no use")
    try:
        subprocess.run(POWER_OFF, check=True, timeout=30, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        LOG.error("power off failed error=%s", error)


def _missing(machine: Machine) -> list[str]:
    return [who for who in ALL if who not in machine.status.told]


def _note(machine: Machine, told: set[str]) -> None:
    machine.status.told = [who for who in ALL if who in {*machine.status.told, *told}]
    machine.status.reported = not _missing(machine)
    report.attempt("status", machine.status.save)  # a full disk is one of the failures that are told here


def _news(machine: Machine, failure: BootFailed) -> dict[str, Callable[[], None]]:
    """What each is told. Whom user data doesn't name needs no telling; without any, it is not known whom it names."""
    if machine.known is None:
        return {}
    cloud = machine.cloud
    dimensions = {"Stack": failure.stack, "Color": failure.color}
    limit = Deadline(report.NEWS_SECONDS)
    news = {**words(machine, failure, limit), METRIC: nobody}
    if failure.stack and failure.color:
        news[METRIC] = lambda: report.put_failure(cloud, METRICS_NAMESPACE, dimensions, limit)
    return news


def words(machine: Machine, message: InstanceFailure, limit: Deadline) -> dict[str, Callable[[], None]]:
    """What people and the boot log are told, the same text both."""
    cloud, known = machine.cloud, machine.known or Known()
    topic, group = known.alerts_topic_arn, known.boot_log_group
    return {
        NOTIFICATION: (lambda: report.publish(cloud, topic, message, limit)) if topic else nobody,
        EVENT: (lambda: report.write_event(cloud, group, message, limit)) if group else nobody,
    }


def nobody() -> None:
    """Is told by this."""

"""Failure notifications of a boot: alerts topic, boot log, alarm metric and Auto Scaling group, each once."""

import logging
import subprocess
import time
from collections.abc import Callable

from . import report
from .boot_context import BootContext
from .messages import BootFailed, InstanceFailure
from .report import BackgroundReports
from .retrying import Deadline
from .user_data import LAUNCH_HOOK, METRICS_NAMESPACE, ReportingInfo

LOG = logging.getLogger("boot")
NOTIFICATION, EVENT, METRIC, GROUP = "notification", "event", "metric", "group"
ALL = (NOTIFICATION, EVENT, METRIC, GROUP)
RETRY_SECONDS = 60.0  # how long the failure unit retries; the group terminates the instance meanwhile
RETRY_PAUSE = 5.0
POWER_OFF = ("systemctl", "--no-block", "poweroff")


def notify_all(context: BootContext, failure: BootFailed, reports: BackgroundReports) -> None:
    """Notify topic, log and metric concurrently, then the group, which terminates the instance at once.

    A channel that is down delays no other by more than NOTIFY_SECONDS, and late answers are waited for only once the
    group is notified. The status lists the channels that are.
    """
    channels, pending = _channels(context, failure), _pending(context)
    reports.start({name: channels[name] for name in channels if name in pending})
    _mark_notified(context, reports.collect(report.NOTIFY_SECONDS))
    if GROUP in _pending(context):
        cloud, served = context.cloud, context.status.served_before
        if report.best_effort(
            GROUP, lambda: report.abandon_launch(cloud, LAUNCH_HOOK, failure.instance, served_before=served)
        ):
            _mark_notified(context, {GROUP})
    _mark_notified(context, reports.collect(report.LATE_SECONDS))


def retry_until_notified(context: BootContext, failure: BootFailed) -> None:
    """Notify the channels that are left, and retry for RETRY_SECONDS.

    Also those that never answered, though they may have processed the request: a duplicate is better than nothing, and
    its `time` is the same.
    """
    deadline, reports = Deadline(RETRY_SECONDS), BackgroundReports()
    notify_all(context, failure, reports)
    while _pending(context) and deadline.remaining() > RETRY_PAUSE:
        time.sleep(RETRY_PAUSE)
        notify_all(context, failure, reports)


def power_off(context: BootContext) -> None:
    """Last resort of an instance that can't reach its Auto Scaling group.

    EC2 Auto Scaling counts an instance that stops during its launch as unhealthy, cancels the launch ("Instance became
    unhealthy while waiting for instance to be in InService state") and starts another; without that, it would wait
    until the launch hook's heartbeat times out. An instance that served before is left to the load balancer's health
    checks: its old container may still serve.
    """
    if context.status.served_before:
        LOG.error("skip power off reason=this instance served before, the load balancer's health checks decide")
        return
    LOG.error("power off reason=the Auto Scaling group can't be notified")
    try:
        subprocess.run(POWER_OFF, check=True, timeout=30, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        LOG.error("power off failed error=%s", error)


def _pending(context: BootContext) -> list[str]:
    return [name for name in ALL if name not in context.status.notified]


def _mark_notified(context: BootContext, notified: set[str]) -> None:
    context.status.notified = [name for name in ALL if name in {*context.status.notified, *notified}]
    context.status.reported = not _pending(context)
    report.best_effort("status", context.status.save)  # a full disk is one of the failures that are reported here


def _channels(context: BootContext, failure: BootFailed) -> dict[str, Callable[[], None]]:
    """Channels but for the group. One that user data doesn't name is skipped; without user data, none is known."""
    if context.reporting_info is None:
        return {}
    cloud = context.cloud
    dimensions = {"Stack": failure.stack, "Color": failure.color}
    deadline = Deadline(report.NOTIFY_SECONDS)
    channels = {**message_channels(context, failure, deadline), METRIC: no_channel}
    if failure.stack and failure.color:
        channels[METRIC] = lambda: report.put_failure(cloud, METRICS_NAMESPACE, dimensions, deadline)
    return channels


def message_channels(
    context: BootContext, message: InstanceFailure, deadline: Deadline
) -> dict[str, Callable[[], None]]:
    """Alerts topic and boot log, which get the same text."""
    cloud, info = context.cloud, context.reporting_info or ReportingInfo()
    topic, group = info.alerts_topic_arn, info.boot_log_group
    return {
        NOTIFICATION: (lambda: report.publish(cloud, topic, message, deadline)) if topic else no_channel,
        EVENT: (lambda: report.write_event(cloud, group, message, deadline)) if group else no_channel,
    }


def no_channel() -> None:
    """In place of a channel that the stack doesn't have."""

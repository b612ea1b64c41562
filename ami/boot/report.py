"""Reports of an instance: alerts topic, boot log, CloudWatch metrics and Auto Scaling group."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .cloud import Cloud, is_retryable, is_safe_to_repeat
from .messages import InstanceFailure, Message, body, log_stream
from .retrying import Deadline, retry

LOG = logging.getLogger("boot")
REPORT_SECONDS = 20.0  # for each call of a successful boot
# After a failure: topic, log and metric are notified concurrently, each for this long …
NOTIFY_SECONDS = 4.0
# … with this for late answers, once the group is notified: together above cloud.ANSWER_SECONDS, so that the boot
# program does not exit, and leave a retry to the failure unit, before the outcome of the first request is known.
LATE_SECONDS = 5.0
# … and then the group, for twice this long at most. Both with a last call's 5 s stay within the 20 s that the launch
# hook gives beyond the boot's own time.
GROUP_SECONDS = 4.0


def publish(cloud: Cloud, topic: str, message: Message, deadline: Deadline) -> None:
    arguments = {"TopicArn": topic, "Subject": message.subject, "Message": body(message)}
    _call_once(lambda: cloud.client_without_retries("sns").publish(**arguments), "notification", deadline)


def write_event(cloud: Cloud, group: str, message: InstanceFailure, deadline: Deadline) -> None:
    """The notification's text as one event in the log group: it outlives the instance, and a topic that is down."""
    stream = {"logGroupName": group, "logStreamName": log_stream(message.color, message.release, message.instance)}
    event = {"timestamp": int(time.time() * 1000), "message": body(message)}

    def write() -> None:
        client = cloud.client_without_retries("logs")
        try:
            client.create_log_stream(**stream)
        except client.exceptions.ResourceAlreadyExistsException:
            LOG.info("reuse log stream name=%s", stream["logStreamName"])  # of an earlier boot of this instance
        client.put_log_events(**stream, logEvents=[event])

    _call_once(write, "failure event", deadline)


def group_of(cloud: Cloud, instance_id: str, deadline: Deadline) -> tuple[str, str]:
    """The Auto Scaling group's name and the instance's lifecycle state; two empty strings without a group."""
    request = {"InstanceIds": [instance_id]}
    answer = _call(
        lambda: cloud.client("autoscaling", fail_fast=True).describe_auto_scaling_instances(**request),
        "group lookup",
        deadline,
    )
    for entry in answer["AutoScalingInstances"]:
        return entry["AutoScalingGroupName"], entry["LifecycleState"]
    return "", ""


@dataclass(frozen=True, kw_only=True)
class LifecycleAction:
    hook: str
    group: str
    instance_id: str


def complete(cloud: Cloud, action: LifecycleAction, result: str, deadline: Deadline) -> None:
    arguments = {
        "LifecycleHookName": action.hook,
        "AutoScalingGroupName": action.group,
        "InstanceId": action.instance_id,
        "LifecycleActionResult": result,
    }
    client = cloud.client("autoscaling", fail_fast=True)
    _call(lambda: client.complete_lifecycle_action(**arguments), "lifecycle action", deadline)
    LOG.info("complete lifecycle hook=%s result=%s", action.hook, result)


def mark_unhealthy(cloud: Cloud, instance_id: str, deadline: Deadline) -> None:
    _mark(cloud, instance_id, "Unhealthy", deadline)


def mark_healthy(cloud: Cloud, instance_id: str, deadline: Deadline) -> None:
    """Ends a restart, which marked the instance unhealthy before the reboot."""
    _mark(cloud, instance_id, "Healthy", deadline)


def _mark(cloud: Cloud, instance_id: str, health: str, deadline: Deadline) -> None:
    arguments = {"InstanceId": instance_id, "HealthStatus": health, "ShouldRespectGracePeriod": False}
    client = cloud.client("autoscaling", fail_fast=True)
    _call(lambda: client.set_instance_health(**arguments), "health mark", deadline)
    LOG.info("mark instance health=%s id=%s", health, instance_id)


def abandon_launch(cloud: Cloud, hook: str, instance_id: str, *, served_before: bool) -> None:
    """ABANDON while the launch hook waits; after that (a reboot), or where it fails, mark the instance unhealthy."""
    if not served_before and best_effort("abandon", lambda: _abandon(cloud, hook, instance_id)):
        return
    mark_unhealthy(cloud, instance_id, Deadline(GROUP_SECONDS))


def _abandon(cloud: Cloud, hook: str, instance_id: str) -> None:
    deadline = Deadline(GROUP_SECONDS)
    group, _ = group_of(cloud, instance_id, deadline)
    if group:
        complete(cloud, LifecycleAction(hook=hook, group=group, instance_id=instance_id), "ABANDON", deadline)
    else:
        LOG.info("skip lifecycle group=none")


def put_timings(
    cloud: Cloud, namespace: str, dimensions: Mapping[str, str], steps: Mapping[str, float], deadline: Deadline
) -> None:
    """The seconds of each step and of the entire boot."""
    data = [
        _datum("BootStepSeconds", {**dimensions, "Step": step}, seconds, "Seconds") for step, seconds in steps.items()
    ]
    _put(cloud, namespace, [*data, _datum("BootSeconds", dimensions, sum(steps.values()), "Seconds")], deadline)


def put_failure(cloud: Cloud, namespace: str, dimensions: Mapping[str, str], deadline: Deadline) -> None:
    _put(cloud, namespace, [_datum("BootFailures", dimensions, 1, "Count")], deadline)


def put_unexpected_exits(
    cloud: Cloud, namespace: str, dimensions: Mapping[str, str], exits: int, deadline: Deadline
) -> None:
    """Count unexpected exits of a running app."""
    _put(cloud, namespace, [_datum("UnexpectedAppExits", dimensions, exits, "Count")], deadline)


def put_local_log(cloud: Cloud, namespace: str, dimensions: Mapping[str, str], deadline: Deadline) -> None:
    """Count an app whose log stays on the instance, and is lost with it."""
    _put(cloud, namespace, [_datum("AppLogsKeptLocal", dimensions, 1, "Count")], deadline)


def _datum(name: str, dimensions: Mapping[str, str], value: float, unit: str) -> dict[str, Any]:
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    return {"MetricName": name, "Dimensions": named, "Value": value, "Unit": unit}


def _put(cloud: Cloud, namespace: str, data: list[dict[str, Any]], deadline: Deadline) -> None:
    """Without a timestamp, so that CloudWatch takes the time of arrival: an alarm ignores what is minutes old."""
    client = cloud.client_without_retries("cloudwatch")
    _call_once(lambda: client.put_metric_data(Namespace=namespace, MetricData=data), "metrics", deadline)


def best_effort(what: str, action: Callable[[], None]) -> bool:
    """Whether the action succeeded; its failure is a log line, as reporting must never hide what it reports."""
    try:
        action()
    except Exception as error:
        LOG.error("report failed what=%s error=%s", what, error)
        return False
    return True


class BackgroundReports:
    """Reports in progress, each in its own thread: none waits for another, one that hangs blocks nothing.

    A report whose outcome is unknown is never started again: its request may have been processed already.
    """

    def __init__(self) -> None:
        self._open: dict[str, threading.Thread] = {}
        self._succeeded = set[str]()

    def is_open(self, name: str) -> bool:
        return name in self._open

    def start(self, actions: Mapping[str, Callable[[], None]]) -> None:
        for name, action in actions.items():
            if name not in self._open:
                self._open[name] = threading.Thread(target=self._run, args=(name, action), daemon=True)
                self._open[name].start()

    def collect(self, timeout: float) -> set[str]:
        """Names of reports that succeeded since the last call; those still open after the timeout may succeed later."""
        deadline, succeeded = Deadline(timeout), set[str]()
        for name, thread in list(self._open.items()):
            thread.join(deadline.remaining())
            if thread.is_alive():
                LOG.error("report late what=%s seconds=%.1f", name, timeout)
                continue
            del self._open[name]
            succeeded |= self._succeeded & {name}
        self._succeeded -= succeeded
        return succeeded

    def _run(self, name: str, action: Callable[[], None]) -> None:
        if best_effort(name, action):
            self._succeeded.add(name)


def _call(action: Callable[[], Any], what: str, deadline: Deadline) -> Any:
    return retry(action, what=what, deadline=deadline, is_retryable=is_retryable)


def _call_once(action: Callable[[], Any], what: str, deadline: Deadline) -> Any:
    """Retries what AWS refused, never what it may have processed: that is left to the caller."""
    return retry(action, what=what, deadline=deadline, is_retryable=is_safe_to_repeat)

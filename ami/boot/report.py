"""Reports of a boot: to the alerts topic, the boot log, CloudWatch's metrics and the Auto Scaling group."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .cloud import Cloud, may_pass, was_refused
from .messages import InstanceFailure, Message, body, log_stream
from .retrying import Deadline, retry

LOG = logging.getLogger("boot")
REPORT_SECONDS = 20.0  # for each of the calls of a boot that is well
# After a failure: people, log and alarm are told at once, each for this long …
NEWS_SECONDS = 4.0
# … with this for late answers, once the group knows: together above cloud.ANSWER_SECONDS, so that the boot program does
# not end, and leave a repetition to the failure unit, before it knows what became of the first request.
LATE_SECONDS = 5.0
# … and then the group, for twice this long at most. Both with a last call's 5 s stay within the 20 s that the launch
# hook gives beyond the boot's own time.
GROUP_SECONDS = 4.0


def publish(cloud: Cloud, topic: str, message: Message, deadline: Deadline) -> None:
    arguments = {"TopicArn": topic, "Subject": message.subject, "Message": body(message)}
    _call_once(lambda: cloud.client_without_retries("sns").publish(**arguments), "notification", deadline)


def write_event(cloud: Cloud, group: str, message: InstanceFailure, deadline: Deadline) -> None:
    """The notification's text as one event in the log group: it outlives the machine, and a topic that is down."""
    where = {"logGroupName": group, "logStreamName": log_stream(message.color, message.release, message.instance)}
    event = {"timestamp": int(time.time() * 1000), "message": body(message)}

    def write() -> None:
        client = cloud.client_without_retries("logs")
        try:
            client.create_log_stream(**where)
        except client.exceptions.ResourceAlreadyExistsException:
            LOG.info("reuse log stream name=%s", where["logStreamName"])  # of an earlier boot of this machine
        client.put_log_events(**where, logEvents=[event])

    _call_once(write, "failure event", deadline)


def group_of(cloud: Cloud, instance_id: str, deadline: Deadline) -> tuple[str, str]:
    """The group's name and this machine's lifecycle state in it; two empty strings for a machine of no group."""
    asked = {"InstanceIds": [instance_id]}
    answer = _call(
        lambda: cloud.client("autoscaling", impatient=True).describe_auto_scaling_instances(**asked),
        "group lookup",
        deadline,
    )
    for entry in answer["AutoScalingInstances"]:
        return entry["AutoScalingGroupName"], entry["LifecycleState"]
    return "", ""


@dataclass(frozen=True, kw_only=True)
class Action:
    hook: str
    group: str
    instance_id: str


def complete(cloud: Cloud, action: Action, result: str, deadline: Deadline) -> None:
    arguments = {
        "LifecycleHookName": action.hook,
        "AutoScalingGroupName": action.group,
        "InstanceId": action.instance_id,
        "LifecycleActionResult": result,
    }
    client = cloud.client("autoscaling", impatient=True)
    _call(lambda: client.complete_lifecycle_action(**arguments), "lifecycle action", deadline)
    LOG.info("complete lifecycle hook=%s result=%s", action.hook, result)


def mark_unhealthy(cloud: Cloud, instance_id: str, deadline: Deadline) -> None:
    _mark(cloud, instance_id, "Unhealthy", deadline)


def mark_healthy(cloud: Cloud, instance_id: str, deadline: Deadline) -> None:
    """The sign that a reboot is over: whoever asked for it marked the machine unhealthy before."""
    _mark(cloud, instance_id, "Healthy", deadline)


def _mark(cloud: Cloud, instance_id: str, health: str, deadline: Deadline) -> None:
    arguments = {"InstanceId": instance_id, "HealthStatus": health, "ShouldRespectGracePeriod": False}
    client = cloud.client("autoscaling", impatient=True)
    _call(lambda: client.set_instance_health(**arguments), "health mark", deadline)
    LOG.info("mark instance health=%s id=%s", health, instance_id)


def give_up(cloud: Cloud, hook: str, instance_id: str, *, served_before: bool) -> None:
    """ABANDON while the launch hook waits; where that is over (a reboot) or fails, the machine is unhealthy."""
    if not served_before and attempt("abandon", lambda: _abandon(cloud, hook, instance_id)):
        return
    mark_unhealthy(cloud, instance_id, Deadline(GROUP_SECONDS))


def _abandon(cloud: Cloud, hook: str, instance_id: str) -> None:
    deadline = Deadline(GROUP_SECONDS)
    group, _ = group_of(cloud, instance_id, deadline)
    if group:
        complete(cloud, Action(hook=hook, group=group, instance_id=instance_id), "ABANDON", deadline)
    else:
        LOG.info("skip lifecycle group=none")


def put_timings(
    cloud: Cloud, namespace: str, dimensions: Mapping[str, str], steps: Mapping[str, float], deadline: Deadline
) -> None:
    """The seconds of each step and of the whole boot."""
    data = [
        _datum("BootStepSeconds", {**dimensions, "Step": step}, seconds, "Seconds") for step, seconds in steps.items()
    ]
    _put(cloud, namespace, [*data, _datum("BootSeconds", dimensions, sum(steps.values()), "Seconds")], deadline)


def put_failure(cloud: Cloud, namespace: str, dimensions: Mapping[str, str], deadline: Deadline) -> None:
    _put(cloud, namespace, [_datum("BootFailures", dimensions, 1, "Count")], deadline)


def put_app_ends(cloud: Cloud, namespace: str, dimensions: Mapping[str, str], ends: int, deadline: Deadline) -> None:
    """How often an app that served ended and nobody had asked it to."""
    _put(cloud, namespace, [_datum("AppEnds", dimensions, ends, "Count")], deadline)


def put_local_log(cloud: Cloud, namespace: str, dimensions: Mapping[str, str], deadline: Deadline) -> None:
    """The app serves, but its lines stay on the machine and go with it."""
    _put(cloud, namespace, [_datum("AppLogsKeptLocal", dimensions, 1, "Count")], deadline)


def _datum(name: str, dimensions: Mapping[str, str], value: float, unit: str) -> dict[str, Any]:
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    return {"MetricName": name, "Dimensions": named, "Value": value, "Unit": unit}


def _put(cloud: Cloud, namespace: str, data: list[dict[str, Any]], deadline: Deadline) -> None:
    """Without a timestamp, so that CloudWatch takes the time of arrival: an alarm overlooks what is of minutes ago."""
    client = cloud.client_without_retries("cloudwatch")
    _call_once(lambda: client.put_metric_data(Namespace=namespace, MetricData=data), "metrics", deadline)


def attempt(what: str, action: Callable[[], None]) -> bool:
    """Reporting must never hide what it reports: its own failure is a line in the journal."""
    try:
        action()
    except Exception as error:
        LOG.error("report failed what=%s error=%s", what, error)
        return False
    return True


class Reports:
    """Reports under way, each in a thread of its own: none waits for another, one that hangs holds up nothing.

    A report whose outcome is open is never started again: its request may have been processed already.
    """

    def __init__(self) -> None:
        self._open: dict[str, threading.Thread] = {}
        self._passed = set[str]()

    def is_open(self, name: str) -> bool:
        return name in self._open

    def start(self, actions: Mapping[str, Callable[[], None]]) -> None:
        for name, action in actions.items():
            if name not in self._open:
                self._open[name] = threading.Thread(target=self._run, args=(name, action), daemon=True)
                self._open[name].start()

    def collect(self, timeout: float) -> set[str]:
        """Those that have passed since the last call; what is still open after the timeout may pass later."""
        limit, passed = Deadline(timeout), set[str]()
        for name, thread in list(self._open.items()):
            thread.join(limit.remaining())
            if thread.is_alive():
                LOG.error("report late what=%s seconds=%.1f", name, timeout)
                continue
            del self._open[name]
            passed |= self._passed & {name}
        self._passed -= passed
        return passed

    def _run(self, name: str, action: Callable[[], None]) -> None:
        if attempt(name, action):
            self._passed.add(name)


def _call(action: Callable[[], Any], what: str, deadline: Deadline) -> Any:
    return retry(action, what=what, deadline=deadline, may_pass=may_pass)


def _call_once(action: Callable[[], Any], what: str, deadline: Deadline) -> Any:
    """Repeats what AWS refused, and nothing that it may have processed: whoever has to insist on that does so."""
    return retry(action, what=what, deadline=deadline, may_pass=was_refused)

"""The people and the Auto Scaling group know how the boot went."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .cloud import Cloud, may_pass
from .masking import Secrets
from .retrying import Deadline, retry

LOG = logging.getLogger("boot")
SUBJECT_LENGTH = 100  # SNS refuses more
REPORT_SECONDS = 20.0  # for each of the calls after a failure; the launch hook's own time runs on


@dataclass(frozen=True, kw_only=True)
class Failure:
    step: str
    error: str
    instance: str
    release: str
    color: str
    stack: str
    timings: Mapping[str, float] = field(default_factory=dict)
    log_tail: tuple[str, ...] = ()


def subject(failure: Failure, secrets: Secrets) -> str:
    text = f"Boot failed at {failure.step}: {failure.stack} {failure.color} {failure.release} {failure.instance}"
    printable = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in secrets.mask(text))
    return printable[:SUBJECT_LENGTH]


def message(failure: Failure, secrets: Secrets) -> str:
    content: dict[str, Any] = {**vars(failure), "error": secrets.mask(failure.error), "timings": dict(failure.timings)}
    content["log_tail"] = [secrets.mask(line) for line in failure.log_tail]
    return json.dumps(content, indent=2)


def notify(cloud: Cloud, topic: str, failure: Failure, secrets: Secrets, deadline: Deadline) -> None:
    arguments = {"TopicArn": topic, "Subject": subject(failure, secrets), "Message": message(failure, secrets)}
    _call(lambda: cloud.client("sns").publish(**arguments), "notification", deadline)


def group_of(cloud: Cloud, instance_id: str, deadline: Deadline) -> tuple[str, str]:
    """The group's name and this machine's lifecycle state in it; two empty strings for a machine of no group."""
    asked = {"InstanceIds": [instance_id]}
    answer = _call(
        lambda: cloud.client("autoscaling").describe_auto_scaling_instances(**asked), "group lookup", deadline
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
    _call(lambda: cloud.client("autoscaling").complete_lifecycle_action(**arguments), "lifecycle action", deadline)
    LOG.info("complete lifecycle hook=%s result=%s", action.hook, result)


def mark_unhealthy(cloud: Cloud, instance_id: str, deadline: Deadline) -> None:
    _mark(cloud, instance_id, "Unhealthy", deadline)


def mark_healthy(cloud: Cloud, instance_id: str, deadline: Deadline) -> None:
    """The sign that a reboot is over: whoever asked for it marked the machine unhealthy before."""
    _mark(cloud, instance_id, "Healthy", deadline)


def _mark(cloud: Cloud, instance_id: str, health: str, deadline: Deadline) -> None:
    arguments = {"InstanceId": instance_id, "HealthStatus": health, "ShouldRespectGracePeriod": False}
    _call(lambda: cloud.client("autoscaling").set_instance_health(**arguments), "health mark", deadline)
    LOG.info("mark instance health=%s id=%s", health, instance_id)


def give_up(cloud: Cloud, hook: str, instance_id: str, *, served_before: bool) -> None:
    """ABANDON while the launch hook waits; where that is over (a reboot) or fails, the machine is unhealthy."""
    if not served_before and attempt("abandon", lambda: _abandon(cloud, hook, instance_id)):
        return
    mark_unhealthy(cloud, instance_id, Deadline(REPORT_SECONDS))


def _abandon(cloud: Cloud, hook: str, instance_id: str) -> None:
    deadline = Deadline(REPORT_SECONDS)
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


def _datum(name: str, dimensions: Mapping[str, str], value: float, unit: str) -> dict[str, Any]:
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    return {"MetricName": name, "Dimensions": named, "Value": value, "Unit": unit}


def _put(cloud: Cloud, namespace: str, data: list[dict[str, Any]], deadline: Deadline) -> None:
    client = cloud.client("cloudwatch")
    _call(lambda: client.put_metric_data(Namespace=namespace, MetricData=data), "metrics", deadline)


def attempt(what: str, action: Callable[[], None]) -> bool:
    """Reporting must never hide what it reports: its own failure is a line in the journal."""
    try:
        action()
    except Exception as error:
        LOG.error("report failed what=%s error=%s", what, error)
        return False
    return True


def _call(action: Callable[[], Any], what: str, deadline: Deadline) -> Any:
    return retry(action, what=what, deadline=deadline, may_pass=may_pass)

"""EventBridge events of Auto Scaling groups, and SNS topics as targets of rules."""

from __future__ import annotations

import json
import logging
import re
import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from moto.events.models import events_backends
from moto.sns.models import sns_backends

from rehearsal.cloud.additions.activities import Activity
from rehearsal.cloud.additions.gap import Gap

GAPS = [
    Gap(
        service="autoscaling",
        action="(events)",
        reason="moto's groups send none; here EventBridge receives those of terminated instances and of failed "
        "launches, no others, and each at once and reliably, where AWS's delivery is best effort",
    ),
    Gap(
        service="events",
        action="(topics as targets of rules)",
        reason="moto sends events to none, and inserts texts into a template without the quotes that make them JSON; "
        "here a topic receives what EventBridge would send, but the target's permission to publish is not checked",
    ),
]

TERMINATED, NOT_LAUNCHED = "EC2 Instance Terminate Successful", "EC2 Instance Launch Unsuccessful"

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAME = re.compile(r"<([A-Za-z0-9_-]+)>")

log = logging.getLogger(__name__)


def send(group: Any, kind: str, activity: Activity, instance: str = "") -> None:
    """Send the activity's present state as an event. `kind` is the detail-type; `instance` may be empty."""
    event = _event(group, kind, activity, instance)
    # A webhook of a topic may be slow, and the group's caller holds the lock.
    threading.Thread(target=_dispatch, args=(event,), name="events", daemon=True).start()


def _event(group: Any, kind: str, activity: Activity, instance: str) -> dict[str, Any]:
    _, partition, _, region, account, _ = group.arn.split(":", 5)
    now = datetime.now(UTC)
    launches = kind == NOT_LAUNCHED
    instances = [f"arn:{partition}:ec2:{region}:{account}:instance/{instance}"] if instance else []
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": kind,
        "source": "aws.autoscaling",
        "account": account,
        "time": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "region": region,
        "resources": [group.arn, *instances],
        "detail": {
            **{key: activity[key] for key in ("ActivityId", "Cause", "Description", "StatusCode", "StatusMessage")},
            "AutoScalingGroupName": group.name,
            "Details": json.loads(activity["Details"]),
            "RequestId": activity["ActivityId"],
            "EC2InstanceId": instance,
            "StartTime": _moment(activity["StartTime"]),
            "EndTime": _moment(activity["EndTime"] or now),
            "Origin": "EC2" if launches else "AutoScalingGroup",
            "Destination": "AutoScalingGroup" if launches else "EC2",
        },
    }


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def _dispatch(event: Any) -> None:
    bus = events_backends[event["account"]][event["region"]].event_buses["default"]
    for rule in list(bus.rules.values()):
        # A rule without a pattern is a schedule, which moto would match with every event.
        if rule.state == "ENABLED" and rule.event_pattern.get_pattern() and rule.event_pattern.matches_event(event):
            for target in list(rule.targets):
                _publish(target, event, rule.name)


def _publish(target: Mapping[str, Any], event: dict[str, Any], rule: str) -> None:
    topic = sns_backends[event["account"]][event["region"]].topics.get(target["Arn"])
    if topic is None:
        log.warning("event not delivered rule=%s target=%s reason=unknown topic", rule, target["Arn"])
        return
    try:
        topic.publish(message(target, event))
    except Exception:
        log.exception("event not delivered rule=%s target=%s", rule, target["Arn"])


def message(target: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """Message to a target: the event, a part of it, a constant, or a template with parts of it.

    Raises ValueError for a path without a value and for a result that is not JSON: EventBridge counts a failed
    invocation then.
    """
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        return json.dumps(_at(target["InputPath"], event))
    if transformer := target.get("InputTransformer"):
        paths = transformer.get("InputPathsMap") or {}
        return _filled(transformer["InputTemplate"], {name: _at(path, event) for name, path in paths.items()})
    return json.dumps(event)


def _at(path: str, event: Mapping[str, Any]) -> Any:
    """Dots only, as in EventBridge's paths."""
    value: Any = event
    for key in path.removeprefix("$").split(".")[1:]:
        if not isinstance(value, Mapping) or key not in value:
            raise ValueError(f"path {path}: the event has nothing there")
        value = value[key]
    return value


def _filled(template: str, values: Mapping[str, Any]) -> str:
    """Values are inserted as text within a JSON string, as JSON elsewhere."""

    def inside(match: re.Match[str]) -> str:
        value = values[match[1]]
        return json.dumps(value if isinstance(value, str) else json.dumps(value))[1:-1]

    pieces, end = [], 0
    for text in _TEXT.finditer(template):
        pieces += [_NAME.sub(lambda match: json.dumps(values[match[1]]), template[end : text.start()])]
        pieces += [_NAME.sub(inside, text[0])]
        end = text.end()
    filled = "".join([*pieces, _NAME.sub(lambda match: json.dumps(values[match[1]]), template[end:])])
    json.loads(filled)
    return filled

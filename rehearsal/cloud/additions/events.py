"""Auto Scaling's events on the account's own bus, and topics that hear of those that a rule matches."""

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
        reason="moto's groups send none; here EventBridge gets those of instances that were terminated or could not be "
        "launched, no others, and each at once and for certain, where AWS promises its best effort",
    ),
    Gap(
        service="events",
        action="(topics as targets of rules)",
        reason="moto sends events to none, and puts texts into a template without the quotes that make them JSON; "
        "here a topic gets what EventBridge would send, though nobody asks whether the target's role may publish",
    ),
]

TERMINATED, NOT_LAUNCHED = "EC2 Instance Terminate Successful", "EC2 Instance Launch Unsuccessful"

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAME = re.compile(r"<([A-Za-z0-9_-]+)>")

log = logging.getLogger(__name__)


def send(group: Any, kind: str, activity: Activity, instance: str = "") -> None:
    """Rules hear of the activity as it is now. `kind` is the detail-type, `instance` empty where there is none."""
    event = _event(group, kind, activity, instance)
    # A webhook behind a topic may take its time, and the group's caller holds the lock.
    threading.Thread(target=_deliver, args=(event,), name="events", daemon=True).start()


def _event(group: Any, kind: str, activity: Activity, instance: str) -> dict[str, Any]:
    _, partition, _, region, account, _ = group.arn.split(":", 5)
    now = datetime.now(UTC)
    launches = kind == NOT_LAUNCHED
    about = [f"arn:{partition}:ec2:{region}:{account}:instance/{instance}"] if instance else []
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": kind,
        "source": "aws.autoscaling",
        "account": account,
        "time": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "region": region,
        "resources": [group.arn, *about],
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


def _deliver(event: Any) -> None:
    bus = events_backends[event["account"]][event["region"]].event_buses["default"]
    for rule in list(bus.rules.values()):
        # A rule without a pattern follows a schedule, and moto would let it match everything.
        if rule.state == "ENABLED" and rule.event_pattern.get_pattern() and rule.event_pattern.matches_event(event):
            for target in list(rule.targets):
                _tell(target, event, rule.name)


def _tell(target: Mapping[str, Any], event: dict[str, Any], rule: str) -> None:
    topic = sns_backends[event["account"]][event["region"]].topics.get(target["Arn"])
    if topic is None:
        log.warning("event not delivered rule=%s target=%s reason=no such topic here", rule, target["Arn"])
        return
    try:
        topic.publish(message(target, event))
    except Exception:
        log.exception("event not delivered rule=%s target=%s", rule, target["Arn"])


def message(target: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """What a target gets of an event: all of it, a part, a constant, or a template with parts in it.

    ValueError where a path leads to nothing or the outcome is no JSON: EventBridge counts a failed invocation then.
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
    """By dots only, as EventBridge takes paths."""
    found: Any = event
    for key in path.removeprefix("$").split(".")[1:]:
        if not isinstance(found, Mapping) or key not in found:
            raise ValueError(f"path {path}: the event has nothing there")
        found = found[key]
    return found


def _filled(template: str, values: Mapping[str, Any]) -> str:
    """Inside of a text a value stands as text, outside as JSON."""

    def inside(found: re.Match[str]) -> str:
        value = values[found[1]]
        return json.dumps(value if isinstance(value, str) else json.dumps(value))[1:-1]

    pieces, end = [], 0
    for text in _TEXT.finditer(template):
        pieces += [_NAME.sub(lambda found: json.dumps(values[found[1]]), template[end : text.start()])]
        pieces += [_NAME.sub(inside, text[0])]
        end = text.end()
    filled = "".join([*pieces, _NAME.sub(lambda found: json.dumps(values[found[1]]), template[end:])])
    json.loads(filled)
    return filled

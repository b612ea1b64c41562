"""Rows of the page from the emulator's and the load generator's data, and their changes for the log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fleet.colors import Color

IN_SERVICE = "InService"
PRESENT = ("Pending", "Pending:Wait", IN_SERVICE)
MESSAGE_KEYS = ("error", "reason", "NewStateReason")  # the first non-empty one is shown
MESSAGE_LENGTH = 300
FULL_WEIGHT = 100
OUT_OF_SERVICE = "an instance was taken out of service in response to "  # Auto Scaling's prefix of each cause


def traffic_row(status: Mapping[str, Any], weights: Mapping[str, int]) -> dict[str, Any]:
    """One second of the load generator's status.

    Responses without a color (docs/app-contract.md) count for the color with all traffic.
    """
    colors = {str(color): int(status["colors"].get(color, 0)) for color in Color}
    only = next((color for color, weight in weights.items() if weight == FULL_WEIGHT), None)
    if only is not None:
        colors[only] += max(0, status["requests"] - status["failed"] - sum(colors.values()))
    return {
        "time": status["time"],
        **colors,
        "requests": status["requests"],
        "failed": status["failed"],
        "p50": status["p50_ms"],
        "p99": status["p99_ms"],
        "releases": status["releases"],
    }


def instance_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """One instance as shown on the page; `health` is its target health."""
    boot = row["boot"]
    targets = set(row["targets"].values())
    return {
        "id": row["instance"],
        "color": row["color"],
        "release": row["release"],
        "zone": row["zone"],
        "address": row["address"],
        "lifecycle": row["lifecycle"],
        "health": next(iter(targets)) if len(targets) == 1 else "unused" if not targets else ", ".join(sorted(targets)),
        "cause": row["cause"].removeprefix(OUT_OF_SERVICE),
        "boot": boot_text(boot),
        "since": row["transitions"][0]["at"],
    }


def is_booting(row: Mapping[str, Any]) -> bool:
    """Whether the boot record may still change."""
    return row["lifecycle"] in PRESENT and row["boot"].get("state") not in ("ready", "failed")


def boot_text(boot: Mapping[str, Any]) -> str:
    """The current boot step, or the outcome."""
    match boot.get("state"):
        case "ready":
            return f"booted in {sum(boot.get('steps', {}).values()):.1f} s"
        case "failed":
            return f"boot failed at {boot.get('step', '?')}: {boot.get('error', '')}"
        case "booting":
            return f"boot step {boot.get('step') or 'begins'}"
    return ""


def color_rows(
    instances: Iterable[Mapping[str, Any]], weights: Mapping[str, int], groups: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Both colors: weight, releases, desired capacity, and instances by launch time."""
    rows, groups = list(instances), list(groups)
    live = max(weights, key=lambda color: weights[color], default="") if any(weights.values()) else ""
    return [
        {
            "color": color.value,
            "live": color == live,
            "weight": weights.get(color, 0),
            "releases": sorted({group["release"] for group in groups if group["color"] == color}),
            "desired": sum(group["desired"] for group in groups if group["color"] == color),
            "healthy": sum(row["color"] == color and row["health"] == "healthy" for row in rows),
            "instances": sorted((row for row in rows if row["color"] == color), key=lambda row: row["since"]),
        }
        for color in Color
    ]


def group_rows(groups: Iterable[Mapping[str, Any]], stack: str) -> list[dict[str, Any]]:
    """Auto Scaling groups of the stack, from the API's description."""
    rows = []
    for group in groups:
        tags = {tag["Key"]: tag["Value"] for tag in group["Tags"]}
        if tags.get("Stack") == stack and not group.get("Status"):
            release = tags.get("Release", "")
            rows.append({"color": tags.get("Color", ""), "release": release, "desired": group["DesiredCapacity"]})
    return rows


def weights_of(rule: Mapping[str, Any], colors: Mapping[str, str]) -> dict[str, int]:
    """Traffic weights of a listener rule; `colors` is target group ARN to color."""
    forwards = [action["ForwardConfig"]["TargetGroups"] for action in rule["Actions"] if action["Type"] == "forward"]
    weights = {colors[target["TargetGroupArn"]]: int(target["Weight"]) for targets in forwards for target in targets}
    total = sum(weights.values())
    return {color: round(FULL_WEIGHT * weight / total) if total else 0 for color, weight in weights.items()}


def alarm_rows(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Metric and composite alarms by name, those in state ALARM first."""
    rows = [
        {
            "name": alarm["AlarmName"],
            "state": alarm["StateValue"],
            "reason": alarm.get("StateReason", ""),
            "since": alarm["StateUpdatedTimestamp"].timestamp(),
            "composite": "AlarmRule" in alarm,
        }
        for alarm in (*answer.get("CompositeAlarms", ()), *answer.get("MetricAlarms", ()))
    ]
    return sorted(rows, key=lambda row: (row["state"] != "ALARM", row["name"]))


def notification_row(number: int, at: float, subject: str, message: str) -> dict[str, Any]:
    """A message of the alerts topic: its subject and the reason in it."""
    try:
        facts = json.loads(message)
    except ValueError:
        facts = {}
    facts = facts if isinstance(facts, dict) else {}
    text = next((str(facts[key]) for key in MESSAGE_KEYS if facts.get(key)), "" if facts else message)
    subject = subject or str(facts.get("subject", "")) or str(facts.get("AlarmName", "")) or "message"
    return {"number": number, "time": at, "subject": subject, "text": text[:MESSAGE_LENGTH]}


def undelivered(notices: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """(kind, text) for each webhook that a message was not delivered to."""
    for notice in notices:
        for reason in notice.undelivered:
            yield "bad", f"webhook {reason}"


def instance_changes(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """(kind, text) for each instance that was launched, changed its state or health, or is gone."""
    for name, row in after.items():
        old = before.get(name)
        if old is None:
            yield "launch", f"{name} launched: {row['color']} {row['release']} in {row['zone']}"
            continue
        if row["lifecycle"] != old["lifecycle"]:
            yield from _lifecycle_change(row)
        elif row["lifecycle"] == IN_SERVICE and row["health"] != old["health"]:
            kind = "bad" if row["health"] == "unhealthy" else "instance"
            yield kind, f"{name} ({row['color']} {row['release']}) is {row['health']} for the load balancer"
    for name, row in before.items():
        if name not in after:
            yield "end", f"{name} ended: {row['color']} {row['release']}"


def _lifecycle_change(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    label = f"{row['id']} ({row['color']} {row['release']})"
    if row["lifecycle"] == IN_SERVICE:
        yield "instance", f"{label} is in service, {row['boot']}" if row["boot"] else f"{label} is in service"
    elif row["lifecycle"] == "Terminating":
        yield "instance", f"{label} is being terminated{': ' + row['cause'] if row['cause'] else ''}"


def weight_change(before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    if before != after:
        yield "traffic", "traffic: " + ", ".join(f"{color} {after.get(color, 0)} %" for color in Color)


def alarm_changes(before: Mapping[str, str] | None, after: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """(kind, text) for each alarm that entered or left the state ALARM."""
    for row in after:
        was = (before or {}).get(row["name"])
        if row["state"] == "ALARM" and was != "ALARM":
            yield "bad", f"alarm {row['name']} is on: {row['reason']}"
        elif was == "ALARM" and row["state"] != "ALARM":
            yield "good", f"alarm {row['name']} is off"


def update_text(update: Mapping[str, Any]) -> str:
    """An update in the history of Pulumi's file backend as one line."""
    changes = {kind: count for kind, count in (update.get("resourceChanges") or {}).items() if kind != "same" and count}
    summary = ", ".join(f"{count} {kind}" for kind, count in sorted(changes.items())) or "no change"
    seconds = max(0, int(update.get("endTime", 0)) - int(update.get("startTime", 0)))
    kind = {"update": "up"}.get(str(update.get("kind")), str(update.get("kind")))
    return f"pulumi {kind} {update.get('result', '')} after {seconds} s: {summary}"

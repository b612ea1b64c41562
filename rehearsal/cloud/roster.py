"""Machines as the rehearsal's live view and report show them: one plain row each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rehearsal.cloud.additions import groups
from rehearsal.cloud.additions.members import Member
from rehearsal.cloud.machines import Machines


def row(member: Member, machines: Machines, image: str) -> dict[str, Any]:
    instance, group = member.instance, member.auto_scaling_group
    tags = {tag["Key"]: tag["Value"] for tag in group.tags}
    return {
        "instance": instance.id,
        "group": group.name,
        **{key.lower(): tags.get(key, "") for key in ("Stack", "Color", "Release")},
        "ami": instance.image_id,
        "image": image,
        "address": instance.private_ip,
        "zone": instance.placement.zone,
        "lifecycle": str(member.lifecycle_state),
        "health": member.health_status,
        "targets": {tg.arn: health(tg, instance.id) for tg in groups.target_groups(group)},
        "machine": str(machines.phase(instance.id)),
        "moves": [{"state": state, "at": at} for state, at in member.moves],
        "cause": member.cause,
        "boot": dict(machines.status(instance.id)),
    }


def health(target_group: Any, instance: str) -> str:
    return str(target_group.health_for({"Id": instance}, None).status)


def boot(row_: Mapping[str, Any]) -> dict[str, Any] | None:
    """One entry of report.json's `boots`, from a row whose machine has written its record."""
    status = row_["boot"]
    if not status:
        return None
    return {
        "instance": row_["instance"],
        "release": status.get("release", ""),
        "state": status.get("state", ""),
        "seconds": _between(status.get("started"), status.get("finished")),
        "steps": status.get("steps", {}),
    }


def _between(started: Any, finished: Any) -> float | None:
    """Seconds from one moment to another, given as numbers or in ISO 8601; None while one is missing."""
    if not started or not finished:
        return None
    return round(_moment(finished) - _moment(started), 3)


def _moment(value: Any) -> float:
    return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else float(value)

"""Machines as the rehearsal's live view and report show them: one plain row each."""

from __future__ import annotations

from typing import Any

from rehearsal.cloud.additions import groups
from rehearsal.cloud.additions.members import Member
from rehearsal.cloud.instances import Machines


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

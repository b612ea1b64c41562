"""Instance rows for the control API, the playground's page and the report."""

from __future__ import annotations

from typing import Any

from rehearsal.cloud.additions import groups
from rehearsal.cloud.additions.members import Member
from rehearsal.cloud.instances import Instances


def row(member: Member, instances: Instances, image: str) -> dict[str, Any]:
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
        "container": str(instances.phase(instance.id)),
        "transitions": [{"state": state, "at": at} for state, at in member.transitions],
        "cause": member.cause,
        "boot": dict(instances.boot_record(instance.id)),
    }


def health(target_group: Any, instance: str) -> str:
    return str(target_group.health_for({"Id": instance}, None).status)

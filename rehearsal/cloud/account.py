"""Emulated AWS account as the controller reads it: groups, instances, and each instance's metadata."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.cloudwatch.models import cloudwatch_backends
from moto.ec2.models import ec2_backends
from moto.elbv2.models import elbv2_backends
from moto.iam.models import iam_backends

from rehearsal.cloud.additions.members import LifecycleState, Member
from rehearsal.cloud.metadata import InstanceMetadata


def _existing(backends: Any) -> Iterator[Any]:
    for regions in list(backends.values()):
        yield from list(regions.values())


def groups() -> list[Any]:
    return [group for backend in _existing(autoscaling_backends) for group in list(backend.autoscaling_groups.values())]


def load_balancer_backends() -> list[Any]:
    return list(_existing(elbv2_backends))


def metric_backends() -> list[Any]:
    return list(_existing(cloudwatch_backends))


def instance_at(address: str) -> Any | None:
    for backend in _existing(ec2_backends):
        for reservation in list(backend.reservations.values()):
            for instance in reservation.instances:
                if instance.state == "running" and instance.private_ip == address:
                    return instance
    return None


def color_at(address: str) -> str:
    """Color of the instance at this address; empty without an instance or a Color tag."""
    instance = instance_at(address)
    tags = instance.get_tags() if instance else []
    return next((str(tag["value"]) for tag in tags if tag["key"] == "Color"), "")


def address_of(instance_id: str) -> str | None:
    for backend in _existing(ec2_backends):
        if instance := backend.get_instance_by_id(instance_id):
            return str(instance.private_ip)
    return None


def member_of(instance: Any) -> Member | None:
    group = getattr(instance, "autoscaling_group", None)
    members = group.instance_states if group else ()
    return next((member for member in members if member.instance_id == instance.id), None)


def metadata_of(address: str) -> InstanceMetadata | None:
    """Metadata of the instance at this address; None without one."""
    instance = instance_at(address)
    if instance is None:
        return None
    member = member_of(instance)
    profile = _profile(instance)
    visible = instance.metadata_options.instance_metadata_tags == "enabled"
    return InstanceMetadata(
        instance_id=instance.id,
        ami=instance.image_id,
        instance_type=instance.instance_type,
        address=address,
        hostname=instance.private_dns_name,
        zone=instance.placement.zone,
        region=instance.region_name,
        account_id=instance.owner_id,
        user_data=base64.b64decode(str(instance.user_data)) if instance.user_data else b"",
        role=profile.roles[0].name if profile and profile.roles else "",
        profile_arn=profile.arn if profile else "",
        target_lifecycle_state=LifecycleState(member.lifecycle_state).target_state if member else "",
        tags={tag["key"]: tag["value"] for tag in instance.get_tags()} if visible else {},
    )


def _profile(instance: Any) -> Any | None:
    """Instance profile of the group's launch template; moto does not keep it with the instance."""
    group = getattr(instance, "autoscaling_group", None)
    if group is None or group.ec2_launch_template is None:
        return None
    version = group.ec2_launch_template.get_version(group.launch_template_version)
    named = version.data.get("IamInstanceProfile") or {}
    for backend in _existing(iam_backends):
        for profile in backend.instance_profiles.values():
            if profile.arn == named.get("Arn") or profile.name == named.get("Name"):
                return profile
    return None

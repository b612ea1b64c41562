"""Launch templates that describe no tags beyond those they were given for their instances."""

from __future__ import annotations

from typing import Any

from moto.ec2.exceptions import InvalidLaunchTemplateIdNotFound
from moto.ec2.models.launch_templates import LaunchTemplateBackend

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import put_into

GAPS = [
    Gap(
        service="ec2",
        action="CreateLaunchTemplate",
        reason="moto adds the template's own tags to those of its instances, and each refresh would show a change",
    ),
    Gap(
        service="ec2",
        action="DeleteLaunchTemplate",
        reason="moto calls an unknown id an unknown name, and the provider takes that for a failure instead of gone",
    ),
]

_create_plain, _delete_plain = (
    LaunchTemplateBackend.create_launch_template,
    LaunchTemplateBackend.delete_launch_template,
)


def extend() -> None:
    put_into(
        LaunchTemplateBackend,
        create_launch_template=_create_launch_template,
        delete_launch_template=_delete_launch_template,
    )


def _delete_launch_template(self: Any, name: str, tid: str | None) -> Any:
    if tid and tid not in self.launch_templates:
        raise InvalidLaunchTemplateIdNotFound(tid)
    return _delete_plain(self, name, tid)


def _create_launch_template(self: Any, name: str, description: str, template_data: dict[str, Any], tags: Any) -> Any:
    given = [s for s in template_data.pop("TagSpecifications", None) or () if s["ResourceType"] != "launch-template"]
    if given:
        template_data["TagSpecifications"] = given
    return _create_plain(self, name, description, template_data, tags)

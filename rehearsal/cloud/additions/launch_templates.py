"""Launch templates: tag specifications as requested, and AWS's error for an unknown id."""

from __future__ import annotations

from typing import Any

from moto.ec2.exceptions import InvalidLaunchTemplateIdNotFound
from moto.ec2.models.launch_templates import LaunchTemplateBackend

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import replace_methods

GAPS = [
    Gap(
        service="ec2",
        action="CreateLaunchTemplate",
        reason="moto adds the template's own tags to those of its instances, which each refresh would report as drift",
    ),
    Gap(
        service="ec2",
        action="DeleteLaunchTemplate",
        reason="moto reports an unknown id as an unknown name, which the provider takes for a failure",
    ),
]

_create_plain, _delete_plain = (
    LaunchTemplateBackend.create_launch_template,
    LaunchTemplateBackend.delete_launch_template,
)


def extend() -> None:
    replace_methods(
        LaunchTemplateBackend,
        create_launch_template=_create_launch_template,
        delete_launch_template=_delete_launch_template,
    )


def _delete_launch_template(self: Any, name: str, tid: str | None) -> Any:
    if tid and tid not in self.launch_templates:
        raise InvalidLaunchTemplateIdNotFound(tid)
    return _delete_plain(self, name, tid)


def _create_launch_template(self: Any, name: str, description: str, template_data: dict[str, Any], tags: Any) -> Any:
    specifications = [
        s for s in template_data.pop("TagSpecifications", None) or () if s["ResourceType"] != "launch-template"
    ]
    if specifications:
        template_data["TagSpecifications"] = specifications
    return _create_plain(self, name, description, template_data, tags)

"""Launch templates."""

from __future__ import annotations

from typing import Any

from .base import (
    Cloud,
    Created,
    Naming,
    Props,
    describe_one,
    from_answer,
    rename_keys,
    tag_list,
    tag_map,
    tags_of,
    to_aws_keys,
    to_pulumi_keys,
)
from .ec2 import Ec2Handler

_DATA = {
    "imageId": "ImageId",
    "instanceType": "InstanceType",
    "userData": "UserData",
    "vpcSecurityGroupIds": "SecurityGroupIds",
}
_OBJECTS = {
    "iamInstanceProfile": "IamInstanceProfile",
    "metadataOptions": "MetadataOptions",
    "blockDeviceMappings": "BlockDeviceMappings",
}
# Booleans of EC2 that the provider types as strings.
_FLAGS = {"Encrypted", "DeleteOnTermination"}


def _data(new: Props) -> dict[str, Any]:
    data: dict[str, Any] = rename_keys(new, _DATA) | _flagged(to_aws_keys(rename_keys(new, _OBJECTS)))
    if new.get("tagSpecifications"):
        data["TagSpecifications"] = [
            {"ResourceType": each["resourceType"], "Tags": tag_list(each.get("tags") or {})}
            for each in new["tagSpecifications"]
        ]
    return data


def _flagged(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: item == "true" if key in _FLAGS else _flagged(item) for key, item in value.items()}
    return [_flagged(item) for item in value] if isinstance(value, list) else value


def _inputs(data: dict[str, Any]) -> Props:
    """The inputs of the template's data."""
    found: Props = from_answer(data, _DATA) | to_pulumi_keys(from_answer(data, _OBJECTS))
    found["tagSpecifications"] = [
        {"resourceType": each["ResourceType"], "tags": tag_map(each.get("Tags"))}
        for each in data.get("TagSpecifications") or []
        if each["ResourceType"] != "launch-template"  # moto 5.2.5 puts the template's own tags here too
    ]
    return found


class LaunchTemplate(Ec2Handler):
    pulumi_type = "aws:ec2/launchTemplate:LaunchTemplate"
    kind = "launch-template"
    describe = ("describe_launch_templates", "LaunchTemplates", "LaunchTemplateIds")
    naming = Naming(limit=128)
    force_new = frozenset({"name", "namePrefix"})
    moving = frozenset({"latestVersion"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        created = cloud.client("ec2").create_launch_template(
            LaunchTemplateName=new["name"],
            LaunchTemplateData=_data(new),
            **self.tag_specification(new),
        )
        return Created(id=created["LaunchTemplate"]["LaunchTemplateId"])

    def outputs(self, cloud: Cloud, found: dict[str, Any]) -> Props:
        return {"latestVersion": found["LatestVersionNumber"]}

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        describe = cloud.client("ec2").describe_launch_template_versions
        latest = {"LaunchTemplateId": found["LaunchTemplateId"], "Versions": ["$Latest"]}
        version = describe_one(describe, "LaunchTemplateVersions", **latest) or {}
        return _inputs(version.get("LaunchTemplateData", {}))

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        ec2 = cloud.client("ec2")
        if _data(old) != _data(new):
            created = ec2.create_launch_template_version(LaunchTemplateId=id, LaunchTemplateData=_data(new))
            if new.get("updateDefaultVersion"):
                number = str(created["LaunchTemplateVersion"]["VersionNumber"])
                ec2.modify_launch_template(LaunchTemplateId=id, DefaultVersion=number)
        if tags_of(old) != tags_of(new):
            super().update(cloud, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_launch_template(LaunchTemplateId=id)

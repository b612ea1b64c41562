"""EC2 launch templates."""

from __future__ import annotations

from typing import Any

from .base import (
    AwsClients,
    Created,
    Naming,
    Props,
    describe_one,
    from_response,
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
            {"ResourceType": specification["resourceType"], "Tags": tag_list(specification.get("tags") or {})}
            for specification in new["tagSpecifications"]
        ]
    return data


def _flagged(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: item == "true" if key in _FLAGS else _flagged(item) for key, item in value.items()}
    return [_flagged(item) for item in value] if isinstance(value, list) else value


def _inputs(data: dict[str, Any]) -> Props:
    """Inputs from the template's data."""
    actual: Props = from_response(data, _DATA) | to_pulumi_keys(from_response(data, _OBJECTS))
    actual["tagSpecifications"] = [
        {"resourceType": specification["ResourceType"], "tags": tag_map(specification.get("Tags"))}
        for specification in data.get("TagSpecifications") or []
        if specification["ResourceType"] != "launch-template"  # moto 5.2.5 adds the template's own tags
    ]
    return actual


class LaunchTemplateHandler(Ec2Handler):
    pulumi_type = "aws:ec2/launchTemplate:LaunchTemplate"
    kind = "launch-template"
    describe_call = ("describe_launch_templates", "LaunchTemplates", "LaunchTemplateIds")
    naming = Naming(max_length=128)
    force_new = frozenset({"name", "namePrefix"})
    volatile_outputs = frozenset({"latestVersion"})

    def create(self, aws: AwsClients, new: Props) -> Created:
        created = aws.client("ec2").create_launch_template(
            LaunchTemplateName=new["name"],
            LaunchTemplateData=_data(new),
            **self.tag_specification(new),
        )
        return Created(id=created["LaunchTemplate"]["LaunchTemplateId"])

    def outputs(self, aws: AwsClients, actual: dict[str, Any]) -> Props:
        return {"latestVersion": actual["LatestVersionNumber"]}

    def extra_inputs(self, aws: AwsClients, actual: dict[str, Any], inputs: Props) -> Props:
        describe = aws.client("ec2").describe_launch_template_versions
        latest = {"LaunchTemplateId": actual["LaunchTemplateId"], "Versions": ["$Latest"]}
        version = describe_one(describe, "LaunchTemplateVersions", **latest) or {}
        return _inputs(version.get("LaunchTemplateData", {}))

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        ec2 = aws.client("ec2")
        if _data(old) != _data(new):
            created = ec2.create_launch_template_version(LaunchTemplateId=id, LaunchTemplateData=_data(new))
            if new.get("updateDefaultVersion"):
                number = str(created["LaunchTemplateVersion"]["VersionNumber"])
                ec2.modify_launch_template(LaunchTemplateId=id, DefaultVersion=number)
        if tags_of(old) != tags_of(new):
            super().update(aws, id, old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ec2").delete_launch_template(LaunchTemplateId=id)

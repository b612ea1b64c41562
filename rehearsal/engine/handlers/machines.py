"""Launch templates."""

from __future__ import annotations

from typing import Any

from .base import (
    Cloud,
    Created,
    Naming,
    Props,
    capitalized,
    looked_up,
    lowered,
    picked,
    tag_list,
    tag_map,
    tags_of,
    taken,
)
from .ec2 import Ec2Handler

# Pulumi's inputs of the template's data; what stands in neither list is refused by name.
_DATA = {
    "imageId": "ImageId",
    "instanceType": "InstanceType",
    "keyName": "KeyName",
    "userData": "UserData",
    "ebsOptimized": "EbsOptimized",
    "disableApiStop": "DisableApiStop",
    "disableApiTermination": "DisableApiTermination",
    "instanceInitiatedShutdownBehavior": "InstanceInitiatedShutdownBehavior",
    "kernelId": "KernelId",
    "ramDiskId": "RamDiskId",
    "vpcSecurityGroupIds": "SecurityGroupIds",
    "securityGroupNames": "SecurityGroups",
}
_OBJECTS = {
    "iamInstanceProfile": "IamInstanceProfile",
    "metadataOptions": "MetadataOptions",
    "monitoring": "Monitoring",
    "placement": "Placement",
    "cpuOptions": "CpuOptions",
    "creditSpecification": "CreditSpecification",
    "enclaveOptions": "EnclaveOptions",
    "hibernationOptions": "HibernationOptions",
    "instanceMarketOptions": "InstanceMarketOptions",
    "maintenanceOptions": "MaintenanceOptions",
    "privateDnsNameOptions": "PrivateDnsNameOptions",
    "blockDeviceMappings": "BlockDeviceMappings",
    "networkInterfaces": "NetworkInterfaces",
}
_OWN = {"name", "namePrefix", "description", "tags", "tagsAll", "updateDefaultVersion", "defaultVersion"}
# Fields that the provider types as text where EC2 wants a boolean.
_FLAGS = {"Encrypted", "DeleteOnTermination", "AssociatePublicIpAddress", "AssociateCarrierIpAddress", "EbsOptimized"}
_NETWORK_NAMES = {"SecurityGroups": "Groups", "SubnetId": "SubnetId"}


def _data(new: Props) -> dict[str, Any]:
    data: dict[str, Any] = picked(new, _DATA)
    for ours, theirs in _OBJECTS.items():
        if new.get(ours) is not None:
            data[theirs] = _flagged(capitalized(new[ours]))
    if "NetworkInterfaces" in data:
        data["NetworkInterfaces"] = [_interface(each) for each in data["NetworkInterfaces"]]
    if new.get("tagSpecifications"):
        data["TagSpecifications"] = [
            {"ResourceType": each["resourceType"], "Tags": tag_list(each.get("tags") or {})}
            for each in new["tagSpecifications"]
        ]
    return data


def _interface(each: dict[str, Any]) -> dict[str, Any]:
    return {_NETWORK_NAMES.get(key, key): value for key, value in each.items()}


def _flagged(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _flag(item) if key in _FLAGS else _flagged(item) for key, item in value.items()}
    return [_flagged(item) for item in value] if isinstance(value, list) else value


def _flag(value: Any) -> bool:
    return value in (True, "true", "True", "1")


def _inputs(data: dict[str, Any]) -> Props:
    """The template's data as a program gives it."""
    found: Props = taken(data, _DATA) | {ours: lowered(data.get(theirs)) for ours, theirs in _OBJECTS.items()}
    names = {theirs[:1].lower() + theirs[1:]: ours[:1].lower() + ours[1:] for ours, theirs in _NETWORK_NAMES.items()}
    if found["networkInterfaces"]:
        found["networkInterfaces"] = [
            {names.get(key, key): value for key, value in each.items()} for each in found["networkInterfaces"]
        ]
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
    moving = frozenset({"latestVersion", "defaultVersion"})

    def check(self, inputs: Props) -> None:
        strange = sorted(set(inputs) - _OWN - set(_DATA) - set(_OBJECTS) - {"tagSpecifications"})
        if strange:
            raise ValueError(f"launch template inputs that this engine does not pass on: {', '.join(strange)}.")

    def create(self, cloud: Cloud, new: Props) -> Created:
        made = cloud.client("ec2").create_launch_template(
            LaunchTemplateName=new["name"],
            LaunchTemplateData=_data(new),
            VersionDescription=new.get("description", ""),
            **self.tag_specification(new),
        )
        return Created(id=made["LaunchTemplate"]["LaunchTemplateId"])

    def outputs(self, cloud: Cloud, found: dict[str, Any]) -> Props:
        return {"latestVersion": found["LatestVersionNumber"], "defaultVersion": found["DefaultVersionNumber"]}

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        ask = cloud.client("ec2").describe_launch_template_versions
        newest = {"LaunchTemplateId": found["LaunchTemplateId"], "Versions": ["$Latest"]}
        version = looked_up(ask, "LaunchTemplateVersions", **newest) or {}
        return _inputs(version.get("LaunchTemplateData", {})) | {"description": version.get("VersionDescription")}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        ec2 = cloud.client("ec2")
        if _data(old) != _data(new) or old.get("description") != new.get("description"):
            made = ec2.create_launch_template_version(
                LaunchTemplateId=id, LaunchTemplateData=_data(new), VersionDescription=new.get("description", "")
            )
            if new.get("updateDefaultVersion"):
                number = str(made["LaunchTemplateVersion"]["VersionNumber"])
                ec2.modify_launch_template(LaunchTemplateId=id, DefaultVersion=number)
        if tags_of(old) != tags_of(new):
            super().update(cloud, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_launch_template(LaunchTemplateId=id)

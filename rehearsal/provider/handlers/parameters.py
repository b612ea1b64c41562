"""SSM parameters."""

from __future__ import annotations

from .base import (
    Cloud,
    Created,
    Handler,
    Naming,
    Props,
    describe_one,
    rename_keys,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
)


class Parameter(Handler):
    pulumi_type = "aws:ssm/parameter:Parameter"
    naming = Naming(prefix_key="", limit=1011)
    tagged = True
    force_new = frozenset({"name"})
    secret_outputs = frozenset({"value"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        ssm, tags = cloud.client("ssm"), tag_list(tags_of(new))
        if new.get("overwrite"):  # SSM takes no tags with it
            ssm.put_parameter(**self._arguments(new), Overwrite=True)
            ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId=new["name"], Tags=tags)
        else:
            ssm.put_parameter(**self._arguments(new), Tags=tags)
        return Created(id=new["name"])

    def _arguments(self, new: Props) -> Props:
        return rename_keys(new, {"name": "Name", "type": "Type", "description": "Description", "value": "Value"})

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = describe_one(cloud.client("ssm").get_parameters, "Parameters", Names=[id])
        return None if found is None else {"arn": found["ARN"]}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        ssm = cloud.client("ssm")
        found = ssm.get_parameter(Name=id, WithDecryption=True)["Parameter"]
        query = [{"Key": "Name", "Option": "Equals", "Values": [id]}]
        more = describe_one(ssm.describe_parameters, "Parameters", ParameterFilters=query) or {}
        tags = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=id)["TagList"]
        return {
            "type": found["Type"],
            "value": found["Value"],
            "description": more.get("Description"),
            "tags": tag_map(tags),
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        ssm = cloud.client("ssm")
        if self._arguments(old) != self._arguments(new):
            ssm.put_parameter(**self._arguments(new), Overwrite=True)
        gone, present = tag_changes(old, new)
        if gone:
            ssm.remove_tags_from_resource(ResourceType="Parameter", ResourceId=id, TagKeys=gone)
        if present:
            ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId=id, Tags=tag_list(present))

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ssm").delete_parameter(Name=id)

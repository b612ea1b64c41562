"""SSM parameters."""

from __future__ import annotations

from .base import (
    AwsClients,
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


class ParameterHandler(Handler):
    pulumi_type = "aws:ssm/parameter:Parameter"
    naming = Naming(prefix_key="", max_length=1011)
    tagged = True
    force_new = frozenset({"name"})
    secret_outputs = frozenset({"value"})

    def create(self, aws: AwsClients, new: Props) -> Created:
        ssm, tags = aws.client("ssm"), tag_list(tags_of(new))
        if new.get("overwrite"):  # SSM accepts no tags with it
            ssm.put_parameter(**self._arguments(new), Overwrite=True)
            ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId=new["name"], Tags=tags)
        else:
            ssm.put_parameter(**self._arguments(new), Tags=tags)
        return Created(id=new["name"])

    def _arguments(self, new: Props) -> Props:
        return rename_keys(new, {"name": "Name", "type": "Type", "description": "Description", "value": "Value"})

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = describe_one(aws.client("ssm").get_parameters, "Parameters", Names=[id])
        return None if actual is None else {"arn": actual["ARN"]}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        ssm = aws.client("ssm")
        actual = ssm.get_parameter(Name=id, WithDecryption=True)["Parameter"]
        query = [{"Key": "Name", "Option": "Equals", "Values": [id]}]
        extra_inputs = describe_one(ssm.describe_parameters, "Parameters", ParameterFilters=query) or {}
        tags = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=id)["TagList"]
        return {
            "type": actual["Type"],
            "value": actual["Value"],
            "description": extra_inputs.get("Description"),
            "tags": tag_map(tags),
        }

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        ssm = aws.client("ssm")
        if self._arguments(old) != self._arguments(new):
            ssm.put_parameter(**self._arguments(new), Overwrite=True)
        removed, updated = tag_changes(old, new)
        if removed:
            ssm.remove_tags_from_resource(ResourceType="Parameter", ResourceId=id, TagKeys=removed)
        if updated:
            ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId=id, Tags=tag_list(updated))

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ssm").delete_parameter(Name=id)

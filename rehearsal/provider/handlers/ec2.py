"""Base of EC2 resource handlers: tags at creation, describe calls by id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .base import (
    AwsClients,
    Client,
    Handler,
    Props,
    describe_one,
    from_response,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
)


class Ec2Handler(Handler):
    """An EC2 resource with tags and an ARN of the plain form."""

    tagged = True
    # EC2's resource type, in tag specifications and ARNs.
    kind: ClassVar[str]
    # Name of the describe call, key of its response, and argument for ids.
    describe_call: ClassVar[tuple[str, str, str]]
    # Names of inputs in the describe call's response.
    fields: ClassVar[Mapping[str, str]] = {}

    def tag_specification(self, new: Props) -> dict[str, Any]:
        tags = tags_of(new)
        return {"TagSpecifications": [{"ResourceType": self.kind, "Tags": tag_list(tags)}]} if tags else {}

    def describe(self, aws: AwsClients, id: str) -> dict[str, Any] | None:
        call, result, argument = self.describe_call
        return describe_one(getattr(aws.client("ec2"), call), result, **{argument: [id]})

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = self.describe(aws, id)
        return None if actual is None else {"arn": self.arn(aws, id), **self.outputs(aws, actual)}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = self.describe(aws, id)
        if actual is None:
            return None
        return {
            "tags": tag_map(actual.get("Tags")),
            **from_response(actual, self.fields),
            **self.extra_inputs(aws, actual, inputs),
        }

    def extra_inputs(self, aws: AwsClients, actual: dict[str, Any], inputs: Props) -> Props:
        """Actual inputs that are not a field of the describe call's response."""
        return {}

    def arn(self, aws: AwsClients, id: str) -> str:
        return aws.arn("ec2", f"{self.kind}/{id}")

    def outputs(self, aws: AwsClients, actual: dict[str, Any]) -> Props:
        return {}

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        update_tags(aws.client("ec2"), id, old, new)


def update_tags(ec2: Client, id: str, old: Props, new: Props) -> None:
    removed, updated = tag_changes(old, new)
    if removed:
        ec2.delete_tags(Resources=[id], Tags=[{"Key": key} for key in removed])
    if updated:
        ec2.create_tags(Resources=[id], Tags=tag_list(updated))

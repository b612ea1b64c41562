"""EC2 resources in general: tags set at creation, descriptions by id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .base import Client, Cloud, Handler, Props, describe_one, from_answer, tag_changes, tag_list, tag_map, tags_of

# What moto calls a kind in DescribeTags, where AWS calls it otherwise.
_EMULATED_KINDS = {"natgateway": "nat-gateway", "elastic-ip": "vpc-elastic-ip", "vpc-flow-log": "flow-logs"}


class Ec2Handler(Handler):
    """An EC2 resource with tags and an ARN of the plain form."""

    tagged = True
    # EC2's name of the kind, in tag specifications and in ARNs.
    kind: ClassVar[str]
    # The describe call, the key of its answer, and the argument that takes ids.
    describe: ClassVar[tuple[str, str, str]]
    # Inputs and what the describe call names them.
    fields: ClassVar[Mapping[str, str]] = {}

    def tag_specification(self, new: Props) -> dict[str, Any]:
        tags = tags_of(new)
        return {"TagSpecifications": [{"ResourceType": self.kind, "Tags": tag_list(tags)}]} if tags else {}

    def described(self, cloud: Cloud, id: str) -> dict[str, Any] | None:
        call, result, argument = self.describe
        return describe_one(getattr(cloud.client("ec2"), call), result, **{argument: [id]})

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = self.described(cloud, id)
        return None if found is None else {"arn": self.arn(cloud, id), **self.outputs(cloud, found)}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = self.described(cloud, id)
        if found is None:
            return None
        return {
            "tags": tag_map(found.get("Tags")),
            **from_answer(found, self.fields),
            **self.more(cloud, found, inputs),
        }

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        """Current inputs that don't stand in the description under a name of their own."""
        return {}

    def arn(self, cloud: Cloud, id: str) -> str:
        return cloud.arn("ec2", f"{self.kind}/{id}")

    def outputs(self, cloud: Cloud, found: dict[str, Any]) -> Props:
        return {}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        update_tags(cloud.client("ec2"), id, old, new)


def update_tags(ec2: Client, id: str, old: Props, new: Props) -> None:
    gone, present = tag_changes(old, new)
    if gone:
        ec2.delete_tags(Resources=[id], Tags=[{"Key": key} for key in gone])
    if present:
        ec2.create_tags(Resources=[id], Tags=tag_list(present))

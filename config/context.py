"""Context of a stack: what all of its components know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PROJECT = "bluegreen"


@dataclass(frozen=True, kw_only=True)
class StackContext:
    """Where a stack is, and what holds for all of it.

    `boundary` is the ARN of the policy that bounds its roles, empty for none. `protect`: whether what holds data or
    traffic is protected from deletion. `force_destroy`: whether buckets may be deleted with what is in them. `tags` are
    the provider's default tags, which don't reach the instances of a group.
    """

    stack: str
    region: str
    account: str
    partition: str = "aws"
    project: str = PROJECT
    boundary: str = ""
    protect: bool = False
    force_destroy: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)

    def arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    @property
    def parameter_path(self) -> str:
        """Below it, each SSM parameter's name is an environment variable of the app."""
        return f"/{self.project}/{self.stack}/app/"

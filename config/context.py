"""Context of a stack, shared by its components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PROJECT = "bluegreen"


@dataclass(frozen=True, kw_only=True)
class StackContext:
    """Region, account and settings that apply to the entire stack.

    `boundary` is the ARN of its roles' permissions boundary, empty for none. `protect`: whether resources with data or
    traffic are protected from deletion. `force_destroy`: whether buckets may be deleted with their objects. `tags` are
    the provider's default tags, which an Auto Scaling group does not pass to its instances.
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
        """Path of the SSM parameters that are the app's environment variables."""
        return f"/{self.project}/{self.stack}/app/"

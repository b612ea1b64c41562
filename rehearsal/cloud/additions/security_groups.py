"""Security group rules: descriptions of rules that reference another group."""

from __future__ import annotations

from typing import Any

from moto.ec2.models.security_groups import SecurityGroupRule

from rehearsal.cloud.additions.gap import Gap

GAPS = [
    Gap(
        service="ec2",
        action="DescribeSecurityGroupRules",
        reason="moto returns the description only of rules with an address range: every refresh would report the "
        "others' as removed",
    ),
]


def extend() -> None:
    setattr(SecurityGroupRule, "description", property(_description))  # noqa: B010 - a property, not a function


def _description(self: Any) -> str | None:
    description = self.ip_range.get("Description") or self.source_group.get("Description")
    return str(description) if description else None

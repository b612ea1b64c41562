"""Security group rules that keep their description also when they name another group."""

from __future__ import annotations

from typing import Any

from moto.ec2.models.security_groups import SecurityGroupRule

from rehearsal.cloud.additions.gap import Gap

GAPS = [
    Gap(
        service="ec2",
        action="DescribeSecurityGroupRules",
        reason="moto tells the description only of rules that name an address range: every refresh would find the "
        "others' gone",
    ),
]


def extend() -> None:
    setattr(SecurityGroupRule, "description", property(_description))  # noqa: B010 - a property, not a function


def _description(self: Any) -> str | None:
    found = self.ip_range.get("Description") or self.source_group.get("Description")
    return str(found) if found else None

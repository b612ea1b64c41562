"""Bucket and identity policies: a Deny with a condition is ignored, as its condition is not evaluated."""

from __future__ import annotations

from typing import Any

from moto.iam.access_control import IAMPolicyStatement, PermissionResult

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import replace_methods

GAPS = [
    Gap(
        service="s3",
        action="bucket policies",
        reason="moto treats a Deny with a condition (TLS only) as unconditional and refuses every read; "
        "here such a Deny is ignored, so the rehearsal proves nothing about it",
    ),
]

_is_plainly_permitted = IAMPolicyStatement.is_action_permitted


def extend() -> None:
    replace_methods(IAMPolicyStatement, is_action_permitted=_is_action_permitted)


def _is_action_permitted(self: Any, *args: Any, **kwargs: Any) -> Any:
    if self._statement.get("Effect") == "Deny" and self._statement.get("Condition"):
        return PermissionResult.NEUTRAL
    return _is_plainly_permitted(self, *args, **kwargs)

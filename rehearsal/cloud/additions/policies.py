"""Bucket and identity policies whose Deny under a condition is weighed as not met, as it is for honest requests."""

from __future__ import annotations

from typing import Any

from moto.iam.access_control import IAMPolicyStatement, PermissionResult

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import put_into

GAPS = [
    Gap(
        service="s3",
        action="bucket policies",
        reason="moto takes a Deny with a condition (TLS only) for unconditional and refuses every read; "
        "here such a Deny is passed over, so the rehearsal proves nothing about it",
    ),
]

_is_plainly_permitted = IAMPolicyStatement.is_action_permitted


def extend() -> None:
    put_into(IAMPolicyStatement, is_action_permitted=_is_action_permitted)


def _is_action_permitted(self: Any, *args: Any, **kwargs: Any) -> Any:
    if self._statement.get("Effect") == "Deny" and self._statement.get("Condition"):
        return PermissionResult.NEUTRAL
    return _is_plainly_permitted(self, *args, **kwargs)

"""Refused traffic changes of this run, registered for the policy pack: policies see neither old state nor deletions."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi


class TrafficGuard(pulumi.ComponentResource):
    """`refusals`: a sentence each; usually empty, so that no update changes it."""

    def __init__(self, name: str, refusals: Sequence[str], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:traffic:TrafficGuard", name, {"refusals": list(refusals)}, opts)
        self.register_outputs({})

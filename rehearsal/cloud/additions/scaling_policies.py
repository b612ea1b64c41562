"""Scaling policies: descriptions that match the request."""

from __future__ import annotations

from typing import Any

from moto.autoscaling.responses import AutoScalingResponse

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import replace_methods

GAPS = [
    Gap(
        service="autoscaling",
        action="DescribePolicies",
        reason="moto drops whether a policy is enabled and invents a predictive configuration: Pulumi would update "
        "both at every run",
    ),
]

_put_plain = AutoScalingResponse.put_scaling_policy


def extend() -> None:
    replace_methods(AutoScalingResponse, put_scaling_policy=_put_scaling_policy)


def _put_scaling_policy(self: Any) -> Any:
    result = _put_plain(self)
    policy = self.autoscaling_backend.policies[self._get_param("PolicyName")]
    policy.enabled = self._get_param("Enabled", True)
    policy.predictive_scaling_configuration = policy.predictive_scaling_configuration or None
    return result

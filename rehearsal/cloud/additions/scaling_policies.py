"""Scaling policies that are described as they were given."""

from __future__ import annotations

from typing import Any

from moto.autoscaling.responses import AutoScalingResponse

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import put_into

GAPS = [
    Gap(
        service="autoscaling",
        action="DescribePolicies",
        reason="moto forgets whether a policy is enabled and invents a predictive configuration: Pulumi's own engine "
        "would set both right at every run",
    ),
]

_put_plain = AutoScalingResponse.put_scaling_policy


def extend() -> None:
    put_into(AutoScalingResponse, put_scaling_policy=_put_scaling_policy)


def _put_scaling_policy(self: Any) -> Any:
    result = _put_plain(self)
    policy = self.autoscaling_backend.policies[self._get_param("PolicyName")]
    policy.enabled = self._get_param("Enabled", True)
    policy.predictive_scaling_configuration = policy.predictive_scaling_configuration or None
    return result

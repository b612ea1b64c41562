"""Load balancers whose name in DNS is where the rehearsal's front door listens."""

from __future__ import annotations

from typing import Any

from moto.elbv2.models import ELBv2Backend

from rehearsal.cloud.additions.gap import Facts, Gap
from rehearsal.cloud.additions.patching import put_into

GAPS = [
    Gap(
        service="elbv2",
        action="CreateLoadBalancer",
        reason="DNSName is the front door's address on this machine: there is no DNS zone for it here",
    ),
]

_create_plain = ELBv2Backend.create_load_balancer


def extend(facts: Facts) -> None:
    def create_load_balancer(self: Any, *args: Any, **kwargs: Any) -> Any:
        balancer = _create_plain(self, *args, **kwargs)
        balancer.dns_name = facts.dns_name or balancer.dns_name
        return balancer

    put_into(ELBv2Backend, create_load_balancer=create_load_balancer)

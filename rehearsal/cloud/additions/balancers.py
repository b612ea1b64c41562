"""Load balancers whose name in DNS is where the rehearsal's front door listens, in VPCs that lead to the internet."""

from __future__ import annotations

from typing import Any

from moto.elbv2.exceptions import ELBClientError
from moto.elbv2.models import ELBv2Backend

from rehearsal.cloud.additions.gap import Facts, Gap
from rehearsal.cloud.additions.internet_gateways import is_attached
from rehearsal.cloud.additions.patching import check_before, put_into

GAPS = [
    Gap(
        service="elbv2",
        action="CreateLoadBalancer",
        reason="DNSName is the front door's address on this machine: there is no DNS zone for it here",
    ),
    Gap(
        service="elbv2",
        action="CreateLoadBalancer",
        reason="moto puts internet-facing ones into any VPC; here, as on AWS, one without an internet gateway refuses",
    ),
]

_create_plain = ELBv2Backend.create_load_balancer


def extend(facts: Facts) -> None:
    def create_load_balancer(self: Any, *args: Any, **kwargs: Any) -> Any:
        balancer = _create_plain(self, *args, **kwargs)
        balancer.dns_name = facts.dns_name or balancer.dns_name
        return balancer

    put_into(ELBv2Backend, create_load_balancer=create_load_balancer)
    check_before(ELBv2Backend, "create_load_balancer", _check_subnets)


def _check_subnets(self: Any, *, subnet_ids: list[str], scheme: str | None, **kwargs: Any) -> None:
    for subnet in subnet_ids if scheme != "internal" else ():
        vpc = self.ec2_backend.get_subnet(subnet).vpc_id
        if not is_attached(self.ec2_backend, vpc):
            raise ELBClientError("InvalidSubnet", f"VPC {vpc} has no internet gateway")

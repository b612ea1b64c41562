"""Load balancers: DNS name of the load balancer emulator, and the check for an internet gateway."""

from __future__ import annotations

from typing import Any

from moto.elbv2.exceptions import ELBClientError
from moto.elbv2.models import ELBv2Backend

from rehearsal.cloud.additions.gap import EmulatorContext, Gap
from rehearsal.cloud.additions.internet_gateways import is_attached
from rehearsal.cloud.additions.patching import replace_methods, validate_before

GAPS = [
    Gap(
        service="elbv2",
        action="CreateLoadBalancer",
        reason="DNSName is the address of the load balancer emulator on this host: there is no DNS zone for it",
    ),
    Gap(
        service="elbv2",
        action="CreateLoadBalancer",
        reason="moto allows internet-facing ones in any VPC; here, as on AWS, the VPC needs an internet gateway",
    ),
]

_create_plain = ELBv2Backend.create_load_balancer


def extend(context: EmulatorContext) -> None:
    def create_load_balancer(self: Any, *args: Any, **kwargs: Any) -> Any:
        load_balancer = _create_plain(self, *args, **kwargs)
        load_balancer.dns_name = context.dns_name or load_balancer.dns_name
        return load_balancer

    replace_methods(ELBv2Backend, create_load_balancer=create_load_balancer)
    validate_before(ELBv2Backend, "create_load_balancer", _check_subnets)


def _check_subnets(self: Any, *, subnet_ids: list[str], scheme: str | None, **kwargs: Any) -> None:
    for subnet in subnet_ids if scheme != "internal" else ():
        vpc = self.ec2_backend.get_subnet(subnet).vpc_id
        if not is_attached(self.ec2_backend, vpc):
            raise ELBClientError("InvalidSubnet", f"VPC {vpc} has no internet gateway")

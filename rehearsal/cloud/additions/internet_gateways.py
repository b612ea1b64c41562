"""What needs an internet gateway attached to its VPC is refused without one."""

from __future__ import annotations

from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import check_before

GAPS = [
    Gap(
        service="ec2",
        action="AssociateAddress",
        reason="moto gives public addresses to VPCs without an internet gateway; here, as on AWS, it is refused",
    ),
]

NOT_ATTACHED = "Gateway.NotAttached"


def extend() -> None:
    check_before(EC2Backend, "associate_address", _check_association)


def is_attached(ec2: Any, vpc: str) -> bool:
    """A default VPC has its gateway from the start, which moto leaves out."""
    gateways = ec2.internet_gateways.values()
    return bool(ec2.get_vpc(vpc).is_default) or any(one.vpc is not None and one.vpc.id == vpc for one in gateways)


def _check_association(self: Any, instance: Any = None, eni: Any = None, *args: Any, **kwargs: Any) -> None:
    subnet = getattr(eni, "subnet", None) or (instance and self.get_subnet(instance.subnet_id))
    if subnet and not is_attached(self, subnet.vpc_id):
        raise EC2ClientError(NOT_ATTACHED, f"Network {subnet.vpc_id} is not attached to any internet gateway")

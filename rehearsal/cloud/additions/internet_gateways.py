"""Internet gateway checks: public addresses need one attached to the VPC."""

from __future__ import annotations

from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import validate_before

GAPS = [
    Gap(
        service="ec2",
        action="AssociateAddress",
        reason="moto associates public addresses in VPCs without an internet gateway; here it is refused, as on AWS",
    ),
]

NOT_ATTACHED = "Gateway.NotAttached"


def extend() -> None:
    validate_before(EC2Backend, "associate_address", _check_association)


def is_attached(ec2: Any, vpc: str) -> bool:
    """A default VPC has a gateway from the start, which moto leaves out."""
    gateways = ec2.internet_gateways.values()
    return bool(ec2.get_vpc(vpc).is_default) or any(
        gateway.vpc is not None and gateway.vpc.id == vpc for gateway in gateways
    )


def _check_association(self: Any, instance: Any = None, eni: Any = None, *args: Any, **kwargs: Any) -> None:
    subnet = getattr(eni, "subnet", None) or (instance and self.get_subnet(instance.subnet_id))
    if subnet and not is_attached(self, subnet.vpc_id):
        raise EC2ClientError(NOT_ATTACHED, f"Network {subnet.vpc_id} is not attached to any internet gateway")

"""NAT gateways: failure without an internet gateway, release of the address on deletion."""

from __future__ import annotations

from typing import Any

from moto.ec2.models import EC2Backend

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.internet_gateways import NOT_ATTACHED, is_attached
from rehearsal.cloud.additions.patching import replace_methods

GAPS = [
    Gap(
        service="ec2",
        action="CreateNatGateway",
        reason="moto's is available in any VPC; here, as on AWS, it fails where no internet gateway is attached",
    ),
    Gap(
        service="ec2",
        action="DeleteNatGateway",
        reason="moto leaves the address associated with the deleted gateway; here it is released",
    ),
]

_create_plain, _delete_plain = EC2Backend.create_nat_gateway, EC2Backend.delete_nat_gateway


def extend() -> None:
    replace_methods(EC2Backend, create_nat_gateway=_create_nat_gateway, delete_nat_gateway=_delete_nat_gateway)


def _create_nat_gateway(
    self: Any, subnet_id: str, allocation_id: Any, tags: Any = None, connectivity_type: Any = None
) -> Any:
    vpc = self.get_subnet(subnet_id).vpc_id
    if connectivity_type == "private" or is_attached(self, vpc):
        return _create_plain(self, subnet_id, allocation_id, tags, connectivity_type)
    # AWS creates it and sets its state to failed later, without the address.
    gateway: Any = _create_plain(self, subnet_id, "", tags, "private")
    gateway.connectivity_type, gateway.state = "public", "failed"
    gateway.failure_code, gateway.failure_message = NOT_ATTACHED, f"Network {vpc} has no Internet gateway attached"
    return gateway


def _delete_nat_gateway(self: Any, nat_gateway_id: str) -> Any:
    gateway = _delete_plain(self, nat_gateway_id)
    for address in gateway.address_set:
        if address.get("publicIp"):
            self.disassociate_address(address=address["publicIp"])
    self.enis.pop(gateway._eni.id, None)
    return gateway

"""A deleted NAT gateway gives its address and its network interface back."""

from __future__ import annotations

from typing import Any

from moto.ec2.models import EC2Backend

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import put_into

GAPS = [
    Gap(
        service="ec2",
        action="DeleteNatGateway",
        reason="moto leaves the address with the deleted gateway; here another gateway can take it",
    ),
]

_delete_plain = EC2Backend.delete_nat_gateway


def extend() -> None:
    put_into(EC2Backend, delete_nat_gateway=_delete_nat_gateway)


def _delete_nat_gateway(self: Any, nat_gateway_id: str) -> Any:
    gateway = _delete_plain(self, nat_gateway_id)
    for address in gateway.address_set:
        if address.get("publicIp"):
            self.disassociate_address(address=address["publicIp"])
    self.enis.pop(gateway._eni.id, None)
    return gateway

"""Transit gateways, the VPCs attached to them, and the routes between."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import Cloud, Created, Handler, Props, changed, first, picked, taken, until
from .ec2 import Ec2Handler

_READY_S = 600.0


class _Waited(Ec2Handler):
    """Made and removed in the background, minutes on end."""

    def described(self, cloud: Cloud, id: str) -> dict[str, Any] | None:
        found = super().described(cloud, id)
        return None if found is None or found["State"] == "deleted" else found

    def _wait(self, cloud: Cloud, id: str, wanted: str) -> None:
        def objection() -> str | None:
            state = (self.described(cloud, id) or {"State": "deleted"})["State"]
            return None if state == wanted else f"it is {state}"

        until(objection, what=f"{self.kind} {id} to be {wanted}", deadline_s=_READY_S)


class TransitGateway(_Waited):
    pulumi_type = "aws:ec2transitgateway/transitGateway:TransitGateway"
    kind = "transit-gateway"
    describe = ("describe_transit_gateways", "TransitGateways", "TransitGatewayIds")
    force_new = frozenset({"amazonSideAsn", "multicastSupport"})
    fields: ClassVar = {"description": "Description"}
    _OPTIONS: ClassVar = {
        "amazonSideAsn": "AmazonSideAsn",
        "autoAcceptSharedAttachments": "AutoAcceptSharedAttachments",
        "defaultRouteTableAssociation": "DefaultRouteTableAssociation",
        "defaultRouteTablePropagation": "DefaultRouteTablePropagation",
        "dnsSupport": "DnsSupport",
        "vpnEcmpSupport": "VpnEcmpSupport",
    }

    def create(self, cloud: Cloud, new: Props) -> Created:
        made = cloud.client("ec2").create_transit_gateway(
            Options=picked(new, self._OPTIONS), **picked(new, self.fields), **self.tag_specification(new)
        )
        id = made["TransitGateway"]["TransitGatewayId"]
        self._wait(cloud, id, "available")
        return Created(id=id)

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        return taken(found["Options"], self._OPTIONS)

    def outputs(self, cloud: Cloud, found: dict[str, Any]) -> Props:
        options = found["Options"]
        return {
            "ownerId": cloud.account,
            "associationDefaultRouteTableId": options.get("AssociationDefaultRouteTableId"),
            "propagationDefaultRouteTableId": options.get("PropagationDefaultRouteTableId"),
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        options = {self._OPTIONS[key]: new[key] for key in changed(old, new, self._OPTIONS) if key in new}
        described = {"Description": new["description"]} if changed(old, new, ["description"]) else {}
        if options or described:
            cloud.client("ec2").modify_transit_gateway(TransitGatewayId=id, Options=options, **described)
        super().update(cloud, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_transit_gateway(TransitGatewayId=id)
        self._wait(cloud, id, "deleted")


class VpcAttachment(_Waited):
    pulumi_type = "aws:ec2transitgateway/vpcAttachment:VpcAttachment"
    kind = "transit-gateway-attachment"
    describe = (
        "describe_transit_gateway_vpc_attachments",
        "TransitGatewayVpcAttachments",
        "TransitGatewayAttachmentIds",
    )
    force_new = frozenset({"transitGatewayId", "vpcId"})
    delete_first = True  # a VPC is attached once
    fields: ClassVar = {"transitGatewayId": "TransitGatewayId", "vpcId": "VpcId", "subnetIds": "SubnetIds"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        made = cloud.client("ec2").create_transit_gateway_vpc_attachment(
            **picked(new, self.fields), **self.tag_specification(new)
        )
        id = made["TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"]
        self._wait(cloud, id, "available")
        return Created(id=id)

    def outputs(self, cloud: Cloud, found: dict[str, Any]) -> Props:
        return {"vpcOwnerId": cloud.account}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        was, now = set(old["subnetIds"]), set(new["subnetIds"])
        if was != now:
            cloud.client("ec2").modify_transit_gateway_vpc_attachment(
                TransitGatewayAttachmentId=id, AddSubnetIds=sorted(now - was), RemoveSubnetIds=sorted(was - now)
            )
        super().update(cloud, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_transit_gateway_vpc_attachment(TransitGatewayAttachmentId=id)
        self._wait(cloud, id, "deleted")


class Route(Handler):
    pulumi_type = "aws:ec2transitgateway/route:Route"
    force_new = frozenset(
        {"destinationCidrBlock", "transitGatewayRouteTableId", "transitGatewayAttachmentId", "blackhole"}
    )
    delete_first = True  # a table has one route to a destination
    _PLACE: ClassVar = {
        "destinationCidrBlock": "DestinationCidrBlock",
        "transitGatewayRouteTableId": "TransitGatewayRouteTableId",
    }
    _TARGET: ClassVar = {"transitGatewayAttachmentId": "TransitGatewayAttachmentId", "blackhole": "Blackhole"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        cloud.client("ec2").create_transit_gateway_route(**picked(new, self._PLACE | self._TARGET))
        return Created(id=f"{new['transitGatewayRouteTableId']}_{new['destinationCidrBlock']}")

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        answer = cloud.client("ec2").search_transit_gateway_routes(
            TransitGatewayRouteTableId=inputs["transitGatewayRouteTableId"],
            Filters=[{"Name": "route-search.exact-match", "Values": [inputs["destinationCidrBlock"]]}],
        )
        found = first(each for each in answer["Routes"] if each["State"] not in ("deleting", "deleted"))
        if found is None:
            return None
        attached = first(found.get("TransitGatewayAttachments") or []) or {}
        return {"transitGatewayAttachmentId": attached.get("TransitGatewayAttachmentId")}

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_transit_gateway_route(**picked(state, self._PLACE))

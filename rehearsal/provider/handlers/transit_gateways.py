"""Transit gateways, the VPCs attached to them, and the routes between."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import Cloud, Created, Handler, Props, changed, first, from_answer, rename_keys, until
from .ec2 import Ec2Handler

_READY_S = 600.0


class _Waited(Ec2Handler):
    """Created and deleted in the background, which takes minutes."""

    def described(self, cloud: Cloud, id: str) -> dict[str, Any] | None:
        found = super().described(cloud, id)
        return None if found is None or found["State"] == "deleted" else found

    def complete(self, cloud: Cloud, id: str, new: Props) -> None:
        self._wait(cloud, id, "available")

    def _wait(self, cloud: Cloud, id: str, state: str) -> None:
        def not_yet_reason() -> str | None:
            current = (self.described(cloud, id) or {"State": "deleted"})["State"]
            return None if current == state else f"it is {current}"

        until(not_yet_reason, what=f"{self.kind} {id} to be {state}", timeout_s=_READY_S)


class TransitGateway(_Waited):
    pulumi_type = "aws:ec2transitgateway/transitGateway:TransitGateway"
    kind = "transit-gateway"
    describe = ("describe_transit_gateways", "TransitGateways", "TransitGatewayIds")
    fields: ClassVar = {"description": "Description"}
    _OPTIONS: ClassVar = {
        "amazonSideAsn": "AmazonSideAsn",
        "autoAcceptSharedAttachments": "AutoAcceptSharedAttachments",
    }

    def create(self, cloud: Cloud, new: Props) -> Created:
        created = cloud.client("ec2").create_transit_gateway(
            Options=rename_keys(new, self._OPTIONS), **rename_keys(new, self.fields), **self.tag_specification(new)
        )
        return Created(id=created["TransitGateway"]["TransitGatewayId"])

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        return from_answer(found["Options"], self._OPTIONS)

    def outputs(self, cloud: Cloud, found: dict[str, Any]) -> Props:
        return {"associationDefaultRouteTableId": found["Options"].get("AssociationDefaultRouteTableId")}

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
        created = cloud.client("ec2").create_transit_gateway_vpc_attachment(
            **rename_keys(new, self.fields), **self.tag_specification(new)
        )
        return Created(id=created["TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"])

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
    force_new = frozenset({"destinationCidrBlock", "transitGatewayRouteTableId", "transitGatewayAttachmentId"})
    delete_first = True  # a table has one route to a destination
    _KEY: ClassVar = {
        "destinationCidrBlock": "DestinationCidrBlock",
        "transitGatewayRouteTableId": "TransitGatewayRouteTableId",
    }
    _TARGET: ClassVar = {"transitGatewayAttachmentId": "TransitGatewayAttachmentId"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        cloud.client("ec2").create_transit_gateway_route(**rename_keys(new, self._KEY | self._TARGET))
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
        cloud.client("ec2").delete_transit_gateway_route(**rename_keys(state, self._KEY))

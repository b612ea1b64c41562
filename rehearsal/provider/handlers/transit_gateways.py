"""Transit gateways, VPC attachments and routes."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import AwsClients, Created, Handler, Props, changed, first, from_response, rename_keys, until
from .ec2 import Ec2Handler

_TIMEOUT_S = 600.0


class _AsyncResource(Ec2Handler):
    """Created and deleted asynchronously, which takes minutes."""

    def describe(self, aws: AwsClients, id: str) -> dict[str, Any] | None:
        actual = super().describe(aws, id)
        return None if actual is None or actual["State"] == "deleted" else actual

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        self._wait(aws, id, "available")

    def _wait(self, aws: AwsClients, id: str, state: str) -> None:
        def not_yet_reason() -> str | None:
            current = (self.describe(aws, id) or {"State": "deleted"})["State"]
            return None if current == state else f"it is {current}"

        until(not_yet_reason, what=f"{self.kind} {id} to be {state}", timeout_s=_TIMEOUT_S)


class TransitGatewayHandler(_AsyncResource):
    pulumi_type = "aws:ec2transitgateway/transitGateway:TransitGateway"
    kind = "transit-gateway"
    describe_call = ("describe_transit_gateways", "TransitGateways", "TransitGatewayIds")
    fields: ClassVar = {"description": "Description"}
    _OPTIONS: ClassVar = {
        "amazonSideAsn": "AmazonSideAsn",
        "autoAcceptSharedAttachments": "AutoAcceptSharedAttachments",
    }

    def create(self, aws: AwsClients, new: Props) -> Created:
        created = aws.client("ec2").create_transit_gateway(
            Options=rename_keys(new, self._OPTIONS), **rename_keys(new, self.fields), **self.tag_specification(new)
        )
        return Created(id=created["TransitGateway"]["TransitGatewayId"])

    def extra_inputs(self, aws: AwsClients, actual: dict[str, Any], inputs: Props) -> Props:
        return from_response(actual["Options"], self._OPTIONS)

    def outputs(self, aws: AwsClients, actual: dict[str, Any]) -> Props:
        return {"associationDefaultRouteTableId": actual["Options"].get("AssociationDefaultRouteTableId")}

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        options = {self._OPTIONS[key]: new[key] for key in changed(old, new, self._OPTIONS) if key in new}
        description = {"Description": new["description"]} if changed(old, new, ["description"]) else {}
        if options or description:
            aws.client("ec2").modify_transit_gateway(TransitGatewayId=id, Options=options, **description)
        super().update(aws, id, old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ec2").delete_transit_gateway(TransitGatewayId=id)
        self._wait(aws, id, "deleted")


class VpcAttachmentHandler(_AsyncResource):
    pulumi_type = "aws:ec2transitgateway/vpcAttachment:VpcAttachment"
    kind = "transit-gateway-attachment"
    describe_call = (
        "describe_transit_gateway_vpc_attachments",
        "TransitGatewayVpcAttachments",
        "TransitGatewayAttachmentIds",
    )
    force_new = frozenset({"transitGatewayId", "vpcId"})
    delete_before_replace = True  # a VPC can be attached only once
    fields: ClassVar = {"transitGatewayId": "TransitGatewayId", "vpcId": "VpcId", "subnetIds": "SubnetIds"}

    def create(self, aws: AwsClients, new: Props) -> Created:
        created = aws.client("ec2").create_transit_gateway_vpc_attachment(
            **rename_keys(new, self.fields), **self.tag_specification(new)
        )
        return Created(id=created["TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"])

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        was, now = set(old["subnetIds"]), set(new["subnetIds"])
        if was != now:
            aws.client("ec2").modify_transit_gateway_vpc_attachment(
                TransitGatewayAttachmentId=id, AddSubnetIds=sorted(now - was), RemoveSubnetIds=sorted(was - now)
            )
        super().update(aws, id, old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ec2").delete_transit_gateway_vpc_attachment(TransitGatewayAttachmentId=id)
        self._wait(aws, id, "deleted")


class TransitGatewayRouteHandler(Handler):
    pulumi_type = "aws:ec2transitgateway/route:Route"
    force_new = frozenset({"destinationCidrBlock", "transitGatewayRouteTableId", "transitGatewayAttachmentId"})
    delete_before_replace = True  # a route table has one route per destination
    _KEY: ClassVar = {
        "destinationCidrBlock": "DestinationCidrBlock",
        "transitGatewayRouteTableId": "TransitGatewayRouteTableId",
    }
    _TARGET: ClassVar = {"transitGatewayAttachmentId": "TransitGatewayAttachmentId"}

    def create(self, aws: AwsClients, new: Props) -> Created:
        aws.client("ec2").create_transit_gateway_route(**rename_keys(new, self._KEY | self._TARGET))
        return Created(id=f"{new['transitGatewayRouteTableId']}_{new['destinationCidrBlock']}")

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        response = aws.client("ec2").search_transit_gateway_routes(
            TransitGatewayRouteTableId=inputs["transitGatewayRouteTableId"],
            Filters=[{"Name": "route-search.exact-match", "Values": [inputs["destinationCidrBlock"]]}],
        )
        actual = first(route for route in response["Routes"] if route["State"] not in ("deleting", "deleted"))
        if actual is None:
            return None
        attached = first(actual.get("TransitGatewayAttachments") or []) or {}
        return {"transitGatewayAttachmentId": attached.get("TransitGatewayAttachmentId")}

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ec2").delete_transit_gateway_route(**rename_keys(state, self._KEY))

"""VPCs, subnets, gateways, route tables, endpoints and flow logs."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

from .base import (
    AwsClients,
    Created,
    Handler,
    Props,
    describe_one,
    differs,
    first,
    from_response,
    is_not_found,
    rename_keys,
    until,
)
from .ec2 import Ec2Handler

_NAT_GATEWAY_TIMEOUT_S = 300.0


class VpcHandler(Ec2Handler):
    pulumi_type = "aws:ec2/vpc:Vpc"
    kind = "vpc"
    describe_call = ("describe_vpcs", "Vpcs", "VpcIds")
    force_new = frozenset({"cidrBlock"})
    defaults: ClassVar = {"enableDnsSupport": True}
    fields: ClassVar = {"cidrBlock": "CidrBlock"}
    _ATTRIBUTES: ClassVar = {"enableDnsSupport": "EnableDnsSupport", "enableDnsHostnames": "EnableDnsHostnames"}

    def create(self, aws: AwsClients, new: Props) -> Created:
        ec2 = aws.client("ec2")
        created = ec2.create_vpc(CidrBlock=new["cidrBlock"], **self.tag_specification(new))["Vpc"]
        return Created(id=created["VpcId"])

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        self._attributes(aws, id, {}, new)

    def _attributes(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        for ours, theirs in self._ATTRIBUTES.items():
            if differs(old, new, ours):
                value = bool(new.get(ours))
                aws.client("ec2").modify_vpc_attribute(VpcId=id, **{theirs: {"Value": value}})

    def extra_inputs(self, aws: AwsClients, actual: dict[str, Any], inputs: Props) -> Props:
        describe = aws.client("ec2").describe_vpc_attribute
        return {
            ours: describe(VpcId=actual["VpcId"], Attribute=ours)[theirs]["Value"]
            for ours, theirs in self._ATTRIBUTES.items()
            if ours in inputs
        }

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        self._attributes(aws, id, old, new)
        super().update(aws, id, old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ec2").delete_vpc(VpcId=id)


class SubnetHandler(Ec2Handler):
    pulumi_type = "aws:ec2/subnet:Subnet"
    kind = "subnet"
    describe_call = ("describe_subnets", "Subnets", "SubnetIds")
    force_new = frozenset({"vpcId", "cidrBlock", "availabilityZone"})
    delete_before_replace = True  # two subnets can't have the same addresses
    fields: ClassVar = {
        "vpcId": "VpcId",
        "cidrBlock": "CidrBlock",
        "availabilityZone": "AvailabilityZone",
        "mapPublicIpOnLaunch": "MapPublicIpOnLaunch",
    }

    def create(self, aws: AwsClients, new: Props) -> Created:
        names = {"vpcId": "VpcId", "cidrBlock": "CidrBlock", "availabilityZone": "AvailabilityZone"}
        created = aws.client("ec2").create_subnet(**rename_keys(new, names), **self.tag_specification(new))["Subnet"]
        return Created(id=created["SubnetId"])

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        self._public(aws, id, {}, new)

    def _public(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        if bool(old.get("mapPublicIpOnLaunch")) != bool(new.get("mapPublicIpOnLaunch")):
            value = {"Value": bool(new.get("mapPublicIpOnLaunch"))}
            aws.client("ec2").modify_subnet_attribute(SubnetId=id, MapPublicIpOnLaunch=value)

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        self._public(aws, id, old, new)
        super().update(aws, id, old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ec2").delete_subnet(SubnetId=id)


class InternetGatewayHandler(Ec2Handler):
    pulumi_type = "aws:ec2/internetGateway:InternetGateway"
    kind = "internet-gateway"
    describe_call = ("describe_internet_gateways", "InternetGateways", "InternetGatewayIds")

    def create(self, aws: AwsClients, new: Props) -> Created:
        created = aws.client("ec2").create_internet_gateway(**self.tag_specification(new))
        return Created(id=created["InternetGateway"]["InternetGatewayId"])

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        if new.get("vpcId"):
            aws.client("ec2").attach_internet_gateway(InternetGatewayId=id, VpcId=new["vpcId"])

    def extra_inputs(self, aws: AwsClients, actual: dict[str, Any], inputs: Props) -> Props:
        attached = first(actual.get("Attachments") or []) or {}
        return {"vpcId": attached.get("VpcId")}

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        ec2 = aws.client("ec2")
        if differs(old, new, "vpcId"):
            if old.get("vpcId"):
                ec2.detach_internet_gateway(InternetGatewayId=id, VpcId=old["vpcId"])
            if new.get("vpcId"):
                ec2.attach_internet_gateway(InternetGatewayId=id, VpcId=new["vpcId"])
        super().update(aws, id, old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        ec2 = aws.client("ec2")
        actual = self.describe(aws, id)
        for attachment in (actual or {}).get("Attachments", []):
            ec2.detach_internet_gateway(InternetGatewayId=id, VpcId=attachment["VpcId"])
        ec2.delete_internet_gateway(InternetGatewayId=id)


class RouteTableHandler(Ec2Handler):
    pulumi_type = "aws:ec2/routeTable:RouteTable"
    kind = "route-table"
    describe_call = ("describe_route_tables", "RouteTables", "RouteTableIds")
    force_new = frozenset({"vpcId"})
    fields: ClassVar = {"vpcId": "VpcId"}

    def create(self, aws: AwsClients, new: Props) -> Created:
        created = aws.client("ec2").create_route_table(VpcId=new["vpcId"], **self.tag_specification(new))
        return Created(id=created["RouteTable"]["RouteTableId"])

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ec2").delete_route_table(RouteTableId=id)


class RouteHandler(Handler):
    pulumi_type = "aws:ec2/route:Route"
    force_new = frozenset({"routeTableId", "destinationCidrBlock"})
    delete_before_replace = True  # a route table has one route per destination
    _TARGETS: ClassVar = {
        "gatewayId": "GatewayId",
        "natGatewayId": "NatGatewayId",
        "transitGatewayId": "TransitGatewayId",
    }

    def _key(self, props: Props) -> dict[str, Any]:
        return {"RouteTableId": props["routeTableId"], "DestinationCidrBlock": props["destinationCidrBlock"]}

    def create(self, aws: AwsClients, new: Props) -> Created:
        aws.client("ec2").create_route(**self._key(new), **rename_keys(new, self._TARGETS))
        return Created(id=_route_id(new))

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        describe = aws.client("ec2").describe_route_tables
        table = describe_one(describe, "RouteTables", RouteTableIds=[inputs["routeTableId"]]) or {"Routes": []}
        to = inputs["destinationCidrBlock"]
        route = first(route for route in table["Routes"] if route.get("DestinationCidrBlock") == to)
        return None if route is None else from_response(route, self._TARGETS)

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        aws.client("ec2").replace_route(**self._key(new), **rename_keys(new, self._TARGETS))

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ec2").delete_route(**self._key(state))


def _route_id(props: Props) -> str:
    digest = int.from_bytes(hashlib.sha256(props["destinationCidrBlock"].encode()).digest()[:4], "big")
    return f"r-{props['routeTableId']}{digest}"


class RouteTableAssociationHandler(Handler):
    """Identified by its subnet: with another route table it has another id."""

    pulumi_type = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    force_new = frozenset({"subnetId"})
    delete_before_replace = True  # a subnet has one route table
    _NAMES: ClassVar = {"routeTableId": "RouteTableId", "subnetId": "SubnetId"}

    def create(self, aws: AwsClients, new: Props) -> Created:
        return Created(id=aws.client("ec2").associate_route_table(**rename_keys(new, self._NAMES))["AssociationId"])

    def _describe(self, aws: AwsClients, subnet: str) -> dict[str, Any] | None:
        query = [{"Name": "association.subnet-id", "Values": [subnet]}]
        table = describe_one(aws.client("ec2").describe_route_tables, "RouteTables", Filters=query) or {}
        return first(
            association for association in table.get("Associations", []) if association.get("SubnetId") == subnet
        )

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = self._describe(aws, inputs["subnetId"])
        return None if actual is None else from_response(actual, self._NAMES)

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        actual = self._describe(aws, new["subnetId"])
        current = actual["RouteTableAssociationId"] if actual else id
        aws.client("ec2").replace_route_table_association(AssociationId=current, RouteTableId=new["routeTableId"])

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        if actual := self._describe(aws, state["subnetId"]):
            aws.client("ec2").disassociate_route_table(AssociationId=actual["RouteTableAssociationId"])


class EipHandler(Ec2Handler):
    pulumi_type = "aws:ec2/eip:Eip"
    kind = "elastic-ip"
    describe_call = ("describe_addresses", "Addresses", "AllocationIds")
    force_new = frozenset({"domain"})
    fields: ClassVar = {"domain": "Domain"}

    def create(self, aws: AwsClients, new: Props) -> Created:
        created = aws.client("ec2").allocate_address(**rename_keys(new, self.fields), **self.tag_specification(new))
        return Created(id=created["AllocationId"])

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ec2").release_address(AllocationId=id)


class NatGatewayHandler(Ec2Handler):
    pulumi_type = "aws:ec2/natGateway:NatGateway"
    kind = "natgateway"
    describe_call = ("describe_nat_gateways", "NatGateways", "NatGatewayIds")
    force_new = frozenset({"subnetId", "allocationId"})
    delete_before_replace = True  # an Elastic IP address can be used by one gateway
    fields: ClassVar = {"subnetId": "SubnetId"}

    def create(self, aws: AwsClients, new: Props) -> Created:
        names = {"subnetId": "SubnetId", "allocationId": "AllocationId"}
        created = aws.client("ec2").create_nat_gateway(**rename_keys(new, names), **self.tag_specification(new))
        return Created(id=created["NatGateway"]["NatGatewayId"])

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        until(lambda: self._not_yet(aws, id, "available"), what=f"NAT gateway {id}", timeout_s=_NAT_GATEWAY_TIMEOUT_S)

    def _not_yet(self, aws: AwsClients, id: str, desired: str) -> str | None:
        actual = self.describe(aws, id) or {"State": "deleted"}
        if actual["State"] == "failed" and desired != "failed":
            raise ValueError(f"NAT gateway {id} failed: {actual['FailureCode']}: {actual['FailureMessage']}")
        return None if actual["State"] == desired else f"it is {actual['State']}"

    def describe(self, aws: AwsClients, id: str) -> dict[str, Any] | None:
        actual = super().describe(aws, id)
        return None if actual is None or actual["State"] == "deleted" else actual

    def extra_inputs(self, aws: AwsClients, actual: dict[str, Any], inputs: Props) -> Props:
        address = first(actual.get("NatGatewayAddresses", [])) or {}
        return {"allocationId": address.get("AllocationId")}

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ec2").delete_nat_gateway(NatGatewayId=id)
        until(
            lambda: self._not_yet(aws, id, "deleted"),
            what=f"deletion of NAT gateway {id}",
            timeout_s=_NAT_GATEWAY_TIMEOUT_S,
        )


class VpcEndpointHandler(Ec2Handler):
    pulumi_type = "aws:ec2/vpcEndpoint:VpcEndpoint"
    kind = "vpc-endpoint"
    describe_call = ("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointIds")
    force_new = frozenset({"vpcId", "serviceName", "vpcEndpointType"})
    fields: ClassVar = {
        "vpcId": "VpcId",
        "serviceName": "ServiceName",
        "vpcEndpointType": "VpcEndpointType",
        "routeTableIds": "RouteTableIds",
    }

    def describe(self, aws: AwsClients, id: str) -> dict[str, Any] | None:
        """AWS describes a deleted endpoint for some time."""
        actual = super().describe(aws, id)
        return None if actual is None or actual.get("State", "").lower() in ("deleting", "deleted") else actual

    def create(self, aws: AwsClients, new: Props) -> Created:
        arguments = rename_keys(new, self.fields)
        created = aws.client("ec2").create_vpc_endpoint(**arguments, **self.tag_specification(new))
        return Created(id=created["VpcEndpoint"]["VpcEndpointId"])

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        was, now = set(old.get("routeTableIds") or []), set(new.get("routeTableIds") or [])
        if was != now:
            aws.client("ec2").modify_vpc_endpoint(
                VpcEndpointId=id, AddRouteTableIds=sorted(now - was), RemoveRouteTableIds=sorted(was - now)
            )
        super().update(aws, id, old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ec2").delete_vpc_endpoints(VpcEndpointIds=[id])


class FlowLogHandler(Ec2Handler):
    pulumi_type = "aws:ec2/flowLog:FlowLog"
    kind = "vpc-flow-log"
    describe_call = ("describe_flow_logs", "FlowLogs", "FlowLogIds")
    force_new = frozenset({"vpcId", "trafficType", "logDestination", "iamRoleArn"})
    # The same source and destination can't be logged twice.
    delete_before_replace = True
    fields: ClassVar = {
        "trafficType": "TrafficType",
        "logDestination": "LogDestination",
        "iamRoleArn": "DeliverLogsPermissionArn",
    }

    def create(self, aws: AwsClients, new: Props) -> Created:
        arguments = rename_keys(new, self.fields) | self.tag_specification(new)
        response = aws.client("ec2").create_flow_logs(ResourceIds=[new["vpcId"]], ResourceType="VPC", **arguments)
        if refused := response.get("Unsuccessful"):
            raise ValueError(f"flow log of {new['vpcId']}: {refused[0]['Error']['Message']}")
        return Created(id=response["FlowLogIds"][0])

    def describe(self, aws: AwsClients, id: str) -> dict[str, Any] | None:
        return describe_one(aws.client("ec2").describe_flow_logs, "FlowLogs", FlowLogIds=[id])

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        try:
            aws.client("ec2").delete_flow_logs(FlowLogIds=[id])
        except Exception as error:
            if not is_not_found(error):
                raise

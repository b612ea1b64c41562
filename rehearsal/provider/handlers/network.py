"""VPCs and what leads in and out of them: subnets, gateways, routes, endpoints, flow logs."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

from .base import Cloud, Created, Handler, Props, describe_one, differs, first, from_answer, is_gone, rename_keys, until
from .ec2 import Ec2Handler

_GATEWAY_S = 300.0


class Vpc(Ec2Handler):
    pulumi_type = "aws:ec2/vpc:Vpc"
    kind = "vpc"
    describe = ("describe_vpcs", "Vpcs", "VpcIds")
    force_new = frozenset({"cidrBlock"})
    defaults: ClassVar = {"enableDnsSupport": True}
    fields: ClassVar = {"cidrBlock": "CidrBlock"}
    _ATTRIBUTES: ClassVar = {"enableDnsSupport": "EnableDnsSupport", "enableDnsHostnames": "EnableDnsHostnames"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        ec2 = cloud.client("ec2")
        created = ec2.create_vpc(CidrBlock=new["cidrBlock"], **self.tag_specification(new))["Vpc"]
        return Created(id=created["VpcId"])

    def complete(self, cloud: Cloud, id: str, new: Props) -> None:
        self._attributes(cloud, id, {}, new)

    def _attributes(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        for ours, theirs in self._ATTRIBUTES.items():
            if differs(old, new, ours):
                value = bool(new.get(ours))
                cloud.client("ec2").modify_vpc_attribute(VpcId=id, **{theirs: {"Value": value}})

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        ask = cloud.client("ec2").describe_vpc_attribute
        return {
            ours: ask(VpcId=found["VpcId"], Attribute=ours)[theirs]["Value"]
            for ours, theirs in self._ATTRIBUTES.items()
            if ours in inputs
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._attributes(cloud, id, old, new)
        super().update(cloud, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_vpc(VpcId=id)


class Subnet(Ec2Handler):
    pulumi_type = "aws:ec2/subnet:Subnet"
    kind = "subnet"
    describe = ("describe_subnets", "Subnets", "SubnetIds")
    force_new = frozenset({"vpcId", "cidrBlock", "availabilityZone"})
    delete_first = True  # the addresses can't be in two subnets
    fields: ClassVar = {
        "vpcId": "VpcId",
        "cidrBlock": "CidrBlock",
        "availabilityZone": "AvailabilityZone",
        "mapPublicIpOnLaunch": "MapPublicIpOnLaunch",
    }

    def create(self, cloud: Cloud, new: Props) -> Created:
        names = {"vpcId": "VpcId", "cidrBlock": "CidrBlock", "availabilityZone": "AvailabilityZone"}
        created = cloud.client("ec2").create_subnet(**rename_keys(new, names), **self.tag_specification(new))["Subnet"]
        return Created(id=created["SubnetId"])

    def complete(self, cloud: Cloud, id: str, new: Props) -> None:
        self._public(cloud, id, {}, new)

    def _public(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        if bool(old.get("mapPublicIpOnLaunch")) != bool(new.get("mapPublicIpOnLaunch")):
            value = {"Value": bool(new.get("mapPublicIpOnLaunch"))}
            cloud.client("ec2").modify_subnet_attribute(SubnetId=id, MapPublicIpOnLaunch=value)

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._public(cloud, id, old, new)
        super().update(cloud, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_subnet(SubnetId=id)


class InternetGateway(Ec2Handler):
    pulumi_type = "aws:ec2/internetGateway:InternetGateway"
    kind = "internet-gateway"
    describe = ("describe_internet_gateways", "InternetGateways", "InternetGatewayIds")

    def create(self, cloud: Cloud, new: Props) -> Created:
        created = cloud.client("ec2").create_internet_gateway(**self.tag_specification(new))
        return Created(id=created["InternetGateway"]["InternetGatewayId"])

    def complete(self, cloud: Cloud, id: str, new: Props) -> None:
        if new.get("vpcId"):
            cloud.client("ec2").attach_internet_gateway(InternetGatewayId=id, VpcId=new["vpcId"])

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        attached = first(found.get("Attachments") or []) or {}
        return {"vpcId": attached.get("VpcId")}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        ec2 = cloud.client("ec2")
        if differs(old, new, "vpcId"):
            if old.get("vpcId"):
                ec2.detach_internet_gateway(InternetGatewayId=id, VpcId=old["vpcId"])
            if new.get("vpcId"):
                ec2.attach_internet_gateway(InternetGatewayId=id, VpcId=new["vpcId"])
        super().update(cloud, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        ec2 = cloud.client("ec2")
        found = self.described(cloud, id)
        for attachment in (found or {}).get("Attachments", []):
            ec2.detach_internet_gateway(InternetGatewayId=id, VpcId=attachment["VpcId"])
        ec2.delete_internet_gateway(InternetGatewayId=id)


class RouteTable(Ec2Handler):
    pulumi_type = "aws:ec2/routeTable:RouteTable"
    kind = "route-table"
    describe = ("describe_route_tables", "RouteTables", "RouteTableIds")
    force_new = frozenset({"vpcId"})
    fields: ClassVar = {"vpcId": "VpcId"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        created = cloud.client("ec2").create_route_table(VpcId=new["vpcId"], **self.tag_specification(new))
        return Created(id=created["RouteTable"]["RouteTableId"])

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_route_table(RouteTableId=id)


class Route(Handler):
    pulumi_type = "aws:ec2/route:Route"
    force_new = frozenset({"routeTableId", "destinationCidrBlock"})
    delete_first = True  # a table has one route to a destination
    _TARGETS: ClassVar = {
        "gatewayId": "GatewayId",
        "natGatewayId": "NatGatewayId",
        "transitGatewayId": "TransitGatewayId",
    }

    def _key(self, props: Props) -> dict[str, Any]:
        return {"RouteTableId": props["routeTableId"], "DestinationCidrBlock": props["destinationCidrBlock"]}

    def create(self, cloud: Cloud, new: Props) -> Created:
        cloud.client("ec2").create_route(**self._key(new), **rename_keys(new, self._TARGETS))
        return Created(id=_route_id(new))

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        describe = cloud.client("ec2").describe_route_tables
        table = describe_one(describe, "RouteTables", RouteTableIds=[inputs["routeTableId"]]) or {"Routes": []}
        to = inputs["destinationCidrBlock"]
        route = first(each for each in table["Routes"] if each.get("DestinationCidrBlock") == to)
        return None if route is None else from_answer(route, self._TARGETS)

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        cloud.client("ec2").replace_route(**self._key(new), **rename_keys(new, self._TARGETS))

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_route(**self._key(state))


def _route_id(props: Props) -> str:
    digest = int.from_bytes(hashlib.sha256(props["destinationCidrBlock"].encode()).digest()[:4], "big")
    return f"r-{props['routeTableId']}{digest}"


class RouteTableAssociation(Handler):
    """Found by its subnet: another table gives it another id."""

    pulumi_type = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    force_new = frozenset({"subnetId"})
    delete_first = True  # a subnet has one table
    _NAMES: ClassVar = {"routeTableId": "RouteTableId", "subnetId": "SubnetId"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        return Created(id=cloud.client("ec2").associate_route_table(**rename_keys(new, self._NAMES))["AssociationId"])

    def _described(self, cloud: Cloud, subnet: str) -> dict[str, Any] | None:
        query = [{"Name": "association.subnet-id", "Values": [subnet]}]
        table = describe_one(cloud.client("ec2").describe_route_tables, "RouteTables", Filters=query) or {}
        return first(each for each in table.get("Associations", []) if each.get("SubnetId") == subnet)

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = self._described(cloud, inputs["subnetId"])
        return None if found is None else from_answer(found, self._NAMES)

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        found = self._described(cloud, new["subnetId"])
        current = found["RouteTableAssociationId"] if found else id
        cloud.client("ec2").replace_route_table_association(AssociationId=current, RouteTableId=new["routeTableId"])

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        if found := self._described(cloud, state["subnetId"]):
            cloud.client("ec2").disassociate_route_table(AssociationId=found["RouteTableAssociationId"])


class Eip(Ec2Handler):
    pulumi_type = "aws:ec2/eip:Eip"
    kind = "elastic-ip"
    describe = ("describe_addresses", "Addresses", "AllocationIds")
    force_new = frozenset({"domain"})
    fields: ClassVar = {"domain": "Domain"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        created = cloud.client("ec2").allocate_address(**rename_keys(new, self.fields), **self.tag_specification(new))
        return Created(id=created["AllocationId"])

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").release_address(AllocationId=id)


class NatGateway(Ec2Handler):
    pulumi_type = "aws:ec2/natGateway:NatGateway"
    kind = "natgateway"
    describe = ("describe_nat_gateways", "NatGateways", "NatGatewayIds")
    force_new = frozenset({"subnetId", "allocationId"})
    delete_first = True  # an address serves one gateway
    fields: ClassVar = {"subnetId": "SubnetId"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        names = {"subnetId": "SubnetId", "allocationId": "AllocationId"}
        created = cloud.client("ec2").create_nat_gateway(**rename_keys(new, names), **self.tag_specification(new))
        return Created(id=created["NatGateway"]["NatGatewayId"])

    def complete(self, cloud: Cloud, id: str, new: Props) -> None:
        until(lambda: self._not_yet(cloud, id, "available"), what=f"NAT gateway {id}", timeout_s=_GATEWAY_S)

    def _not_yet(self, cloud: Cloud, id: str, wanted: str) -> str | None:
        found = self.described(cloud, id) or {"State": "deleted"}
        if found["State"] == "failed" and wanted != "failed":
            raise ValueError(f"NAT gateway {id} failed: {found['FailureCode']}: {found['FailureMessage']}")
        return None if found["State"] == wanted else f"it is {found['State']}"

    def described(self, cloud: Cloud, id: str) -> dict[str, Any] | None:
        found = super().described(cloud, id)
        return None if found is None or found["State"] == "deleted" else found

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        address = first(found.get("NatGatewayAddresses", [])) or {}
        return {"allocationId": address.get("AllocationId")}

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_nat_gateway(NatGatewayId=id)
        until(lambda: self._not_yet(cloud, id, "deleted"), what=f"NAT gateway {id} to go", timeout_s=_GATEWAY_S)


class VpcEndpoint(Ec2Handler):
    pulumi_type = "aws:ec2/vpcEndpoint:VpcEndpoint"
    kind = "vpc-endpoint"
    describe = ("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointIds")
    force_new = frozenset({"vpcId", "serviceName", "vpcEndpointType"})
    fields: ClassVar = {
        "vpcId": "VpcId",
        "serviceName": "ServiceName",
        "vpcEndpointType": "VpcEndpointType",
        "routeTableIds": "RouteTableIds",
    }

    def described(self, cloud: Cloud, id: str) -> dict[str, Any] | None:
        """AWS describes a deleted one for some time."""
        found = super().described(cloud, id)
        return None if found is None or found.get("State", "").lower() in ("deleting", "deleted") else found

    def create(self, cloud: Cloud, new: Props) -> Created:
        arguments = rename_keys(new, self.fields)
        created = cloud.client("ec2").create_vpc_endpoint(**arguments, **self.tag_specification(new))
        return Created(id=created["VpcEndpoint"]["VpcEndpointId"])

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        was, now = set(old.get("routeTableIds") or []), set(new.get("routeTableIds") or [])
        if was != now:
            cloud.client("ec2").modify_vpc_endpoint(
                VpcEndpointId=id, AddRouteTableIds=sorted(now - was), RemoveRouteTableIds=sorted(was - now)
            )
        super().update(cloud, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_vpc_endpoints(VpcEndpointIds=[id])


class FlowLog(Ec2Handler):
    pulumi_type = "aws:ec2/flowLog:FlowLog"
    kind = "vpc-flow-log"
    describe = ("describe_flow_logs", "FlowLogs", "FlowLogIds")
    force_new = frozenset({"vpcId", "trafficType", "logDestination", "iamRoleArn"})
    # The same source and destination can't be logged twice.
    delete_first = True
    fields: ClassVar = {
        "trafficType": "TrafficType",
        "logDestination": "LogDestination",
        "iamRoleArn": "DeliverLogsPermissionArn",
    }

    def create(self, cloud: Cloud, new: Props) -> Created:
        arguments = rename_keys(new, self.fields) | self.tag_specification(new)
        answer = cloud.client("ec2").create_flow_logs(ResourceIds=[new["vpcId"]], ResourceType="VPC", **arguments)
        if refused := answer.get("Unsuccessful"):
            raise ValueError(f"flow log of {new['vpcId']}: {refused[0]['Error']['Message']}")
        return Created(id=answer["FlowLogIds"][0])

    def described(self, cloud: Cloud, id: str) -> dict[str, Any] | None:
        return describe_one(cloud.client("ec2").describe_flow_logs, "FlowLogs", FlowLogIds=[id])

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        try:
            cloud.client("ec2").delete_flow_logs(FlowLogIds=[id])
        except Exception as error:
            if not is_gone(error):
                raise

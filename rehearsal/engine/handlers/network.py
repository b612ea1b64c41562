"""VPCs and what leads in and out of them: subnets, gateways, routes, endpoints, flow logs."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

from .base import Cloud, Created, Handler, Props, differs, first, given, is_gone, looked_up, picked, taken, until
from .ec2 import Ec2Handler

_GATEWAY_S = 300.0


class Vpc(Ec2Handler):
    pulumi_type = "aws:ec2/vpc:Vpc"
    kind = "vpc"
    describe = ("describe_vpcs", "Vpcs", "VpcIds")
    force_new = frozenset({"cidrBlock", "ipv4IpamPoolId"})
    defaults: ClassVar = {"enableDnsSupport": True, "instanceTenancy": "default"}
    fields: ClassVar = {"cidrBlock": "CidrBlock", "instanceTenancy": "InstanceTenancy"}
    _ATTRIBUTES: ClassVar = {"enableDnsSupport": "EnableDnsSupport", "enableDnsHostnames": "EnableDnsHostnames"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        ec2 = cloud.client("ec2")
        names = {"cidrBlock": "CidrBlock", "instanceTenancy": "InstanceTenancy"}
        made = ec2.create_vpc(**picked(new, names), **self.tag_specification(new))["Vpc"]
        self._attributes(cloud, made["VpcId"], {}, new)
        return Created(id=made["VpcId"])

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

    def outputs(self, cloud: Cloud, found: dict[str, Any]) -> Props:
        ec2, query = cloud.client("ec2"), [{"Name": "vpc-id", "Values": [found["VpcId"]]}]
        named = [*query, {"Name": "group-name", "Values": ["default"]}]
        tables = ec2.describe_route_tables(Filters=[*query, {"Name": "association.main", "Values": ["true"]}])
        acls = ec2.describe_network_acls(Filters=[*query, {"Name": "default", "Values": ["true"]}])
        table = first(each["RouteTableId"] for each in tables["RouteTables"])
        return {
            "ownerId": cloud.account,
            "defaultSecurityGroupId": first(
                each["GroupId"] for each in ec2.describe_security_groups(Filters=named)["SecurityGroups"]
            ),
            "mainRouteTableId": table,
            "defaultRouteTableId": table,
            "defaultNetworkAclId": first(each["NetworkAclId"] for each in acls["NetworkAcls"]),
            "dhcpOptionsId": found.get("DhcpOptionsId"),
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
    force_new = frozenset({"vpcId", "cidrBlock", "availabilityZone", "availabilityZoneId"})
    delete_first = True  # the addresses can't be in two subnets
    fields: ClassVar = {
        "vpcId": "VpcId",
        "cidrBlock": "CidrBlock",
        "availabilityZone": "AvailabilityZone",
        "mapPublicIpOnLaunch": "MapPublicIpOnLaunch",
    }

    def create(self, cloud: Cloud, new: Props) -> Created:
        names = {
            "vpcId": "VpcId",
            "cidrBlock": "CidrBlock",
            "availabilityZone": "AvailabilityZone",
            "availabilityZoneId": "AvailabilityZoneId",
        }
        made = cloud.client("ec2").create_subnet(**picked(new, names), **self.tag_specification(new))["Subnet"]
        self._public(cloud, made["SubnetId"], {}, new)
        return Created(id=made["SubnetId"])

    def _public(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        if bool(old.get("mapPublicIpOnLaunch")) != bool(new.get("mapPublicIpOnLaunch")):
            value = {"Value": bool(new.get("mapPublicIpOnLaunch"))}
            cloud.client("ec2").modify_subnet_attribute(SubnetId=id, MapPublicIpOnLaunch=value)

    def outputs(self, cloud: Cloud, found: dict[str, Any]) -> Props:
        return {
            "ownerId": cloud.account,
            "availabilityZone": found["AvailabilityZone"],
            "availabilityZoneId": found["AvailabilityZoneId"],
        }

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
        ec2 = cloud.client("ec2")
        id = ec2.create_internet_gateway(**self.tag_specification(new))["InternetGateway"]["InternetGatewayId"]
        if new.get("vpcId"):
            ec2.attach_internet_gateway(InternetGatewayId=id, VpcId=new["vpcId"])
        return Created(id=id)

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


_DESTINATIONS = {
    "cidrBlock": "DestinationCidrBlock",
    "destinationCidrBlock": "DestinationCidrBlock",
    "ipv6CidrBlock": "DestinationIpv6CidrBlock",
    "destinationIpv6CidrBlock": "DestinationIpv6CidrBlock",
    "destinationPrefixListId": "DestinationPrefixListId",
}
_TARGETS = {
    "gatewayId": "GatewayId",
    "natGatewayId": "NatGatewayId",
    "transitGatewayId": "TransitGatewayId",
    "vpcEndpointId": "VpcEndpointId",
    "vpcPeeringConnectionId": "VpcPeeringConnectionId",
    "networkInterfaceId": "NetworkInterfaceId",
}


class RouteTable(Ec2Handler):
    pulumi_type = "aws:ec2/routeTable:RouteTable"
    kind = "route-table"
    describe = ("describe_route_tables", "RouteTables", "RouteTableIds")
    force_new = frozenset({"vpcId"})
    fields: ClassVar = {"vpcId": "VpcId"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        made = cloud.client("ec2").create_route_table(VpcId=new["vpcId"], **self.tag_specification(new))
        id = made["RouteTable"]["RouteTableId"]
        self._routes(cloud, id, [], new.get("routes") or [])
        return Created(id=id)

    def _routes(self, cloud: Cloud, id: str, old: list[Props], new: list[Props]) -> None:
        ec2 = cloud.client("ec2")
        for route in [each for each in old if each not in new]:
            ec2.delete_route(RouteTableId=id, **picked(route, _DESTINATIONS))
        for route in [each for each in new if each not in old]:
            ec2.create_route(RouteTableId=id, **picked(route, _DESTINATIONS), **picked(route, _TARGETS))

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        """Routes only where the table lists its own: else they are resources of their own."""
        if not inputs.get("routes"):
            return {}
        names = {"cidrBlock": "DestinationCidrBlock", "ipv6CidrBlock": "DestinationIpv6CidrBlock"}
        listed = [each for each in found["Routes"] if each.get("Origin") == "CreateRoute"]
        return {"routes": [given(**taken(each, names | _TARGETS)) for each in listed]}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._routes(cloud, id, old.get("routes") or [], new.get("routes") or [])
        super().update(cloud, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_route_table(RouteTableId=id)


class Route(Handler):
    pulumi_type = "aws:ec2/route:Route"
    force_new = frozenset({"routeTableId", *_DESTINATIONS})
    delete_first = True  # a table has one route to a destination

    def create(self, cloud: Cloud, new: Props) -> Created:
        targets = {**picked(new, _DESTINATIONS), **picked(new, _TARGETS)}
        cloud.client("ec2").create_route(RouteTableId=new["routeTableId"], **targets)
        return Created(id=_route_id(new), outputs={"origin": "CreateRoute", "state": "active"})

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        return [_route_id(inputs)] if self.stands(cloud, _route_id(inputs), inputs) else []

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        ask = cloud.client("ec2").describe_route_tables
        table = looked_up(ask, "RouteTables", RouteTableIds=[inputs["routeTableId"]]) or {"Routes": []}
        wanted = picked(inputs, _DESTINATIONS).items()
        route = first(each for each in table["Routes"] if wanted <= each.items())
        return None if route is None else taken(route, _TARGETS)

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        targets = {**picked(new, _DESTINATIONS), **picked(new, _TARGETS)}
        cloud.client("ec2").replace_route(RouteTableId=new["routeTableId"], **targets)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_route(RouteTableId=state["routeTableId"], **picked(state, _DESTINATIONS))


def _route_id(props: Props) -> str:
    destination = next(iter(picked(props, _DESTINATIONS).values()))
    digest = int.from_bytes(hashlib.sha256(str(destination).encode()).digest()[:4], "big")
    return f"r-{props['routeTableId']}{digest}"


class RouteTableAssociation(Handler):
    pulumi_type = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    force_new = frozenset({"routeTableId", "subnetId", "gatewayId"})
    delete_first = True  # a subnet has one table

    def create(self, cloud: Cloud, new: Props) -> Created:
        names = {"routeTableId": "RouteTableId", "subnetId": "SubnetId", "gatewayId": "GatewayId"}
        return Created(id=cloud.client("ec2").associate_route_table(**picked(new, names))["AssociationId"])

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        query = [{"Name": "route-table-id", "Values": [inputs["routeTableId"]]}]
        table = looked_up(cloud.client("ec2").describe_route_tables, "RouteTables", Filters=query) or {}
        names = {"subnetId": "SubnetId", "gatewayId": "GatewayId"}
        wanted = picked(inputs, names).items()
        return [each["RouteTableAssociationId"] for each in table.get("Associations", []) if wanted <= each.items()]

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        query = [{"Name": "association.route-table-association-id", "Values": [id]}]
        table = looked_up(cloud.client("ec2").describe_route_tables, "RouteTables", Filters=query) or {}
        found = first(each for each in table.get("Associations", []) if each["RouteTableAssociationId"] == id)
        names = {"routeTableId": "RouteTableId", "subnetId": "SubnetId", "gatewayId": "GatewayId"}
        return None if found is None else taken(found, names)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").disassociate_route_table(AssociationId=id)


class Eip(Ec2Handler):
    pulumi_type = "aws:ec2/eip:Eip"
    kind = "elastic-ip"
    describe = ("describe_addresses", "Addresses", "AllocationIds")
    force_new = frozenset({"domain", "publicIpv4Pool", "networkBorderGroup"})
    fields: ClassVar = {"domain": "Domain"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        made = cloud.client("ec2").allocate_address(Domain=new.get("domain", "vpc"), **self.tag_specification(new))
        return Created(id=made["AllocationId"])

    def outputs(self, cloud: Cloud, found: dict[str, Any]) -> Props:
        return {
            "allocationId": found["AllocationId"],
            "publicIp": found["PublicIp"],
            "publicDns": f"ec2-{found['PublicIp'].replace('.', '-')}.compute-1.amazonaws.com",
        }

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").release_address(AllocationId=id)


class NatGateway(Ec2Handler):
    pulumi_type = "aws:ec2/natGateway:NatGateway"
    kind = "natgateway"
    describe = ("describe_nat_gateways", "NatGateways", "NatGatewayIds")
    force_new = frozenset({"subnetId", "allocationId", "connectivityType", "privateIp"})
    delete_first = True  # an address serves one gateway
    fields: ClassVar = {"subnetId": "SubnetId"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        names = {"subnetId": "SubnetId", "allocationId": "AllocationId", "connectivityType": "ConnectivityType"}
        made = cloud.client("ec2").create_nat_gateway(**picked(new, names), **self.tag_specification(new))
        id = made["NatGateway"]["NatGatewayId"]
        until(lambda: self._not_yet(cloud, id, "available"), what=f"NAT gateway {id}", deadline_s=_GATEWAY_S)
        return Created(id=id)

    def _not_yet(self, cloud: Cloud, id: str, wanted: str) -> str | None:
        state = (self.described(cloud, id) or {"State": "deleted"})["State"]
        return None if state == wanted else f"it is {state}"

    def described(self, cloud: Cloud, id: str) -> dict[str, Any] | None:
        found = super().described(cloud, id)
        return None if found is None or found["State"] == "deleted" else found

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        address = first(found.get("NatGatewayAddresses", [])) or {}
        return {
            "allocationId": address.get("AllocationId"),
            "connectivityType": found.get("ConnectivityType", "public"),
        }

    def outputs(self, cloud: Cloud, found: dict[str, Any]) -> Props:
        address = first(found.get("NatGatewayAddresses", [])) or {}
        return {
            "publicIp": address.get("PublicIp"),
            "privateIp": address.get("PrivateIp"),
            "networkInterfaceId": address.get("NetworkInterfaceId"),
            "associationId": address.get("AssociationId"),
        }

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_nat_gateway(NatGatewayId=id)
        until(lambda: self._not_yet(cloud, id, "deleted"), what=f"NAT gateway {id} to go", deadline_s=_GATEWAY_S)


class VpcEndpoint(Ec2Handler):
    pulumi_type = "aws:ec2/vpcEndpoint:VpcEndpoint"
    kind = "vpc-endpoint"
    describe = ("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointIds")
    force_new = frozenset({"vpcId", "serviceName", "vpcEndpointType"})
    _LISTS: ClassVar = {
        "routeTableIds": "RouteTableIds",
        "subnetIds": "SubnetIds",
        "securityGroupIds": "SecurityGroupIds",
    }
    fields: ClassVar = {
        "vpcId": "VpcId",
        "serviceName": "ServiceName",
        "vpcEndpointType": "VpcEndpointType",
        "privateDnsEnabled": "PrivateDnsEnabled",
        "policy": "PolicyDocument",
        "routeTableIds": "RouteTableIds",
        "subnetIds": "SubnetIds",
    }

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        return {"securityGroupIds": [each["GroupId"] for each in found.get("Groups") or []]}

    def create(self, cloud: Cloud, new: Props) -> Created:
        names = {
            "vpcId": "VpcId",
            "serviceName": "ServiceName",
            "vpcEndpointType": "VpcEndpointType",
            "policy": "PolicyDocument",
            "privateDnsEnabled": "PrivateDnsEnabled",
            **self._LISTS,
        }
        made = cloud.client("ec2").create_vpc_endpoint(**picked(new, names), **self.tag_specification(new))
        return Created(id=made["VpcEndpoint"]["VpcEndpointId"])

    def outputs(self, cloud: Cloud, found: dict[str, Any]) -> Props:
        query = [{"Name": "prefix-list-name", "Values": [found["ServiceName"]]}]
        lists = cloud.client("ec2").describe_prefix_lists(Filters=query)["PrefixLists"]
        listed = first(each for each in lists if each["PrefixListName"] == found["ServiceName"]) or {}
        return {
            "ownerId": cloud.account,
            "state": found.get("State", "available").lower(),
            "prefixListId": listed.get("PrefixListId"),
            "cidrBlocks": listed.get("Cidrs", []),
            "dnsEntries": [
                {"dnsName": each.get("DnsName"), "hostedZoneId": each.get("HostedZoneId")}
                for each in found.get("DnsEntries") or []
            ],
            "networkInterfaceIds": found.get("NetworkInterfaceIds", []),
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        changes: dict[str, Any] = {}
        for ours, theirs in self._LISTS.items():
            was, now = set(old.get(ours) or []), set(new.get(ours) or [])
            changes |= given(
                **{f"Add{theirs}": sorted(now - was) or None, f"Remove{theirs}": sorted(was - now) or None}
            )
        if differs(old, new, "policy"):
            changes |= {"PolicyDocument": new["policy"]} if new.get("policy") else {"ResetPolicy": True}
        if changes:
            cloud.client("ec2").modify_vpc_endpoint(VpcEndpointId=id, **changes)
        super().update(cloud, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_vpc_endpoints(VpcEndpointIds=[id])


class FlowLog(Ec2Handler):
    pulumi_type = "aws:ec2/flowLog:FlowLog"
    kind = "vpc-flow-log"
    describe = ("describe_flow_logs", "FlowLogs", "FlowLogIds")
    force_new = frozenset(
        {"vpcId", "subnetId", "eniId", "trafficType", "logDestination", "logDestinationType", "iamRoleArn"}
        | {"logFormat", "maxAggregationInterval"}
    )
    # The same source and destination can't be logged twice.
    delete_first = True
    fields: ClassVar = {
        "trafficType": "TrafficType",
        "logDestination": "LogDestination",
        "logDestinationType": "LogDestinationType",
        "iamRoleArn": "DeliverLogsPermissionArn",
        "logFormat": "LogFormat",
        "maxAggregationInterval": "MaxAggregationInterval",
    }

    def create(self, cloud: Cloud, new: Props) -> Created:
        kinds = {"vpcId": "VPC", "subnetId": "Subnet", "eniId": "NetworkInterface"}
        source = next(key for key in kinds if new.get(key))
        made = cloud.client("ec2").create_flow_logs(
            ResourceIds=[new[source]],
            ResourceType=kinds[source],
            **picked(new, self.fields),
            **self.tag_specification(new),
        )
        if made.get("Unsuccessful"):
            raise ValueError(f"flow log of {new[source]}: {made['Unsuccessful'][0]['Error']['Message']}")
        return Created(id=made["FlowLogIds"][0])

    def described(self, cloud: Cloud, id: str) -> dict[str, Any] | None:
        return looked_up(cloud.client("ec2").describe_flow_logs, "FlowLogs", FlowLogIds=[id])

    def outputs(self, cloud: Cloud, found: dict[str, Any]) -> Props:
        return {}

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        try:
            cloud.client("ec2").delete_flow_logs(FlowLogIds=[id])
        except Exception as error:
            if not is_gone(error):
                raise

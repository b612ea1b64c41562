"""VPC with a public and a private subnet per zone, and NAT gateways as configured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_aws import cloudwatch, ec2, iam

from components import policy_documents
from components.cidr_plan import ZoneRanges
from config.context import StackContext
from config.settings import LogSettings, NetworkSettings

ANYWHERE = "0.0.0.0/0"


class Network(pulumi.ComponentResource):
    """`ranges` are by zone name. Outputs: `vpc_id`, `public_subnet_ids` and `instance_subnet_ids` (one per zone each).

    `instance_route_tables` are those of the instances' subnets, by zone; without NAT the one key `public`.

    The instances' subnets are known only once their routes exist: a NAT gateway takes minutes, and an instance that
    starts before fails to boot. The public ones are known once the VPC has its internet gateway, without which AWS
    refuses a load balancer in them.
    """

    vpc_id: pulumi.Output[str]
    public_subnet_ids: pulumi.Output[list[str]]
    instance_subnet_ids: pulumi.Output[list[str]]

    def __init__(
        self,
        name: str,
        context: StackContext,
        settings: NetworkSettings,
        logs: LogSettings,
        ranges: Mapping[str, ZoneRanges],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:network:Network", name, {}, opts)
        self._name, self._context = name, context
        self._settings, self._logs, self._ranges = settings, logs, ranges
        self._child = pulumi.ResourceOptions(parent=self)
        self._egress: list[pulumi.CustomResource] = []
        self._vpc = self._create_vpc()
        gateway = self._internet_gateway()
        # Elastic IPs and NAT gateways refer to subnets only, but AWS refuses them without the internet gateway.
        self._after_gateway = pulumi.ResourceOptions(parent=self, depends_on=[gateway])
        public = self._subnets("public")
        private = self._subnets("private")
        public_table = self._public_table(gateway, public)
        tables = self._private_tables(private, self._nat_gateways(public))
        self._s3_endpoint([public_table, *tables.values()])
        self._locked_default_group()
        if settings.flow_logs:
            self._flow_logs()
        self.vpc_id = self._vpc.id
        self.public_subnet_ids = _ids(public, after=[gateway])
        self.instance_route_tables = tables if settings.nat_gateways != "none" else {"public": public_table}
        self.instance_subnet_ids = _ids(private if settings.nat_gateways != "none" else public, after=self._egress)
        self.register_outputs(
            {
                "vpc_id": self.vpc_id,
                "public_subnet_ids": self.public_subnet_ids,
                "instance_subnet_ids": self.instance_subnet_ids,
            }
        )

    def _tags(self, role: str) -> dict[str, str]:
        return {"Name": f"{self._context.stack}-{role}", "Stack": self._context.stack}

    def _create_vpc(self) -> ec2.Vpc:
        return ec2.Vpc(
            self._name,
            cidr_block=self._settings.vpc_cidr,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags=self._tags("vpc"),
            opts=pulumi.ResourceOptions(parent=self, protect=self._context.protect),
        )

    def _internet_gateway(self) -> ec2.InternetGateway:
        tags = self._tags("internet")
        return ec2.InternetGateway(f"{self._name}-internet", vpc_id=self._vpc.id, tags=tags, opts=self._child)

    def _subnets(self, kind: str) -> dict[str, ec2.Subnet]:
        # Without NAT, instances are in the public subnets and need a public address to reach AWS.
        public_addresses = kind == "public" and self._settings.nat_gateways == "none"
        return {
            zone: ec2.Subnet(
                f"{self._name}-{kind}-{zone}",
                vpc_id=self._vpc.id,
                availability_zone=zone,
                cidr_block=getattr(ranges, kind),
                map_public_ip_on_launch=public_addresses,
                tags=self._tags(f"{kind}-{zone}"),
                opts=self._child,
            )
            for zone, ranges in self._ranges.items()
        }

    def _public_table(self, gateway: ec2.InternetGateway, subnets: Mapping[str, ec2.Subnet]) -> ec2.RouteTable:
        table = self._table("public")
        out = ec2.Route(
            f"{self._name}-public-out",
            route_table_id=table.id,
            destination_cidr_block=ANYWHERE,
            gateway_id=gateway.id,
            opts=self._child,
        )
        self._egress.append(out)
        for zone, subnet in subnets.items():
            self._associate(f"public-{zone}", table, subnet)
        return table

    def _nat_gateways(self, public: Mapping[str, ec2.Subnet]) -> dict[str, ec2.NatGateway]:
        """NAT gateways by zone; the same one for all zones when it is single."""
        zones = list(public)
        match self._settings.nat_gateways:
            case "none":
                return {}
            case "single":
                return dict.fromkeys(zones, self._nat_gateway(zones[0], public[zones[0]]))
            case _:
                return {zone: self._nat_gateway(zone, subnet) for zone, subnet in public.items()}

    def _nat_gateway(self, zone: str, subnet: ec2.Subnet) -> ec2.NatGateway:
        name, tags = f"{self._name}-nat-{zone}", self._tags(f"nat-{zone}")
        address = ec2.Eip(name, domain="vpc", tags=tags, opts=self._after_gateway)
        return ec2.NatGateway(name, allocation_id=address.id, subnet_id=subnet.id, tags=tags, opts=self._after_gateway)

    def _private_tables(
        self, subnets: Mapping[str, ec2.Subnet], gateways: Mapping[str, ec2.NatGateway]
    ) -> dict[str, ec2.RouteTable]:
        """One table per zone, whatever the gateways, so that another mode changes routes and not tables."""
        tables = {}
        for zone, subnet in subnets.items():
            tables[zone] = self._table(f"private-{zone}")
            self._associate(f"private-{zone}", tables[zone], subnet)
            if zone in gateways:
                self._egress.append(self._private_route(zone, tables[zone], gateways[zone]))
        return tables

    def _private_route(self, zone: str, table: ec2.RouteTable, gateway: ec2.NatGateway) -> ec2.Route:
        return ec2.Route(
            f"{self._name}-private-{zone}-out",
            route_table_id=table.id,
            destination_cidr_block=ANYWHERE,
            nat_gateway_id=gateway.id,
            opts=self._child,
        )

    def _table(self, role: str) -> ec2.RouteTable:
        return ec2.RouteTable(f"{self._name}-{role}", vpc_id=self._vpc.id, tags=self._tags(role), opts=self._child)

    def _associate(self, role: str, table: ec2.RouteTable, subnet: ec2.Subnet) -> None:
        name = f"{self._name}-{role}"
        self._egress.append(
            ec2.RouteTableAssociation(name, route_table_id=table.id, subnet_id=subnet.id, opts=self._child)
        )

    def _s3_endpoint(self, tables: list[ec2.RouteTable]) -> None:
        """Releases are downloaded from S3 without NAT, which is billed by the byte."""
        endpoint = ec2.VpcEndpoint(
            f"{self._name}-s3",
            vpc_id=self._vpc.id,
            service_name=f"com.amazonaws.{self._context.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in tables],
            tags=self._tags("s3"),
            opts=self._child,
        )
        self._egress.append(endpoint)

    def _locked_default_group(self) -> None:
        """The VPC's default security group lets its members reach each other; this removes its rules."""
        ec2.DefaultSecurityGroup(
            f"{self._name}-default",
            vpc_id=self._vpc.id,
            ingress=[],
            egress=[],
            tags=self._tags("default-locked"),
            opts=self._child,
        )

    def _flow_logs(self) -> None:
        name, stack = f"{self._name}-flow", self._context.stack
        group = cloudwatch.LogGroup(
            name,
            # A prefix: a group that an interrupted run created must not block the next run by its name.
            name_prefix=f"/bluegreen/{stack}/flow-",
            retention_in_days=self._logs.retention_days,
            tags=self._tags("flow"),
            opts=self._child,
        )
        assumed = policy_documents.text(policy_documents.assumed_by("vpc-flow-logs.amazonaws.com"))
        role = iam.Role(
            name,
            path=policy_documents.role_path(stack),
            assume_role_policy=assumed,
            permissions_boundary=self._context.boundary or None,
            tags=self._tags("flow"),
            opts=self._child,
        )
        document = group.arn.apply(lambda arn: policy_documents.text(policy_documents.flow_logs(arn)))
        iam.RolePolicy(name, role=role.id, policy=document, opts=self._child)
        ec2.FlowLog(
            name,
            vpc_id=self._vpc.id,
            traffic_type="ALL",
            iam_role_arn=role.arn,
            log_destination=group.arn,
            tags=self._tags("flow"),
            opts=self._child,
        )


def _ids(subnets: Mapping[str, ec2.Subnet], after: Sequence[pulumi.CustomResource] = ()) -> pulumi.Output[list[str]]:
    known = [resource.id for resource in (*subnets.values(), *after)]
    return pulumi.Output.all(*known).apply(lambda ids: list(ids[: len(subnets)]))

"""Who reaches the machines: the load balancer on the app's port, and the office where a VPN lets it; nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import ec2, vpc

from components.vpn_options import Allowed

ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, kw_only=True)
class MachineAccessArgs:
    """`office_cidrs` come in by the VPN, and only on the ports of `office_allows`."""

    stack: str
    vpc_id: pulumi.Input[str]
    balancer_group_id: pulumi.Input[str]
    port: int
    office_cidrs: Sequence[str] = ()
    office_allows: Sequence[Allowed] = ()


class MachineAccess(pulumi.ComponentResource):
    """Output: `security_group_id`, known only when its rules stand: a machine boots with them or fails."""

    security_group_id: pulumi.Output[str]

    def __init__(self, name: str, args: MachineAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:access:MachineAccess", name, {}, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        group = ec2.SecurityGroup(
            name,
            vpc_id=args.vpc_id,
            description="Machines: the load balancer in, everything out",
            tags={"Name": f"{args.stack}-machines", "Stack": args.stack},
            opts=self._child,
        )
        # Databases, registries and AWS itself: where an app calls is the app's business.
        out = vpc.SecurityGroupEgressRule(
            f"{name}-out", security_group_id=group.id, cidr_ipv4=ANYWHERE, ip_protocol="-1", opts=self._child
        )
        rules = [out.id, *self._both_ends(group)]
        self.security_group_id = pulumi.Output.all(group.id, *rules).apply(lambda ids: str(ids[0]))
        self._from_the_office(group)
        self.register_outputs({"security_group_id": self.security_group_id})

    def _from_the_office(self, group: ec2.SecurityGroup) -> None:
        """Not waited for: no boot needs the office."""
        for cidr in self._args.office_cidrs:
            for allowed in self._args.office_allows:
                vpc.SecurityGroupIngressRule(
                    f"{self._name}-from-office-{allowed.protocol}-{allowed.port}-{cidr}",
                    security_group_id=group.id,
                    cidr_ipv4=cidr,
                    description="The office, through the VPN",
                    ip_protocol=allowed.protocol,
                    from_port=allowed.port,
                    to_port=allowed.port,
                    opts=self._child,
                )

    def _both_ends(self, group: ec2.SecurityGroup) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        """The balancer may go to the machines' port and nowhere else; the machines take it from the balancer only."""
        port = self._args.port
        into = vpc.SecurityGroupIngressRule(
            f"{self._name}-from-balancer",
            security_group_id=group.id,
            referenced_security_group_id=self._args.balancer_group_id,
            description="The load balancer",
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            opts=self._child,
        )
        onto = vpc.SecurityGroupEgressRule(
            f"{self._name}-balancer-out",
            security_group_id=self._args.balancer_group_id,
            referenced_security_group_id=group.id,
            description="The machines",
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            opts=self._child,
        )
        return into.id, onto.id

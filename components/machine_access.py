"""Who reaches the machines: the load balancer on the app's port, and the office where a VPN lets it; nobody else."""

from __future__ import annotations

import pulumi
from pulumi_aws import ec2, vpc

from config.context import StackContext
from config.settings import AppSettings
from config.vpn import VpnSettings

ANYWHERE = "0.0.0.0/0"


class MachineAccess(pulumi.ComponentResource):
    """`balancer` is the load balancer's security group.

    Output: `security_group_id`, known only when its rules stand: a machine boots with them or fails.
    """

    security_group_id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        context: StackContext,
        app: AppSettings,
        vpn: VpnSettings | None,
        *,
        vpc_id: pulumi.Input[str],
        balancer: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:access:MachineAccess", name, {}, opts)
        self._name, self._port, self._balancer = name, app.port, balancer
        self._child = pulumi.ResourceOptions(parent=self)
        group = ec2.SecurityGroup(
            name,
            vpc_id=vpc_id,
            description="Machines: the load balancer in, everything out",
            tags={"Name": f"{context.stack}-machines", "Stack": context.stack},
            opts=self._child,
        )
        # Databases, registries and AWS itself: where an app calls is the app's business.
        out = vpc.SecurityGroupEgressRule(
            f"{name}-out", security_group_id=group.id, cidr_ipv4=ANYWHERE, ip_protocol="-1", opts=self._child
        )
        rules = [out.id, *self._both_ends(group)]
        self.security_group_id = pulumi.Output.all(group.id, *rules).apply(lambda ids: str(ids[0]))
        if vpn is not None:
            self._from_the_office(group, vpn)
        self.register_outputs({"security_group_id": self.security_group_id})

    def _from_the_office(self, group: ec2.SecurityGroup, settings: VpnSettings) -> None:
        """Not waited for: no boot needs the office."""
        for cidr in settings.remote_cidrs:
            for allowed in settings.allow:
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
        port = self._port
        into = vpc.SecurityGroupIngressRule(
            f"{self._name}-from-balancer",
            security_group_id=group.id,
            referenced_security_group_id=self._balancer,
            description="The load balancer",
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            opts=self._child,
        )
        onto = vpc.SecurityGroupEgressRule(
            f"{self._name}-balancer-out",
            security_group_id=self._balancer,
            referenced_security_group_id=group.id,
            description="The machines",
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            opts=self._child,
        )
        return into.id, onto.id

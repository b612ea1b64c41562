"""Security group of the instances: the load balancer reaches the app's port, a remote network what the VPN allows."""

from __future__ import annotations

import pulumi
from pulumi_aws import ec2, vpc

from config.context import StackContext
from config.settings import AppSettings
from config.vpn import VpnSettings

ANYWHERE = "0.0.0.0/0"


class InstanceAccess(pulumi.ComponentResource):
    """`load_balancer_group` is the load balancer's security group.

    Output: `security_group_id`, known only once its rules exist: an instance that boots without them fails.
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
        load_balancer_group: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:access:InstanceAccess", name, {}, opts)
        self._name, self._port, self._load_balancer_group = name, app.port, load_balancer_group
        self._child = pulumi.ResourceOptions(parent=self)
        group = ec2.SecurityGroup(
            name,
            vpc_id=vpc_id,
            description="Instances: the load balancer in, everything out",
            tags={"Name": f"{context.stack}-instances", "Stack": context.stack},
            opts=self._child,
        )
        # Databases, registries and AWS itself: apps may connect to anything.
        out = vpc.SecurityGroupEgressRule(
            f"{name}-out", security_group_id=group.id, cidr_ipv4=ANYWHERE, ip_protocol="-1", opts=self._child
        )
        rules = [out.id, *self._load_balancer_rules(group)]
        self.security_group_id = pulumi.Output.all(group.id, *rules).apply(lambda ids: str(ids[0]))
        if vpn is not None:
            self._remote_network_rules(group, vpn)
        self.register_outputs({"security_group_id": self.security_group_id})

    def _remote_network_rules(self, group: ec2.SecurityGroup, settings: VpnSettings) -> None:
        """The group's id does not wait for these: no boot needs the remote network."""
        for cidr in settings.remote_cidrs:
            for allowed in settings.allow:
                vpc.SecurityGroupIngressRule(
                    f"{self._name}-from-office-{allowed.protocol}-{allowed.port}-{cidr}",
                    security_group_id=group.id,
                    cidr_ipv4=cidr,
                    description="The remote network, through the VPN",
                    ip_protocol=allowed.protocol,
                    from_port=allowed.port,
                    to_port=allowed.port,
                    opts=self._child,
                )

    def _load_balancer_rules(self, group: ec2.SecurityGroup) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        """Traffic between the load balancer and the app's port, as a rule of either group."""
        port = self._port
        ingress = vpc.SecurityGroupIngressRule(
            f"{self._name}-from-balancer",
            security_group_id=group.id,
            referenced_security_group_id=self._load_balancer_group,
            description="The load balancer",
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            opts=self._child,
        )
        egress = vpc.SecurityGroupEgressRule(
            f"{self._name}-balancer-out",
            security_group_id=self._load_balancer_group,
            referenced_security_group_id=group.id,
            description="The instances",
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            opts=self._child,
        )
        return ingress.id, egress.id

"""Site-to-site VPN: two tunnels between a remote network and the VPC, their routes, and alarms when they are down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import cloudwatch, ec2, ec2transitgateway

from config.context import StackContext
from config.settings import LogSettings
from config.vpn import MAX_SHORT_ASN, Gateway, VpnSettings

TUNNELS = (1, 2)
PERIOD_S = 300  # AWS publishes the tunnels' states every five minutes
ENCRYPTION = ["AES256-GCM-16"]
# AES-GCM needs none for the packets; IKE derives its keys with it.
INTEGRITY = ["SHA2-384", "SHA2-512"]
# ECP 256, 384 and 521.
DH_GROUPS = [19, 20, 21]
DPD_TIMEOUT_S = 30  # AWS's minimum
PHASE_1_LIFETIME_S, PHASE_2_LIFETIME_S = 28800, 3600  # AWS's maximums
# One tunnel is down for some minutes whenever AWS replaces its endpoint; a quarter of an hour is a fault.
ONE_DOWN_PERIODS, ALL_DOWN_PERIODS = 3, 1


@dataclass(frozen=True, kw_only=True)
class VpnArgs:
    """Outputs of other components; `route_tables` by zone are those of the instances' subnets."""

    vpc_id: pulumi.Input[str]
    subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    route_tables: Mapping[str, pulumi.Input[str]]
    topic_arn: pulumi.Input[str]


class Vpn(pulumi.ComponentResource):
    """Outputs: `connection_id`, `customer_gateway_id`, `tunnel_addresses`: AWS's two, outside."""

    connection_id: pulumi.Output[str]
    customer_gateway_id: pulumi.Output[str]
    tunnel_addresses: pulumi.Output[list[str]]

    def __init__(
        self,
        name: str,
        context: StackContext,
        settings: VpnSettings,
        logs: LogSettings,
        args: VpnArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:vpn:Vpn", name, {}, opts)
        self._name, self._context, self._args = name, context, args
        self._settings, self._log_days = settings, logs.retention_days
        self._child = pulumi.ResourceOptions(parent=self)
        self._protected = pulumi.ResourceOptions(parent=self, protect=context.protect)
        customer_gateway = self._customer_gateway()
        if self._settings.gateway is Gateway.VGW:
            connection = self._by_private_gateway(customer_gateway)
        else:
            connection = self._by_transit_gateway(customer_gateway)
        self._alarms(connection)
        self.connection_id, self.customer_gateway_id = connection.id, customer_gateway.id
        self.tunnel_addresses = pulumi.Output.all(connection.tunnel1_address, connection.tunnel2_address)
        self.register_outputs(
            {
                "connection_id": self.connection_id,
                "customer_gateway_id": self.customer_gateway_id,
                "tunnel_addresses": self.tunnel_addresses,
            }
        )

    def _tags(self, role: str) -> dict[str, str]:
        return {"Name": f"{self._context.stack}-{role}", "Stack": self._context.stack}

    def _customer_gateway(self) -> ec2.CustomerGateway:
        asn = self._settings.bgp_asn
        is_long = asn > MAX_SHORT_ASN
        return ec2.CustomerGateway(
            f"{self._name}-office",
            type="ipsec.1",
            ip_address=self._settings.customer_gateway_ip,
            bgp_asn=None if is_long else str(asn),
            bgp_asn_extended=str(asn) if is_long else None,
            tags=self._tags("customer-gateway"),
            opts=self._child,
        )

    def _by_private_gateway(self, customer_gateway: ec2.CustomerGateway) -> ec2.VpnConnection:
        gateway = ec2.VpnGateway(
            self._name,
            vpc_id=self._args.vpc_id,
            amazon_side_asn=str(self._settings.amazon_asn),
            tags=self._tags("vpn"),
            opts=self._protected,
        )
        connection = self._connection(customer_gateway, vpn_gateway_id=gateway.id)
        for cidr in self._settings.remote_cidrs if self._settings.is_static else ():
            ec2.VpnConnectionRoute(
                f"{self._name}-{cidr}",
                vpn_connection_id=connection.id,
                destination_cidr_block=cidr,
                opts=self._child,
            )
        # Never inline in the tables as well: the two would overwrite each other at every update.
        for zone, table in self._args.route_tables.items():
            ec2.VpnGatewayRoutePropagation(
                f"{self._name}-{zone}", vpn_gateway_id=gateway.id, route_table_id=table, opts=self._child
            )
        return connection

    def _by_transit_gateway(self, customer_gateway: ec2.CustomerGateway) -> ec2.VpnConnection:
        gateway = ec2transitgateway.TransitGateway(
            self._name,
            description=f"{self._context.stack}: the remote network and the VPC",
            amazon_side_asn=self._settings.amazon_asn,
            # Attachments of other accounts need acceptance.
            auto_accept_shared_attachments="disable",
            tags=self._tags("vpn"),
            opts=self._protected,
        )
        attachment = ec2transitgateway.VpcAttachment(
            self._name,
            transit_gateway_id=gateway.id,
            vpc_id=self._args.vpc_id,
            subnet_ids=self._args.subnet_ids,
            tags=self._tags("vpn"),
            opts=self._child,
        )
        connection = self._connection(customer_gateway, transit_gateway_id=gateway.id)
        for cidr in self._settings.remote_cidrs:
            self._transit_routes(cidr, gateway, attachment, connection)
        return connection

    def _transit_routes(
        self,
        cidr: str,
        gateway: ec2transitgateway.TransitGateway,
        attachment: ec2transitgateway.VpcAttachment,
        connection: ec2.VpnConnection,
    ) -> None:
        """A transit gateway propagates no routes to a VPC's route tables, whatever the routing."""
        if self._settings.is_static:
            ec2transitgateway.Route(
                f"{self._name}-{cidr}",
                destination_cidr_block=cidr,
                transit_gateway_attachment_id=connection.transit_gateway_attachment_id,
                transit_gateway_route_table_id=gateway.association_default_route_table_id,
                opts=self._child,
            )
        # AWS refuses a route to a transit gateway before the VPC is attached to it.
        after = pulumi.ResourceOptions(parent=self, depends_on=[attachment])
        for zone, table in self._args.route_tables.items():
            ec2.Route(
                f"{self._name}-{zone}-{cidr}",
                route_table_id=table,
                destination_cidr_block=cidr,
                transit_gateway_id=gateway.id,
                opts=after,
            )

    def _connection(self, customer_gateway: ec2.CustomerGateway, **gateway: pulumi.Input[str]) -> ec2.VpnConnection:
        # Keys that AWS generates stay in Secrets Manager: neither the state nor the connection's description has them.
        storage = "Standard" if self._settings.preshared_keys else "SecretsManager"
        options: dict[str, Any] = {"preshared_key_storage": storage, **gateway}
        logs = self._logs()
        for number in TUNNELS:
            tunnel = _tunnel(self._settings, number - 1) | {"log_options": _log_options(number, logs)}
            if self._settings.preshared_keys:
                tunnel["preshared_key"] = pulumi.Output.secret(self._settings.preshared_keys[number - 1])
            options |= {f"tunnel{number}_{key}": value for key, value in tunnel.items()}
        return ec2.VpnConnection(
            self._name,
            customer_gateway_id=customer_gateway.id,
            type="ipsec.1",
            static_routes_only=self._settings.is_static,
            tags=self._tags("vpn"),
            opts=self._protected,
            **options,
        )

    def _logs(self) -> cloudwatch.LogGroup:
        return cloudwatch.LogGroup(
            self._name,
            # A prefix: a group that an interrupted run created must not block the next run by its name.
            name_prefix=f"/bluegreen/{self._context.stack}/vpn-",
            retention_in_days=self._log_days,
            tags=self._tags("vpn"),
            opts=self._child,
        )

    def _alarms(self, connection: ec2.VpnConnection) -> None:
        addresses = {1: connection.tunnel1_address, 2: connection.tunnel2_address}
        for number, address in addresses.items():
            self._alarm(
                f"tunnel{number}-down",
                f"Tunnel {number} of the VPN is down: the other one has no backup. See docs/vpn.md.",
                {"VpnId": connection.id, "TunnelIpAddress": address},
                ONE_DOWN_PERIODS,
            )
        self._alarm(
            "down",
            "Both tunnels of the VPN are down: the remote network does not reach the VPC. See docs/vpn.md.",
            {"VpnId": connection.id},
            ALL_DOWN_PERIODS,
        )

    def _alarm(self, suffix: str, description: str, dimensions: Mapping[str, pulumi.Input[str]], periods: int) -> None:
        cloudwatch.MetricAlarm(
            f"{self._name}-{suffix}",
            name=f"{self._context.stack}-vpn-{suffix}",
            alarm_description=f"{self._context.stack}: {description}",
            namespace="AWS/VPN",
            metric_name="TunnelState",
            dimensions=dimensions,
            # A connection's maximum is 0 only while no tunnel is up.
            statistic="Maximum",
            comparison_operator="LessThanThreshold",
            threshold=1,
            period=PERIOD_S,
            evaluation_periods=periods,
            # A connection without data is not known to work.
            treat_missing_data="breaching",
            alarm_actions=[self._args.topic_arn],
            ok_actions=[self._args.topic_arn],
            tags=self._tags(f"vpn-{suffix}"),
            opts=self._child,
        )


def _tunnel(settings: VpnSettings, index: int) -> dict[str, Any]:
    """Options of tunnel 0 or 1 on AWS's side, by the provider's names without `tunnel1_`."""
    return {
        # Set at creation: a change replaces the connection.
        "inside_cidr": settings.inside_cidrs[index],
        "ike_versions": ["ikev2"],
        "phase1_encryption_algorithms": ENCRYPTION,
        "phase1_integrity_algorithms": INTEGRITY,
        "phase1_dh_group_numbers": DH_GROUPS,
        "phase1_lifetime_seconds": PHASE_1_LIFETIME_S,
        "phase2_encryption_algorithms": ENCRYPTION,
        "phase2_integrity_algorithms": INTEGRITY,
        "phase2_dh_group_numbers": DH_GROUPS,
        "phase2_lifetime_seconds": PHASE_2_LIFETIME_S,
        # AWS's default, set explicitly: the provider has another default, and each refresh would differ.
        "rekey_margin_time_seconds": 270,
        "dpd_timeout_action": "restart",
        "dpd_timeout_seconds": DPD_TIMEOUT_S,
        "startup_action": settings.startup_action,
        # AWS announces an endpoint's replacement, which the customer starts at a time of their choice.
        "enable_tunnel_lifecycle_control": True,
    }


def _log_options(number: int, group: cloudwatch.LogGroup) -> Any:
    """The provider has a class of its own for each tunnel."""
    if number == 1:
        return ec2.VpnConnectionTunnel1LogOptionsArgs(
            cloudwatch_log_options=ec2.VpnConnectionTunnel1LogOptionsCloudwatchLogOptionsArgs(
                log_enabled=True, log_group_arn=group.arn, log_output_format="json"
            )
        )
    return ec2.VpnConnectionTunnel2LogOptionsArgs(
        cloudwatch_log_options=ec2.VpnConnectionTunnel2LogOptionsCloudwatchLogOptionsArgs(
            log_enabled=True, log_group_arn=group.arn, log_output_format="json"
        )
    )

"""Two encrypted tunnels between the office and the VPC, the routes into them, and alarms when they are down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import cloudwatch, ec2, ec2transitgateway

from config.context import StackContext
from config.settings import LogSettings
from config.vpn import HIGHEST_SHORT_ASN, Gateway, VpnSettings

TUNNELS = (1, 2)
# AWS tells the tunnels' states every five minutes.
PERIOD = 300
ENCRYPTION = ["AES256-GCM-16"]
# GCM needs none for the packets; IKE makes its keys with it.
INTEGRITY = ["SHA2-384", "SHA2-512"]
# ECP 256, 384 and 521.
DH_GROUPS = [19, 20, 21]
DPD_TIMEOUT = 30  # seconds, the least that AWS takes
PHASE_1_LIFETIME, PHASE_2_LIFETIME = 28800, 3600  # seconds, the most that AWS takes
# One tunnel is down for some minutes whenever AWS replaces its endpoint; for a quarter of an hour, something is wrong.
ONE_DOWN_PERIODS, ALL_DOWN_PERIODS = 3, 1


@dataclass(frozen=True, kw_only=True)
class VpnArgs:
    """Outputs of others; `tables` by zone are those of the instances' subnets."""

    vpc_id: pulumi.Input[str]
    subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    tables: Mapping[str, pulumi.Input[str]]
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
        self._kept = pulumi.ResourceOptions(parent=self, protect=context.protect)
        office = self._office()
        if self._settings.gateway is Gateway.VGW:
            connection = self._by_private_gateway(office)
        else:
            connection = self._by_transit_gateway(office)
        self._alarms(connection)
        self.connection_id, self.customer_gateway_id = connection.id, office.id
        self.tunnel_addresses = pulumi.Output.all(connection.tunnel1_address, connection.tunnel2_address)
        self.register_outputs(
            {
                "connection_id": self.connection_id,
                "customer_gateway_id": self.customer_gateway_id,
                "tunnel_addresses": self.tunnel_addresses,
            }
        )

    def _tags(self, what: str) -> dict[str, str]:
        return {"Name": f"{self._context.stack}-{what}", "Stack": self._context.stack}

    def _office(self) -> ec2.CustomerGateway:
        asn = self._settings.bgp_asn
        long = asn > HIGHEST_SHORT_ASN
        return ec2.CustomerGateway(
            f"{self._name}-office",
            type="ipsec.1",
            ip_address=self._settings.customer_gateway_ip,
            bgp_asn=None if long else str(asn),
            bgp_asn_extended=str(asn) if long else None,
            tags=self._tags("office"),
            opts=self._child,
        )

    def _by_private_gateway(self, office: ec2.CustomerGateway) -> ec2.VpnConnection:
        gateway = ec2.VpnGateway(
            self._name,
            vpc_id=self._args.vpc_id,
            amazon_side_asn=str(self._settings.amazon_asn),
            tags=self._tags("vpn"),
            opts=self._kept,
        )
        connection = self._connection(office, vpn_gateway_id=gateway.id)
        for cidr in self._settings.remote_cidrs if self._settings.is_static else ():
            ec2.VpnConnectionRoute(
                f"{self._name}-{cidr}",
                vpn_connection_id=connection.id,
                destination_cidr_block=cidr,
                opts=self._child,
            )
        # Never inline in the tables as well: the two ways would undo each other at every update.
        for zone, table in self._args.tables.items():
            ec2.VpnGatewayRoutePropagation(
                f"{self._name}-{zone}", vpn_gateway_id=gateway.id, route_table_id=table, opts=self._child
            )
        return connection

    def _by_transit_gateway(self, office: ec2.CustomerGateway) -> ec2.VpnConnection:
        gateway = ec2transitgateway.TransitGateway(
            self._name,
            description=f"{self._context.stack}: the office and the VPC",
            amazon_side_asn=self._settings.amazon_asn,
            # Whoever shares it must be let in by name.
            auto_accept_shared_attachments="disable",
            tags=self._tags("vpn"),
            opts=self._kept,
        )
        attachment = ec2transitgateway.VpcAttachment(
            self._name,
            transit_gateway_id=gateway.id,
            vpc_id=self._args.vpc_id,
            subnet_ids=self._args.subnet_ids,
            tags=self._tags("vpn"),
            opts=self._child,
        )
        connection = self._connection(office, transit_gateway_id=gateway.id)
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
        """A transit gateway propagates nothing into a VPC's own tables, whatever the routing."""
        if self._settings.is_static:
            ec2transitgateway.Route(
                f"{self._name}-{cidr}",
                destination_cidr_block=cidr,
                transit_gateway_attachment_id=connection.transit_gateway_attachment_id,
                transit_gateway_route_table_id=gateway.association_default_route_table_id,
                opts=self._child,
            )
        # AWS refuses a route to a transit gateway that the VPC is not attached to yet.
        after = pulumi.ResourceOptions(parent=self, depends_on=[attachment])
        for zone, table in self._args.tables.items():
            ec2.Route(
                f"{self._name}-{zone}-{cidr}",
                route_table_id=table,
                destination_cidr_block=cidr,
                transit_gateway_id=gateway.id,
                opts=after,
            )

    def _connection(self, office: ec2.CustomerGateway, **gateway: pulumi.Input[str]) -> ec2.VpnConnection:
        # Keys that AWS makes stay in Secrets Manager: no state and no description of the connection holds them.
        storage = "Standard" if self._settings.preshared_keys else "SecretsManager"
        given: dict[str, Any] = {"preshared_key_storage": storage, **gateway}
        logs = self._logs()
        for number in TUNNELS:
            tunnel = _tunnel(self._settings, number - 1) | {"log_options": _log_options(number, logs)}
            if self._settings.preshared_keys:
                tunnel["preshared_key"] = pulumi.Output.secret(self._settings.preshared_keys[number - 1])
            given |= {f"tunnel{number}_{key}": value for key, value in tunnel.items()}
        return ec2.VpnConnection(
            self._name,
            customer_gateway_id=office.id,
            type="ipsec.1",
            static_routes_only=self._settings.is_static,
            tags=self._tags("vpn"),
            opts=self._kept,
            **given,
        )

    def _logs(self) -> cloudwatch.LogGroup:
        return cloudwatch.LogGroup(
            self._name,
            # A prefix: a group whose creation was cut off must not bar the next run by its name.
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
                f"Tunnel {number} of the VPN is down: the other one has no reserve. See docs/vpn.md.",
                {"VpnId": connection.id, "TunnelIpAddress": address},
                ONE_DOWN_PERIODS,
            )
        self._alarm(
            "down",
            "Both tunnels of the VPN are down: the office does not reach the VPC. See docs/vpn.md.",
            {"VpnId": connection.id},
            ALL_DOWN_PERIODS,
        )

    def _alarm(self, what: str, why: str, dimensions: Mapping[str, pulumi.Input[str]], periods: int) -> None:
        cloudwatch.MetricAlarm(
            f"{self._name}-{what}",
            name=f"{self._context.stack}-vpn-{what}",
            alarm_description=f"{self._context.stack}: {why}",
            namespace="AWS/VPN",
            metric_name="TunnelState",
            dimensions=dimensions,
            # A connection's maximum is 0 only while no tunnel is up.
            statistic="Maximum",
            comparison_operator="LessThanThreshold",
            threshold=1,
            period=PERIOD,
            evaluation_periods=periods,
            # A connection that says nothing is not known to work.
            treat_missing_data="breaching",
            alarm_actions=[self._args.topic_arn],
            ok_actions=[self._args.topic_arn],
            tags=self._tags(f"vpn-{what}"),
            opts=self._child,
        )


def _tunnel(settings: VpnSettings, index: int) -> dict[str, Any]:
    """What AWS's end of one of the tunnels, 0 or 1, agrees to; by the provider's names without their `tunnel1_`."""
    return {
        # At creation: to change it later ends the connection.
        "inside_cidr": settings.inside_cidrs[index],
        "ike_versions": ["ikev2"],
        "phase1_encryption_algorithms": ENCRYPTION,
        "phase1_integrity_algorithms": INTEGRITY,
        "phase1_dh_group_numbers": DH_GROUPS,
        "phase1_lifetime_seconds": PHASE_1_LIFETIME,
        "phase2_encryption_algorithms": ENCRYPTION,
        "phase2_integrity_algorithms": INTEGRITY,
        "phase2_dh_group_numbers": DH_GROUPS,
        "phase2_lifetime_seconds": PHASE_2_LIFETIME,
        # AWS's own default, told: its provider takes another number for the default, and each refresh would differ.
        "rekey_margin_time_seconds": 270,
        "dpd_timeout_action": "restart",
        "dpd_timeout_seconds": DPD_TIMEOUT,
        "startup_action": settings.startup_action,
        # AWS announces the replacement of an endpoint and waits for a time that suits the office.
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

"""VPN connections with tunnel options, pre-shared keys and static routes, and route propagation of VPN gateways."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.models.route_tables import RouteTable
from moto.ec2.models.vpn_connections import VPNConnection
from moto.ec2.responses import EC2Response
from moto.secretsmanager.models import secretsmanager_backends

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import replace_methods
from rehearsal.cloud.additions.vpn_document import customer_gateway_configuration

GAPS = [
    Gap(
        service="ec2",
        action="CreateVpnConnection",
        reason="moto drops all options; here they are stored, each connection has its own addresses and keys, and its "
        "tunnels stay down: there is no IPsec",
    ),
    Gap(
        service="ec2",
        action="ModifyVpnTunnelOptions, CreateVpnConnectionRoute, DeleteVpnConnectionRoute, EnableVgwRoutePropagation, "
        "DisableVgwRoutePropagation",
        reason="moto lacks them, and the filters by which clients wait for a route; propagation is recorded with the "
        "table, but adds no routes to it",
    ),
    Gap(
        service="ec2",
        action="CreateCustomerGateway, CreateTransitGatewayVpcAttachment",
        reason="moto drops the extended AS number of the first and the tags of the second",
    ),
    Gap(
        service="ec2",
        action="SearchTransitGatewayRoutes",
        reason="moto returns a route's attachments as an object instead of a list, which clients read as none",
    ),
]

DEFAULTS = {
    "Phase1LifetimeSeconds": 28800,
    "Phase2LifetimeSeconds": 3600,
    "RekeyMarginTimeSeconds": 270,
    "RekeyFuzzPercentage": 100,
    "ReplayWindowSize": 1024,
    "DpdTimeoutSeconds": 30,
    "DpdTimeoutAction": "clear",
    "StartupAction": "add",
    "EnableTunnelLifecycleControl": False,
}
# Request names that are spelt differently in responses.
RESPONSE_NAMES = {
    "DPDTimeoutSeconds": "DpdTimeoutSeconds",
    "DPDTimeoutAction": "DpdTimeoutAction",
    "IKEVersions": "IkeVersions",
}
IN_SECRETS_MANAGER, REDACTED = "SecretsManager", "REDACTED"

_create_connection_plain = EC2Response.create_vpn_connection
_create_attachment_plain = EC2Response.create_transit_gateway_vpc_attachment
_create_customer_gateway_plain = EC2Response.create_customer_gateway
_get_filter_value_plain = VPNConnection.get_filter_value
_search_routes_plain = EC2Response.search_transit_gateway_routes
_delete_connection_plain = EC2Response.delete_vpn_connection


def extend() -> None:
    replace_methods(
        EC2Response,
        create_vpn_connection=_create_vpn_connection,
        delete_vpn_connection=_delete_vpn_connection,
        modify_vpn_tunnel_options=_modify_vpn_tunnel_options,
        create_vpn_connection_route=_create_vpn_connection_route,
        delete_vpn_connection_route=_delete_vpn_connection_route,
        enable_vgw_route_propagation=_enable_vgw_route_propagation,
        disable_vgw_route_propagation=_disable_vgw_route_propagation,
        create_customer_gateway=_create_customer_gateway,
        create_transit_gateway_vpc_attachment=_create_transit_gateway_vpc_attachment,
        search_transit_gateway_routes=_search_transit_gateway_routes,
    )
    replace_methods(VPNConnection, get_filter_value=_get_filter_value)
    setattr(VPNConnection, "customer_gateway_configuration", property(customer_gateway_configuration))  # noqa: B010
    setattr(VPNConnection, "routes", property(_routes))  # noqa: B010 - properties, not functions
    setattr(VPNConnection, "vgw_telemetry", property(_telemetry))  # noqa: B010
    setattr(RouteTable, "propagating_vgws", property(_propagating))  # noqa: B010


def _create_vpn_connection(self: Any) -> Any:
    result: Any = _create_connection_plain(self)
    connection = result.result["VpnConnection"]
    requested = self._get_param("Options", {}) or {}
    tunnels = list(requested.get("TunnelOptions") or ())
    connection.options = {
        "EnableAcceleration": False,
        "StaticRoutesOnly": False,
        "LocalIpv4NetworkCidr": "0.0.0.0/0",
        "RemoteIpv4NetworkCidr": "0.0.0.0/0",
        "OutsideIpAddressType": "PublicIpv4",
        "TunnelInsideIpVersion": "ipv4",
        **requested,
        "TunnelOptions": [_tunnel(connection.id, tunnels, number) for number in range(2)],
    }
    connection.pre_shared_key_arn = None
    if self._get_param("PreSharedKeyStorage") == IN_SECRETS_MANAGER:
        connection.pre_shared_key_arn = _store_keys(self, connection)
    return result


def _tunnel(id: str, requested: list[dict[str, Any]], number: int) -> dict[str, Any]:
    """Outside addresses from another documentation range than the rehearsal's customer gateway (203.0.113.10)."""
    digest = hashlib.sha256(f"{id}-{number}".encode()).digest()
    generated = {
        "OutsideIpAddress": f"198.51.100.{2 * (digest[0] % 120) + number + 1}",
        "TunnelInsideCidr": f"169.254.{10 + digest[1] % 100}.{4 * (digest[2] % 32) + 128 * number}/30",
        "PreSharedKey": f"k{digest.hex()[:31]}",
    }
    return DEFAULTS | generated | _response_keys(requested[number] if number < len(requested) else {})


def _response_keys(requested: dict[str, Any]) -> dict[str, Any]:
    return {RESPONSE_NAMES.get(name, name): value for name, value in requested.items() if value is not None}


def _store_keys(self: Any, connection: Any) -> str:
    """Store the keys in Secrets Manager: AWS's response holds placeholders then, by which the provider detects it."""
    keys = {tunnel["OutsideIpAddress"]: tunnel["PreSharedKey"] for tunnel in connection.options["TunnelOptions"]}
    for tunnel in connection.options["TunnelOptions"]:
        tunnel["PreSharedKey"] = REDACTED
    secret = _secrets(self).create_managed_secret(
        service_name="s2svpn", secret_id=f"s2svpn!{connection.id}", secret_string=json.dumps(keys)
    )
    return str(secret.arn)


def _secrets(self: Any) -> Any:
    return secretsmanager_backends[self.current_account][self.region]


def _delete_vpn_connection(self: Any) -> Any:
    connection = _connection(self)
    if arn := getattr(connection, "pre_shared_key_arn", None):
        _secrets(self).delete_secret(arn, recovery_window_in_days=None, force_delete_without_recovery=True)
        connection.pre_shared_key_arn = None
    return _delete_connection_plain(self)


def _modify_vpn_tunnel_options(self: Any) -> Any:
    connection, address = _connection(self), self._get_param("VpnTunnelOutsideIpAddress")
    for tunnel in connection.options["TunnelOptions"]:
        if tunnel["OutsideIpAddress"] == address:
            tunnel |= _response_keys(self._get_param("TunnelOptions", {}) or {})
    return ActionResult({"VpnConnection": connection})


def _connection(self: Any) -> Any:
    return self.ec2_backend.describe_vpn_connections([self._get_param("VpnConnectionId")])[0]


def _create_vpn_connection_route(self: Any) -> Any:
    connection = _connection(self)
    connection.static_cidrs = {*_static_cidrs(connection), self._get_param("DestinationCidrBlock")}
    return EmptyResult()


def _delete_vpn_connection_route(self: Any) -> Any:
    connection = _connection(self)
    connection.static_cidrs = _static_cidrs(connection) - {self._get_param("DestinationCidrBlock")}
    return EmptyResult()


def _static_cidrs(connection: Any) -> set[str]:
    cidrs: set[str] = getattr(connection, "static_cidrs", set())
    return cidrs


def _get_filter_value(self: Any, filter_name: str, method_name: str | None = None) -> Any:
    match filter_name:
        case "route.destination-cidr-block":
            return sorted(_static_cidrs(self))
        case "vpn-connection-id":
            return self.id
        case _:
            return _get_filter_value_plain(self, filter_name, method_name)


def _routes(self: Any) -> list[dict[str, str]]:
    return [
        {"DestinationCidrBlock": cidr, "Source": "Static", "State": "available"} for cidr in sorted(_static_cidrs(self))
    ]


def _telemetry(self: Any) -> list[dict[str, Any]]:
    tunnels = (self.options or {}).get("TunnelOptions", ())
    return [
        {
            "OutsideIpAddress": tunnel["OutsideIpAddress"],
            "Status": "DOWN",
            "StatusMessage": "IPSEC IS DOWN",
            "AcceptedRouteCount": 0,
        }
        for tunnel in tunnels
    ]


def _enable_vgw_route_propagation(self: Any) -> Any:
    table, gateway = self.ec2_backend.get_route_table(self._get_param("RouteTableId")), self._get_param("GatewayId")
    self.ec2_backend.get_vpn_gateway(gateway)
    table.propagating_gateways = {*_gateways(table), gateway}
    return EmptyResult()


def _disable_vgw_route_propagation(self: Any) -> Any:
    table = self.ec2_backend.get_route_table(self._get_param("RouteTableId"))
    table.propagating_gateways = _gateways(table) - {self._get_param("GatewayId")}
    return EmptyResult()


def _gateways(table: Any) -> set[str]:
    gateways: set[str] = getattr(table, "propagating_gateways", set())
    return gateways


def _propagating(self: Any) -> list[dict[str, str]]:
    return [{"GatewayId": gateway} for gateway in sorted(_gateways(self))]


def _create_customer_gateway(self: Any) -> Any:
    result: Any = _create_customer_gateway_plain(self)
    result.result["CustomerGateway"].bgp_asn_extended = self._get_param("BgpAsnExtended")
    return result


def _create_transit_gateway_vpc_attachment(self: Any) -> Any:
    result: Any = _create_attachment_plain(self)
    tags = self._parse_tag_specification().get("transit-gateway-attachment", {})
    result.result["TransitGatewayVpcAttachment"].add_tags(tags)
    return result


def _search_transit_gateway_routes(self: Any) -> Any:
    result: Any = _search_routes_plain(self)
    routes = [dict(route) for route in result.result["routeSet"]]
    for route in routes:
        if isinstance(attached := route.get("transitGatewayAttachments"), dict):
            route["transitGatewayAttachments"] = [attached]
    return ActionResult(result.result | {"routeSet": routes})

"""Site-to-site VPN: customer and VPN gateways, connections and their tunnels, routes."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import (
    AwsClients,
    Created,
    Handler,
    Props,
    changed,
    differs,
    drop_none,
    first,
    from_response,
    rename_keys,
    to_pulumi_keys,
)
from .ec2 import Ec2Handler

DELETED_STATES = ("deleting", "deleted", "detached")


class _LingeringResource(Ec2Handler):
    """AWS describes it for an hour after its deletion."""

    def describe(self, aws: AwsClients, id: str) -> dict[str, Any] | None:
        actual = super().describe(aws, id)
        return None if actual is None or actual["State"] in DELETED_STATES else actual


class CustomerGatewayHandler(_LingeringResource):
    pulumi_type = "aws:ec2/customerGateway:CustomerGateway"
    kind = "customer-gateway"
    describe_call = ("describe_customer_gateways", "CustomerGateways", "CustomerGatewayIds")
    force_new = frozenset({"type", "ipAddress", "bgpAsn", "bgpAsnExtended"})
    fields: ClassVar = {"type": "Type", "ipAddress": "IpAddress", "bgpAsnExtended": "BgpAsnExtended"}

    def create(self, aws: AwsClients, new: Props) -> Created:
        numbers = {
            theirs: int(new[ours])
            for ours, theirs in {"bgpAsn": "BgpAsn", "bgpAsnExtended": "BgpAsnExtended"}.items()
            if new.get(ours)
        }
        names = {"type": "Type", "ipAddress": "IpAddress"}
        created = aws.client("ec2").create_customer_gateway(
            **rename_keys(new, names), **numbers, **self.tag_specification(new)
        )
        return Created(id=created["CustomerGateway"]["CustomerGatewayId"])

    def extra_inputs(self, aws: AwsClients, actual: dict[str, Any], inputs: Props) -> Props:
        # For an extended ASN AWS also returns a short one.
        return {"bgpAsn": actual.get("BgpAsn")} if inputs.get("bgpAsn") else {}

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ec2").delete_customer_gateway(CustomerGatewayId=id)


class VpnGatewayHandler(_LingeringResource):
    pulumi_type = "aws:ec2/vpnGateway:VpnGateway"
    kind = "vpn-gateway"
    describe_call = ("describe_vpn_gateways", "VpnGateways", "VpnGatewayIds")
    force_new = frozenset({"amazonSideAsn"})
    fields: ClassVar = {"amazonSideAsn": "AmazonSideAsn"}

    def create(self, aws: AwsClients, new: Props) -> Created:
        asn = drop_none(AmazonSideAsn=int(new["amazonSideAsn"]) if new.get("amazonSideAsn") else None)
        ec2 = aws.client("ec2")
        created = ec2.create_vpn_gateway(Type="ipsec.1", **asn, **self.tag_specification(new))["VpnGateway"]
        return Created(id=created["VpnGatewayId"])

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        if new.get("vpcId"):
            aws.client("ec2").attach_vpn_gateway(VpnGatewayId=id, VpcId=new["vpcId"])

    def extra_inputs(self, aws: AwsClients, actual: dict[str, Any], inputs: Props) -> Props:
        return {"vpcId": _attached(actual)}

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        ec2 = aws.client("ec2")
        if differs(old, new, "vpcId"):
            if old.get("vpcId"):
                ec2.detach_vpn_gateway(VpnGatewayId=id, VpcId=old["vpcId"])
            if new.get("vpcId"):
                ec2.attach_vpn_gateway(VpnGatewayId=id, VpcId=new["vpcId"])
        super().update(aws, id, old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        ec2 = aws.client("ec2")
        if vpc := _attached(self.describe(aws, id) or {}):
            ec2.detach_vpn_gateway(VpnGatewayId=id, VpcId=vpc)
        ec2.delete_vpn_gateway(VpnGatewayId=id)


def _attached(actual: dict[str, Any]) -> str | None:
    here = first(
        attachment for attachment in actual.get("VpcAttachments") or [] if attachment["State"] not in DELETED_STATES
    )
    return here["VpcId"] if here else None


# A tunnel's inputs, without the prefix `tunnel1`, and AWS's names in requests; some differ in responses.
_PLAIN = {
    "InsideCidr": "TunnelInsideCidr",
    "PresharedKey": "PreSharedKey",
    "Phase1LifetimeSeconds": "Phase1LifetimeSeconds",
    "Phase2LifetimeSeconds": "Phase2LifetimeSeconds",
    "RekeyMarginTimeSeconds": "RekeyMarginTimeSeconds",
    "DpdTimeoutSeconds": "DPDTimeoutSeconds",
    "DpdTimeoutAction": "DPDTimeoutAction",
    "StartupAction": "StartupAction",
    "EnableTunnelLifecycleControl": "EnableTunnelLifecycleControl",
}
_LISTS = {
    "IkeVersions": "IKEVersions",
    "Phase1EncryptionAlgorithms": "Phase1EncryptionAlgorithms",
    "Phase2EncryptionAlgorithms": "Phase2EncryptionAlgorithms",
    "Phase1IntegrityAlgorithms": "Phase1IntegrityAlgorithms",
    "Phase2IntegrityAlgorithms": "Phase2IntegrityAlgorithms",
    "Phase1DhGroupNumbers": "Phase1DHGroupNumbers",
    "Phase2DhGroupNumbers": "Phase2DHGroupNumbers",
}
_RESPONSE_NAMES = {
    "DPDTimeoutSeconds": "DpdTimeoutSeconds",
    "DPDTimeoutAction": "DpdTimeoutAction",
    "IKEVersions": "IkeVersions",
}
_TUNNELS = ("tunnel1", "tunnel2")


class VpnConnectionHandler(_LingeringResource):
    pulumi_type = "aws:ec2/vpnConnection:VpnConnection"
    kind = "vpn-connection"
    describe_call = ("describe_vpn_connections", "VpnConnections", "VpnConnectionIds")
    # AWS can move a connection to another gateway; here it is replaced.
    force_new = frozenset(
        {"type", "staticRoutesOnly", "customerGatewayId", "vpnGatewayId", "transitGatewayId", "presharedKeyStorage"}
        | {"tunnel1InsideCidr", "tunnel2InsideCidr"}
    )
    secret_outputs = frozenset({"tunnel1PresharedKey", "tunnel2PresharedKey"})
    fields: ClassVar = {
        "type": "Type",
        "customerGatewayId": "CustomerGatewayId",
        "vpnGatewayId": "VpnGatewayId",
        "transitGatewayId": "TransitGatewayId",
    }
    _OPTIONS: ClassVar = {"staticRoutesOnly": "StaticRoutesOnly"}

    def create(self, aws: AwsClients, new: Props) -> Created:
        options = rename_keys(new, self._OPTIONS) | {"TunnelOptions": [_requested(new, tunnel) for tunnel in _TUNNELS]}
        created = aws.client("ec2").create_vpn_connection(
            Options=options,
            **rename_keys(new, self.fields),
            **rename_keys(new, {"presharedKeyStorage": "PreSharedKeyStorage"}),
            **self.tag_specification(new),
        )
        return Created(id=created["VpnConnection"]["VpnConnectionId"])

    def extra_inputs(self, aws: AwsClients, actual: dict[str, Any], inputs: Props) -> Props:
        storage = "SecretsManager" if actual.get("PreSharedKeyArn") else "Standard"
        current = from_response(actual["Options"], self._OPTIONS) | {"presharedKeyStorage": storage}
        for name, tunnel in zip(_TUNNELS, _in_order(actual, inputs), strict=True):
            current |= {f"{name}{key}": value for key, value in _current_tunnel(tunnel).items()}
        return current

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = self.describe(aws, id)
        if actual is None:
            return None
        outputs = {
            "arn": self.arn(aws, id),
            "transitGatewayAttachmentId": self._attachment(aws, id) if actual.get("TransitGatewayId") else "",
        }
        for name, tunnel in zip(_TUNNELS, _in_order(actual, inputs), strict=True):
            outputs |= {
                f"{name}Address": tunnel["OutsideIpAddress"],
                f"{name}InsideCidr": tunnel["TunnelInsideCidr"],
                f"{name}PresharedKey": tunnel.get("PreSharedKey"),
            }
        return outputs

    def _attachment(self, aws: AwsClients, id: str) -> str | None:
        query = [{"Name": "resource-id", "Values": [id]}, {"Name": "resource-type", "Values": ["vpn"]}]
        response = aws.client("ec2").describe_transit_gateway_attachments(Filters=query)
        actual = first(response["TransitGatewayAttachments"])
        return actual["TransitGatewayAttachmentId"] if actual else None

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        ec2, actual = aws.client("ec2"), self.describe(aws, id) or {}
        for name, tunnel in zip(_TUNNELS, _in_order(actual, old), strict=True):
            before, after = _requested(old, name), _requested(new, name)
            changes = {key: after[key] for key in changed(before, after) if key in after}
            if changes:  # one call per tunnel: AWS modifies only one at a time
                address = tunnel["OutsideIpAddress"]
                ec2.modify_vpn_tunnel_options(
                    VpnConnectionId=id, VpnTunnelOutsideIpAddress=address, TunnelOptions=changes
                )
        super().update(aws, id, old, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ec2").delete_vpn_connection(VpnConnectionId=id)


def _requested(props: Props, tunnel: str) -> dict[str, Any]:
    """One tunnel's inputs in AWS's request format."""
    request = rename_keys(props, {f"{tunnel}{ours}": theirs for ours, theirs in _PLAIN.items()})
    for ours, theirs in _LISTS.items():
        if values := props.get(f"{tunnel}{ours}"):
            request[theirs] = [{"Value": value} for value in values]
    if logs := (props.get(f"{tunnel}LogOptions") or {}).get("cloudwatchLogOptions"):
        names = {"logEnabled": "LogEnabled", "logGroupArn": "LogGroupArn", "logOutputFormat": "LogOutputFormat"}
        request["LogOptions"] = {"CloudWatchLogOptions": rename_keys(logs, names)}
    return request


def _current_tunnel(tunnel: dict[str, Any]) -> Props:
    """One tunnel's inputs from AWS's response."""
    current = from_response(tunnel, {ours: _RESPONSE_NAMES.get(theirs, theirs) for ours, theirs in _PLAIN.items()})
    if not current["PresharedKey"]:
        del current["PresharedKey"]  # it is in Secrets Manager
    for ours, theirs in _LISTS.items():
        current[ours] = [option["Value"] for option in tunnel.get(_RESPONSE_NAMES.get(theirs, theirs)) or []]
    logs = (tunnel.get("LogOptions") or {}).get("CloudWatchLogOptions")
    current["LogOptions"] = {"cloudwatchLogOptions": to_pulumi_keys(logs)} if logs else None
    return current


def _in_order(actual: dict[str, Any], inputs: Props) -> list[dict[str, Any]]:
    """The tunnels in the order of the inputs, by their inside CIDR: AWS returns them in any order."""
    tunnels = list(actual["Options"]["TunnelOptions"])
    first_range = inputs.get("tunnel1InsideCidr")
    return tunnels[::-1] if first_range and tunnels[1]["TunnelInsideCidr"] == first_range else tunnels


class VpnConnectionRouteHandler(Handler):
    pulumi_type = "aws:ec2/vpnConnectionRoute:VpnConnectionRoute"
    force_new = frozenset({"vpnConnectionId", "destinationCidrBlock"})
    _NAMES: ClassVar = {"vpnConnectionId": "VpnConnectionId", "destinationCidrBlock": "DestinationCidrBlock"}

    def create(self, aws: AwsClients, new: Props) -> Created:
        aws.client("ec2").create_vpn_connection_route(**rename_keys(new, self._NAMES))
        return Created(id=f"{new['destinationCidrBlock']}:{new['vpnConnectionId']}")

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = VpnConnectionHandler().describe(aws, inputs["vpnConnectionId"]) or {}
        cidrs = {
            route["DestinationCidrBlock"]
            for route in actual.get("Routes") or []
            if route["State"] not in DELETED_STATES
        }
        return {} if inputs["destinationCidrBlock"] in cidrs else None

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ec2").delete_vpn_connection_route(**rename_keys(state, self._NAMES))


class VpnGatewayRoutePropagationHandler(Handler):
    pulumi_type = "aws:ec2/vpnGatewayRoutePropagation:VpnGatewayRoutePropagation"
    force_new = frozenset({"vpnGatewayId", "routeTableId"})
    _NAMES: ClassVar = {"vpnGatewayId": "GatewayId", "routeTableId": "RouteTableId"}

    def create(self, aws: AwsClients, new: Props) -> Created:
        aws.client("ec2").enable_vgw_route_propagation(**rename_keys(new, self._NAMES))
        return Created(id=f"{new['vpnGatewayId']}_{new['routeTableId']}")

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        query = [{"Name": "route-table-id", "Values": [inputs["routeTableId"]]}]
        table = first(aws.client("ec2").describe_route_tables(Filters=query)["RouteTables"]) or {}
        gateways = {gateway["GatewayId"] for gateway in table.get("PropagatingVgws") or []}
        return {} if inputs["vpnGatewayId"] in gateways else None

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ec2").disable_vgw_route_propagation(**rename_keys(state, self._NAMES))

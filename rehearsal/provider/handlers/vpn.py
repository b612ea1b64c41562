"""Site-to-site VPN: customer and VPN gateways, connections and their tunnels, routes."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import (
    Cloud,
    Created,
    Handler,
    Props,
    changed,
    differs,
    drop_none,
    first,
    from_answer,
    rename_keys,
    to_pulumi_keys,
)
from .ec2 import Ec2Handler

GONE = ("deleting", "deleted", "detached")


class _Lasting(Ec2Handler):
    """Described by AWS for an hour after it was deleted."""

    def described(self, cloud: Cloud, id: str) -> dict[str, Any] | None:
        found = super().described(cloud, id)
        return None if found is None or found["State"] in GONE else found


class CustomerGateway(_Lasting):
    pulumi_type = "aws:ec2/customerGateway:CustomerGateway"
    kind = "customer-gateway"
    describe = ("describe_customer_gateways", "CustomerGateways", "CustomerGatewayIds")
    force_new = frozenset({"type", "ipAddress", "bgpAsn", "bgpAsnExtended"})
    fields: ClassVar = {"type": "Type", "ipAddress": "IpAddress", "bgpAsnExtended": "BgpAsnExtended"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        numbers = {
            theirs: int(new[ours])
            for ours, theirs in {"bgpAsn": "BgpAsn", "bgpAsnExtended": "BgpAsnExtended"}.items()
            if new.get(ours)
        }
        names = {"type": "Type", "ipAddress": "IpAddress"}
        created = cloud.client("ec2").create_customer_gateway(
            **rename_keys(new, names), **numbers, **self.tag_specification(new)
        )
        return Created(id=created["CustomerGateway"]["CustomerGatewayId"])

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        # Beside a long number AWS answers a short one of its own.
        return {"bgpAsn": found.get("BgpAsn")} if inputs.get("bgpAsn") else {}

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_customer_gateway(CustomerGatewayId=id)


class VpnGateway(_Lasting):
    pulumi_type = "aws:ec2/vpnGateway:VpnGateway"
    kind = "vpn-gateway"
    describe = ("describe_vpn_gateways", "VpnGateways", "VpnGatewayIds")
    force_new = frozenset({"amazonSideAsn"})
    fields: ClassVar = {"amazonSideAsn": "AmazonSideAsn"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        asn = drop_none(AmazonSideAsn=int(new["amazonSideAsn"]) if new.get("amazonSideAsn") else None)
        ec2 = cloud.client("ec2")
        created = ec2.create_vpn_gateway(Type="ipsec.1", **asn, **self.tag_specification(new))["VpnGateway"]
        return Created(id=created["VpnGatewayId"])

    def complete(self, cloud: Cloud, id: str, new: Props) -> None:
        if new.get("vpcId"):
            cloud.client("ec2").attach_vpn_gateway(VpnGatewayId=id, VpcId=new["vpcId"])

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        return {"vpcId": _attached(found)}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        ec2 = cloud.client("ec2")
        if differs(old, new, "vpcId"):
            if old.get("vpcId"):
                ec2.detach_vpn_gateway(VpnGatewayId=id, VpcId=old["vpcId"])
            if new.get("vpcId"):
                ec2.attach_vpn_gateway(VpnGatewayId=id, VpcId=new["vpcId"])
        super().update(cloud, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        ec2 = cloud.client("ec2")
        if vpc := _attached(self.described(cloud, id) or {}):
            ec2.detach_vpn_gateway(VpnGatewayId=id, VpcId=vpc)
        ec2.delete_vpn_gateway(VpnGatewayId=id)


def _attached(found: dict[str, Any]) -> str | None:
    here = first(each for each in found.get("VpcAttachments") or [] if each["State"] not in GONE)
    return here["VpcId"] if here else None


# A tunnel's inputs after `tunnel1`, as AWS takes them and as it answers them where that is another name.
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
_ANSWERED = {
    "DPDTimeoutSeconds": "DpdTimeoutSeconds",
    "DPDTimeoutAction": "DpdTimeoutAction",
    "IKEVersions": "IkeVersions",
}
_TUNNELS = ("tunnel1", "tunnel2")


class VpnConnection(_Lasting):
    pulumi_type = "aws:ec2/vpnConnection:VpnConnection"
    kind = "vpn-connection"
    describe = ("describe_vpn_connections", "VpnConnections", "VpnConnectionIds")
    # AWS moves a connection to another gateway; here it is replaced.
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

    def create(self, cloud: Cloud, new: Props) -> Created:
        options = rename_keys(new, self._OPTIONS) | {"TunnelOptions": [_requested(new, each) for each in _TUNNELS]}
        created = cloud.client("ec2").create_vpn_connection(
            Options=options,
            **rename_keys(new, self.fields),
            **rename_keys(new, {"presharedKeyStorage": "PreSharedKeyStorage"}),
            **self.tag_specification(new),
        )
        return Created(id=created["VpnConnection"]["VpnConnectionId"])

    def more(self, cloud: Cloud, found: dict[str, Any], inputs: Props) -> Props:
        storage = "SecretsManager" if found.get("PreSharedKeyArn") else "Standard"
        current = from_answer(found["Options"], self._OPTIONS) | {"presharedKeyStorage": storage}
        for name, tunnel in zip(_TUNNELS, _in_order(found, inputs), strict=True):
            current |= {f"{name}{key}": value for key, value in _current_tunnel(tunnel).items()}
        return current

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = self.described(cloud, id)
        if found is None:
            return None
        outputs = {
            "arn": self.arn(cloud, id),
            "transitGatewayAttachmentId": self._attachment(cloud, id) if found.get("TransitGatewayId") else "",
        }
        for name, tunnel in zip(_TUNNELS, _in_order(found, inputs), strict=True):
            outputs |= {
                f"{name}Address": tunnel["OutsideIpAddress"],
                f"{name}InsideCidr": tunnel["TunnelInsideCidr"],
                f"{name}PresharedKey": tunnel.get("PreSharedKey"),
            }
        return outputs

    def _attachment(self, cloud: Cloud, id: str) -> str | None:
        query = [{"Name": "resource-id", "Values": [id]}, {"Name": "resource-type", "Values": ["vpn"]}]
        answer = cloud.client("ec2").describe_transit_gateway_attachments(Filters=query)
        found = first(answer["TransitGatewayAttachments"])
        return found["TransitGatewayAttachmentId"] if found else None

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        ec2, found = cloud.client("ec2"), self.described(cloud, id) or {}
        for name, tunnel in zip(_TUNNELS, _in_order(found, old), strict=True):
            before, after = _requested(old, name), _requested(new, name)
            changes = {key: after[key] for key in changed(before, after) if key in after}
            if changes:  # one tunnel after the other: AWS allows no two at once
                address = tunnel["OutsideIpAddress"]
                ec2.modify_vpn_tunnel_options(
                    VpnConnectionId=id, VpnTunnelOutsideIpAddress=address, TunnelOptions=changes
                )
        super().update(cloud, id, old, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_vpn_connection(VpnConnectionId=id)


def _requested(props: Props, tunnel: str) -> dict[str, Any]:
    """One tunnel's inputs as AWS takes them."""
    request = rename_keys(props, {f"{tunnel}{ours}": theirs for ours, theirs in _PLAIN.items()})
    for ours, theirs in _LISTS.items():
        if values := props.get(f"{tunnel}{ours}"):
            request[theirs] = [{"Value": value} for value in values]
    if logs := (props.get(f"{tunnel}LogOptions") or {}).get("cloudwatchLogOptions"):
        names = {"logEnabled": "LogEnabled", "logGroupArn": "LogGroupArn", "logOutputFormat": "LogOutputFormat"}
        request["LogOptions"] = {"CloudWatchLogOptions": rename_keys(logs, names)}
    return request


def _current_tunnel(tunnel: dict[str, Any]) -> Props:
    """One tunnel's inputs from AWS's answer."""
    current = from_answer(tunnel, {ours: _ANSWERED.get(theirs, theirs) for ours, theirs in _PLAIN.items()})
    if not current["PresharedKey"]:
        del current["PresharedKey"]  # it is in Secrets Manager
    for ours, theirs in _LISTS.items():
        current[ours] = [each["Value"] for each in tunnel.get(_ANSWERED.get(theirs, theirs)) or []]
    logs = (tunnel.get("LogOptions") or {}).get("CloudWatchLogOptions")
    current["LogOptions"] = {"cloudwatchLogOptions": to_pulumi_keys(logs)} if logs else None
    return current


def _in_order(found: dict[str, Any], inputs: Props) -> list[dict[str, Any]]:
    """The tunnels by their inside ranges: AWS answers them in any order."""
    tunnels = list(found["Options"]["TunnelOptions"])
    first_range = inputs.get("tunnel1InsideCidr")
    return tunnels[::-1] if first_range and tunnels[1]["TunnelInsideCidr"] == first_range else tunnels


class VpnConnectionRoute(Handler):
    pulumi_type = "aws:ec2/vpnConnectionRoute:VpnConnectionRoute"
    force_new = frozenset({"vpnConnectionId", "destinationCidrBlock"})
    _NAMES: ClassVar = {"vpnConnectionId": "VpnConnectionId", "destinationCidrBlock": "DestinationCidrBlock"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        cloud.client("ec2").create_vpn_connection_route(**rename_keys(new, self._NAMES))
        return Created(id=f"{new['destinationCidrBlock']}:{new['vpnConnectionId']}")

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = VpnConnection().described(cloud, inputs["vpnConnectionId"]) or {}
        cidrs = {each["DestinationCidrBlock"] for each in found.get("Routes") or [] if each["State"] not in GONE}
        return {} if inputs["destinationCidrBlock"] in cidrs else None

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").delete_vpn_connection_route(**rename_keys(state, self._NAMES))


class VpnGatewayRoutePropagation(Handler):
    pulumi_type = "aws:ec2/vpnGatewayRoutePropagation:VpnGatewayRoutePropagation"
    force_new = frozenset({"vpnGatewayId", "routeTableId"})
    _NAMES: ClassVar = {"vpnGatewayId": "GatewayId", "routeTableId": "RouteTableId"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        cloud.client("ec2").enable_vgw_route_propagation(**rename_keys(new, self._NAMES))
        return Created(id=f"{new['vpnGatewayId']}_{new['routeTableId']}")

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        query = [{"Name": "route-table-id", "Values": [inputs["routeTableId"]]}]
        table = first(cloud.client("ec2").describe_route_tables(Filters=query)["RouteTables"]) or {}
        gateways = {each["GatewayId"] for each in table.get("PropagatingVgws") or []}
        return {} if inputs["vpnGatewayId"] in gateways else None

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ec2").disable_vgw_route_propagation(**rename_keys(state, self._NAMES))

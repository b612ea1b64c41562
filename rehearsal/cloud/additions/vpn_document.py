"""Customer gateway configuration: AWS's XML document of a VPN connection."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any
from xml.etree import ElementTree

# What AWS writes when a connection has no BGP.
STATIC = "NoBGPVPNConnection"
NETMASK, PREFIX = "255.255.255.252", 30


def customer_gateway_configuration(connection: Any) -> str:
    """XML of one of moto's connections: addresses, pre-shared keys unless redacted, IKE and IPsec parameters.

    Empty for a deleted one.
    """
    if connection.state == "deleted":  # its gateways may be deleted
        return ""
    options, backend = connection.options or {}, connection.ec2_backend
    customer_gateway = backend.get_customer_gateway(connection.customer_gateway_id)
    root = ElementTree.Element("vpn_connection", id=connection.id)
    _fill(
        root,
        {
            "customer_gateway_id": connection.customer_gateway_id,
            "vpn_gateway_id": connection.vpn_gateway_id or connection.transit_gateway_id or "",
            "vpn_connection_type": connection.type,
        },
    )
    if options.get("StaticRoutesOnly"):
        _fill(root, {"vpn_connection_attributes": STATIC})
    addresses = {
        "customer_gateway": customer_gateway.ip_address,
        "asn": customer_gateway.bgp_asn,
        "amazon_asn": _amazon_asn(connection),
    }
    for tunnel in options.get("TunnelOptions", ()):
        _fill(root, {"ipsec_tunnel": _tunnel(tunnel, addresses)})
    return ElementTree.tostring(root, encoding="unicode")


def _amazon_asn(connection: Any) -> str:
    backend = connection.ec2_backend
    if connection.vpn_gateway_id:
        return str(backend.get_vpn_gateway(connection.vpn_gateway_id).amazon_side_asn or 64512)
    return str(backend.transit_gateways[connection.transit_gateway_id].options["AmazonSideAsn"])


def _tunnel(tunnel: dict[str, Any], addresses: dict[str, str]) -> dict[str, Any]:
    inside = IPv4Network(tunnel["TunnelInsideCidr"])
    group = f"group{_values(tunnel, 'Phase1DHGroupNumbers', '2')}"
    return {
        "customer_gateway": _gateway(addresses["customer_gateway"], str(inside[2]), addresses["asn"]),
        "vpn_gateway": _gateway(tunnel["OutsideIpAddress"], str(inside[1]), addresses["amazon_asn"]),
        "ike": {
            "authentication_protocol": _values(tunnel, "Phase1IntegrityAlgorithms", "sha1"),
            "encryption_protocol": _values(tunnel, "Phase1EncryptionAlgorithms", "aes-128-cbc"),
            "lifetime": str(tunnel["Phase1LifetimeSeconds"]),
            "perfect_forward_secrecy": group,
            "mode": "main",
            "pre_shared_key": tunnel["PreSharedKey"],
        },
        "ipsec": {
            "protocol": "esp",
            "authentication_protocol": _values(tunnel, "Phase2IntegrityAlgorithms", "hmac-sha1-96"),
            "encryption_protocol": _values(tunnel, "Phase2EncryptionAlgorithms", "aes-128-cbc"),
            "lifetime": str(tunnel["Phase2LifetimeSeconds"]),
            "perfect_forward_secrecy": group,
            "mode": "tunnel",
            "clear_df_bit": "true",
            "fragmentation_before_encryption": "true",
            "tcp_mss_adjustment": "1379",
            "dead_peer_detection": {"interval": "10", "retries": "3"},
        },
    }


def _values(tunnel: dict[str, Any], key: str, default: str) -> str:
    """The first value: the XML holds only one."""
    values = tunnel.get(key) or ()
    return str(values[0]["Value"]).lower() if values else default


def _gateway(outside: str, inside: str, asn: str) -> dict[str, Any]:
    return {
        "tunnel_outside_address": {"ip_address": outside},
        "tunnel_inside_address": {"ip_address": inside, "network_mask": NETMASK, "network_cidr": str(PREFIX)},
        "bgp": {"asn": str(asn), "hold_time": "30"},
    }


def _fill(parent: ElementTree.Element, content: dict[str, Any]) -> None:
    for name, value in content.items():
        child = ElementTree.SubElement(parent, name)
        if isinstance(value, dict):
            _fill(child, value)
        else:
            child.text = str(value)

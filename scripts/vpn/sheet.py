"""Configuration sheet for a gateway of any make, without the keys."""

from __future__ import annotations

from scripts.vpn.connection import Connection, Tunnel


def sheet(connection: Connection) -> str:
    """Markdown. It may be handed on: the keys are not in it."""
    first, second = connection.tunnels
    return f"""\
# VPN connection {connection.id}, customer gateway side

For any gateway that speaks IKEv2. The pre-shared keys are not here: they are in the `secrets` of swanctl.conf beside
this sheet, one for each tunnel, and shall be handed over by another way than the sheet.

| | tunnel 1 | tunnel 2 |
|---|---|---|
| Outside address of the customer gateway | {connection.customer_gateway_ip} | {connection.customer_gateway_ip} |
| Outside address of AWS | {first.outside_ip} | {second.outside_ip} |
| Inside range | {first.inside_cidr} | {second.inside_cidr} |
| Inside address of the customer gateway | {first.customer_gateway_inside_ip} | {second.customer_gateway_inside_ip} |
| Inside address of AWS | {first.aws_inside_ip} | {second.aws_inside_ip} |
{_crypto(first, second)}
| Largest TCP segment (MSS) | {first.mss} | {second.mss} |

- Version: IKEv2 only. The customer gateway identifies itself by {connection.customer_gateway_ip}, AWS by its outside
  address.
- Firewall of the customer gateway: UDP 500 and UDP 4500 to and from both outside addresses of AWS, and ESP
  (protocol 50) without NAT.
- Remote ranges: {", ".join(connection.remote_cidrs)}
- Ranges of the VPC: {", ".join(connection.vpc_cidrs)}
- Selectors: 0.0.0.0/0 at both ends where the gateway routes into tunnel interfaces; else one pair with the ranges.
{_routing(connection)}
- Silence: a gateway that gives a peer up 7 s after its last word has the other tunnel within 10 s. AWS asks after 10 s
  and gives up after 30 more, for its own way back.
- Without a tunnel the VPC's ranges are dropped (a discard route of the highest metric), never sent unencrypted.
- Both tunnels stay up: AWS replaces the endpoint of one at a time, with the other in use meanwhile. Answers may come
  through the other tunnel than the question went: reverse-path checks have to be loose.
"""


def _crypto(first: Tunnel, second: Tunnel) -> str:
    rows = {
        "Phase 1 (IKE) proposal": ("ike_proposal", ""),
        "Phase 1 lifetime": ("ike_lifetime", " s"),
        "Phase 2 (ESP) proposal, with forward secrecy": ("esp_proposal", ""),
        "Phase 2 lifetime": ("esp_lifetime", " s"),
        "Dead peer detection, AWS's, every": ("dpd_interval", " s"),
    }
    return "\n".join(
        f"| {label} | {getattr(first, name)}{unit} | {getattr(second, name)}{unit} |"
        for label, (name, unit) in rows.items()
    )


def _routing(connection: Connection) -> str:
    if connection.routing == "bgp":
        neighbors = " and ".join(each.aws_inside_ip for each in connection.tunnels)
        return (
            f"- Routing: BGP, customer AS {connection.customer_gateway_asn}, AWS AS {connection.amazon_asn}, "
            f"neighbors {neighbors}, hold time 30 s.\n"
            "  Announce the remote ranges, with a longer path over tunnel 2, and take only the VPC's."
        )
    return "- Routing: static. The VPC's ranges go over tunnel 1, and over tunnel 2 (higher metric) when 1 is down."

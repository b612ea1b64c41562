"""AWS's end of a site-to-site connection as strongSwan configuration: a responder that accepts any proposed traffic."""

from __future__ import annotations

from scripts.vpn.render import Connection, Tunnel

# strongswan.conf: dead peer detection after the dpd_interval and 30 s more, AWS's minimum DPD timeout.
RETRANSMISSION = "retransmit_timeout = 10.0\n  retransmit_base = 1.0\n  retransmit_tries = 2"


def render(connection: Connection) -> str:
    """swanctl.conf of a gateway that has both outside addresses."""
    pairs = list(enumerate(connection.tunnels, start=1))
    tunnels = "".join(_tunnel(connection, tunnel, number) for number, tunnel in pairs)
    keys = "".join(_key(connection, tunnel, number) for number, tunnel in pairs)
    return f"connections {{\n{tunnels}}}\nsecrets {{\n{keys}}}\n"


def _tunnel(connection: Connection, tunnel: Tunnel, number: int) -> str:
    return f"""\
  tunnel{number} {{
    version = 2
    local_addrs = {tunnel.outside_ip}
    remote_addrs = {connection.customer_gateway_ip}
    proposals = {tunnel.ike_proposal}
    dpd_delay = {tunnel.dpd_interval}s
    mobike = no
    unique = replace
    local {{
      auth = psk
      id = {tunnel.outside_ip}
    }}
    remote {{
      auth = psk
      id = {connection.customer_gateway_ip}
    }}
    children {{
      tunnel{number} {{
        mode = tunnel
        # AWS's defaults: any to any, narrowed by the remote side.
        local_ts = 0.0.0.0/0
        remote_ts = 0.0.0.0/0
        esp_proposals = {tunnel.esp_proposal}
        start_action = none
        dpd_action = clear
      }}
    }}
  }}
"""


def _key(connection: Connection, tunnel: Tunnel, number: int) -> str:
    return f"""\
  ike-tunnel{number} {{
    id-aws = {tunnel.outside_ip}
    id-remote = {connection.customer_gateway_ip}
    secret = "{tunnel.preshared_key}"
  }}
"""

"""AWS's end of a site-to-site connection in strongSwan's words: it answers, and takes what the office proposes."""

from __future__ import annotations

from scripts.vpn_render import Connection, Tunnel

# strongswan.conf: asked after the connection's dpd_interval, the office is dead 30 s later, AWS's least dpdTimeout.
PATIENCE = "retransmit_timeout = 10.0\n  retransmit_base = 1.0\n  retransmit_tries = 2"


def render(connection: Connection) -> str:
    """swanctl.conf of a gateway that has both outside addresses."""
    pairs = list(enumerate(connection.tunnels, start=1))
    tunnels = "".join(_tunnel(connection, tunnel, place) for place, tunnel in pairs)
    keys = "".join(_key(connection, tunnel, place) for place, tunnel in pairs)
    return f"connections {{\n{tunnels}}}\nsecrets {{\n{keys}}}\n"


def _tunnel(connection: Connection, tunnel: Tunnel, place: int) -> str:
    return f"""\
  tunnel{place} {{
    version = 2
    local_addrs = {tunnel.outside_ip}
    remote_addrs = {connection.office_ip}
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
      id = {connection.office_ip}
    }}
    children {{
      tunnel{place} {{
        mode = tunnel
        # AWS's defaults: any to any; what the office asks for is taken.
        local_ts = 0.0.0.0/0
        remote_ts = 0.0.0.0/0
        esp_proposals = {tunnel.esp_proposal}
        start_action = none
        dpd_action = clear
      }}
    }}
  }}
"""


def _key(connection: Connection, tunnel: Tunnel, place: int) -> str:
    return f"""\
  ike-tunnel{place} {{
    id-aws = {tunnel.outside_ip}
    id-office = {connection.office_ip}
    secret = "{tunnel.preshared_key}"
  }}
"""

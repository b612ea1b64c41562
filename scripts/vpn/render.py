"""Configuration files of the customer gateway: strongSwan, kernel and FRR, and a sheet for other devices."""

from __future__ import annotations

from scripts.vpn.connection import Connection, Tunnel, UnreadableError, parse_xml, problems
from scripts.vpn.sheet import sheet

HOME = "/etc/swanctl"  # where the rendered folder is put on the gateway
METRICS = (100, 200)  # of the routes over the first and the second tunnel: the lower one is taken
LAST_METRIC = 9999  # of the route that takes what no tunnel takes; above FRR's 20 too
# Seconds. A peer that said nothing for DPD_DELAY is asked four times, and dead RETRANSMIT_TIMEOUT after the last: 7 in
# all, so that the other tunnel carries within 10. AWS's own 10 and 30 would do for the way back only.
DPD_DELAY, RETRANSMIT_TIMEOUT, RETRANSMIT_TRIES = 3, 1.0, 3
# Seconds between BGP's keepalives, and of silence until a neighbor is dead: of both ends' numbers the lower ones hold.
BGP_KEEPALIVE, BGP_HOLD = 3, 9
ESP_OVERHEAD = 40  # bytes of IPv4 and TCP headers: what AWS's MSS leaves out of the MTU
# Fraction of the lifetime: the customer gateway rekeys before AWS lets a key expire.
RENEW_AFTER = 0.9

__all__ = ["Connection", "Tunnel", "UnreadableError", "parse_xml", "problems", "render"]


def render(connection: Connection, *, userspace: bool = False, home: str = HOME) -> dict[str, str]:
    """File name -> text, the same for the same connection. `home` is the absolute folder the files will lie in.

    In userspace strongSwan's kernel-libipsec carries the packets: no xfrm interfaces, selectors of both ends' ranges.
    Raises ValueError when the connection lacks what a file needs, or BGP is asked for in userspace.
    """
    if found := problems(connection):
        raise ValueError("; ".join(found))
    if userspace and connection.routing == "bgp":
        raise ValueError("BGP needs an interface for each tunnel, which kernel-libipsec has not: allowed is static")
    files = {
        "swanctl.conf": _swanctl(connection, userspace, home),
        "strongswan.conf": _strongswan(userspace, home),
        "sysctl.conf": _sysctl(userspace),
        "clamp.nft": _clamp(connection, userspace),
        "guard.sh": _guard(connection),
        "sheet.md": sheet(connection),
    }
    if not userspace:
        files |= {"interfaces.sh": _interfaces(connection), "updown.sh": _updown(connection)}
    if connection.routing == "bgp":
        files["frr.conf"] = _frr(connection)
    return files


def _swanctl(connection: Connection, userspace: bool, home: str) -> str:
    pairs = list(enumerate(connection.tunnels, start=1))
    tunnels = "\n".join(_connection(connection, tunnel, number, userspace, home) for number, tunnel in pairs)
    secrets = "\n".join(_secret(connection, tunnel, number) for number, tunnel in pairs)
    return f"""\
# Customer gateway side of {connection.id}. Two tunnels: AWS services one at a time, so both have to be up.
# This file holds the pre-shared keys: owner root, mode 0600. Load it with `swanctl --load-all`.
connections {{
{tunnels}}}

secrets {{
{secrets}}}
"""


def _connection(connection: Connection, tunnel: Tunnel, number: int, userspace: bool, home: str) -> str:
    child = _selected_child(connection) if userspace else _routed_child(number, home)
    identity = "" if userspace else f"""\
    # Ties the tunnel's keys and policies to its own interface, vpn{number}.
    if_id_in = {number}
    if_id_out = {number}
"""  # fmt: skip
    return f"""\
  tunnel{number} {{
    version = 2
    # Whatever address the gateway has, public or behind NAT: ESP goes in UDP 4500 then, by itself.
    local_addrs = %any
    remote_addrs = {tunnel.outside_ip}
    proposals = {tunnel.ike_proposal}
    # The key is renewed before AWS ends it; without reauthentication no packet is lost meanwhile.
    rekey_time = {int(tunnel.ike_lifetime * RENEW_AFTER)}s
    reauth_time = 0s
    # A silent peer is asked after this long; strongswan.conf says when it is given up.
    dpd_delay = {DPD_DELAY}s
    # Never stop trying: nobody is there to start it again after a long outage.
    keyingtries = 0
    # AWS may start the tunnel at the same moment; one of the two is kept.
    unique = replace
    mobike = no
{identity}    local {{
      auth = psk
      # AWS knows the customer gateway by its public address, also when NAT hides it.
      id = {connection.customer_gateway_ip}
    }}
    remote {{
      auth = psk
      id = {tunnel.outside_ip}
    }}
    children {{
      tunnel{number} {{
        mode = tunnel
{child}        esp_proposals = {tunnel.esp_proposal}
        rekey_time = {int(tunnel.esp_lifetime * RENEW_AFTER)}s
        life_time = {tunnel.esp_lifetime}s
        start_action = start
        # A dead peer, or AWS's own replacing of an endpoint, leads to a new start and not to silence.
        dpd_action = restart
        close_action = start
      }}
    }}
  }}
"""


def _routed_child(number: int, home: str) -> str:
    return f"""\
        # Routes decide what goes in, not selectors: the other tunnel can take over at once.
        local_ts = 0.0.0.0/0
        remote_ts = 0.0.0.0/0
        updown = {home}/updown.sh vpn{number} {METRICS[number - 1]}
"""


def _selected_child(connection: Connection) -> str:
    return f"""\
        # libipsec has one interface for all tunnels, so the selectors decide what goes in.
        local_ts = {", ".join(connection.remote_cidrs)}
        remote_ts = {", ".join(connection.vpc_cidrs)}
"""


def _secret(connection: Connection, tunnel: Tunnel, number: int) -> str:
    return f"""\
  ike-tunnel{number} {{
    id-remote = {connection.customer_gateway_ip}
    id-aws = {tunnel.outside_ip}
    secret = "{tunnel.preshared_key}"
  }}
"""


def _strongswan(userspace: bool, home: str) -> str:
    if userspace:
        kernel = """\
  # Packets are encrypted by the daemon itself and pass through one interface, ipsec0.
  plugins {
    kernel-libipsec {
      load = yes
    }
  }
"""
        first = ""
    else:
        kernel = """\
  # The selectors say 0.0.0.0/0: a route made of them would take all of the remote network's traffic.
  install_routes = no
"""
        first = f"""\
    # The tunnels' interfaces, and no memory of tunnels from before.
    interfaces = {home}/interfaces.sh
"""
    return f"""\
# To be included by /etc/strongswan.conf, as a file of /etc/strongswan.d.
charon {{
  # {DPD_DELAY} s of silence (dpd_delay), then {RETRANSMIT_TRIES + 1} questions in as many seconds:
  # after {_given_up():.0f} s a tunnel counts as dead and the other one takes over. strongSwan's usual 165 s are long
  # with a second one waiting. A line that is gone for longer costs one new handshake, of less than a second.
  retransmit_timeout = {RETRANSMIT_TIMEOUT}
  retransmit_base = 1.0
  retransmit_tries = {RETRANSMIT_TRIES}
{kernel}  start-scripts {{
{first}    # Before any tunnel: what is meant for the VPC goes into one, or nowhere.
    guard = {home}/guard.sh
  }}
}}
"""


def _given_up() -> float:
    """Seconds from a peer's last word to the end of waiting for an answer to the last question."""
    return DPD_DELAY + RETRANSMIT_TIMEOUT * (RETRANSMIT_TRIES + 1)


def _sysctl(userspace: bool) -> str:
    per_tunnel = """\
# AWS may answer through the other tunnel than the one that was asked: strict checks would drop that. `default` is
# what interfaces made later begin with.
net.ipv4.conf.default.rp_filter = 2
net.ipv4.conf.all.rp_filter = 2
"""
    return f"""\
# The gateway passes packets on between the remote network and the tunnels.
net.ipv4.ip_forward = 1
# A hint to a shorter way would lead around the tunnel.
net.ipv4.conf.all.send_redirects = 0
net.ipv4.conf.default.send_redirects = 0
{"" if userspace else per_tunnel}"""


def _clamp(connection: Connection, userspace: bool) -> str:
    mss, interface = min(each.mss for each in connection.tunnels), "ipsec0" if userspace else "vpn*"
    return f"""\
# ESP takes room in each packet. TCP is told to send smaller ones, since the notices that packets are too big get lost
# on many ways through the Internet. Load it with `nft -f`; loading it again replaces it.
table inet bluegreen_vpn
delete table inet bluegreen_vpn
table inet bluegreen_vpn {{
  chain forward {{
    type filter hook forward priority mangle; policy accept;
    oifname "{interface}" tcp flags syn tcp option maxseg size > {mss} tcp option maxseg size set {mss}
    iifname "{interface}" tcp flags syn tcp option maxseg size > {mss} tcp option maxseg size set {mss}
  }}
}}
"""


def _guard(connection: Connection) -> str:
    routes = "\n".join(f"ip route replace blackhole {each} metric {LAST_METRIC}" for each in connection.vpc_cidrs)
    return f"""\
#!/bin/sh
# What is meant for the VPC never leaves unencrypted: when no tunnel has a route, this one drops it instead of the
# default route. Running it again changes nothing. strongSwan runs it when it starts, and leaves it when it stops.
set -eu
{routes}
"""


def _interfaces(connection: Connection) -> str:
    made = "\n".join(
        f"make vpn{number} {number} {each.customer_gateway_inside_ip}/{each.inside_cidr.rpartition('/')[2]} "
        f"{each.mss + ESP_OVERHEAD}"
        for number, each in enumerate(connection.tunnels, start=1)
    )
    return f"""\
#!/bin/sh
# Creates the tunnels' interfaces; running it again changes nothing. strongSwan runs it when it starts.
set -eu

make() {"{"}
  ip link show dev "$1" >/dev/null 2>&1 || ip link add "$1" type xfrm if_id "$2"
  ip address replace "$3" dev "$1"
  ip link set "$1" mtu "$4" up
{"}"}

# Routes and marks of a daemon that was killed: its tunnels are gone.
rm -rf /run/bluegreen-vpn
for each in vpn1 vpn2; do
  ip route flush dev "$each" proto static 2>/dev/null || true
done
# Interface, if_id of swanctl.conf, the customer gateway's inside address, MTU.
{made}
"""


def _updown(connection: Connection) -> str:
    if connection.routing == "bgp":
        body = """\
# FRR learns and withdraws the routes; strongSwan has nothing to do here.
exit 0
"""
    else:
        body = f"""\
# A tunnel that is up has routes to the VPC, of which the lower metric wins; one that is down has none, so that the
# other takes over. A tunnel is down only when its last association is: when one is replaced, the new one comes first.
set -eu
interface=$1 metric=$2
marks=/run/bluegreen-vpn/$interface

case $PLUTO_VERB in
  up-client | up-host)
    mkdir -p "$marks"
    : >"$marks/$PLUTO_UNIQUEID"
    # shellcheck disable=SC2043 # a VPC of one range is usual
    for range in {" ".join(connection.vpc_cidrs)}; do
      ip route replace "$range" dev "$interface" metric "$metric" proto static
    done
    ;;
  down-client | down-host)
    rm -f "$marks/$PLUTO_UNIQUEID"
    if [ -z "$(ls -A "$marks" 2>/dev/null)" ]; then
      # shellcheck disable=SC2043 # as above
      for range in {" ".join(connection.vpc_cidrs)}; do
        ip route del "$range" dev "$interface" metric "$metric" proto static || true
      done
    fi
    ;;
esac
"""
    called = "# Called by strongSwan when a tunnel comes up or goes down: interface and metric as arguments."
    return f"#!/bin/sh\n{called}\n{body}"


def _frr(connection: Connection) -> str:
    neighbors = "\n".join(
        f" neighbor {each.aws_inside_ip} remote-as {connection.amazon_asn}\n"
        f" neighbor {each.aws_inside_ip} description {connection.id} tunnel {number}\n"
        f" neighbor {each.aws_inside_ip} timers {BGP_KEEPALIVE} {BGP_HOLD}"
        for number, each in enumerate(connection.tunnels, start=1)
    )
    activated = "\n".join(
        f"  neighbor {each.aws_inside_ip} activate\n"
        f"  neighbor {each.aws_inside_ip} route-map FROM-AWS-{number} in\n"
        f"  neighbor {each.aws_inside_ip} route-map TO-AWS-{number} out"
        for number, each in enumerate(connection.tunnels, start=1)
    )
    announced = "\n".join(f"  network {each}" for each in connection.remote_cidrs)
    return f"""\
! The customer gateway's side of BGP for {connection.id}, for FRR (bgpd=yes in /etc/frr/daemons).
! Only these ranges go out and come in: a mistake at one end must not draw the other's traffic.
{_prefixes("REMOTE", connection.remote_cidrs)}
{_prefixes("VPC", connection.vpc_cidrs)}
!
router bgp {connection.customer_gateway_asn}
 bgp router-id {connection.tunnels[0].customer_gateway_inside_ip}
 ! The remote ranges are announced also when the gateway has them by another route than an exact one.
 no bgp network import-check
{neighbors}
 address-family ipv4 unicast
{announced}
{activated}
 exit-address-family
exit
!
! Both directions prefer the first tunnel: the customer gateway by local preference, AWS by the shorter path.
route-map FROM-AWS-1 permit 10
 match ip address prefix-list VPC
 set local-preference 200
exit
route-map FROM-AWS-2 permit 10
 match ip address prefix-list VPC
 set local-preference 100
exit
route-map TO-AWS-1 permit 10
 match ip address prefix-list REMOTE
exit
route-map TO-AWS-2 permit 10
 match ip address prefix-list REMOTE
 set as-path prepend {connection.customer_gateway_asn}
exit
"""


def _prefixes(name: str, ranges: tuple[str, ...]) -> str:
    return "\n".join(f"ip prefix-list {name} seq {10 * number} permit {each}" for number, each in enumerate(ranges, 1))

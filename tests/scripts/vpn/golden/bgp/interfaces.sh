#!/bin/sh
# Creates the tunnels' interfaces; running it again changes nothing. strongSwan runs it when it starts.
set -eu

make() {
  ip link show dev "$1" >/dev/null 2>&1 || ip link add "$1" type xfrm if_id "$2"
  ip address replace "$3" dev "$1"
  ip link set "$1" mtu "$4" up
}

# Routes and marks of a daemon that was killed: its tunnels are gone.
rm -rf /run/bluegreen-vpn
for each in vpn1 vpn2; do
  ip route flush dev "$each" proto static 2>/dev/null || true
done
# Interface, if_id of swanctl.conf, the customer gateway's inside address, MTU.
make vpn1 1 169.254.100.2/30 1419
make vpn2 2 169.254.101.2/30 1419

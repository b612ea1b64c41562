#!/bin/sh
# Called by strongSwan when a tunnel comes up or goes down: interface and metric as arguments.
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
    for range in 10.20.0.0/16; do
      ip route replace "$range" dev "$interface" metric "$metric" proto static
    done
    ;;
  down-client | down-host)
    rm -f "$marks/$PLUTO_UNIQUEID"
    if [ -z "$(ls -A "$marks" 2>/dev/null)" ]; then
      # shellcheck disable=SC2043 # as above
      for range in 10.20.0.0/16; do
        ip route del "$range" dev "$interface" metric "$metric" proto static || true
      done
    fi
    ;;
esac

#!/bin/bash
# Debian's updates of the day are installed; UPDATES=none leaves the machine as it is.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

if [[ "${UPDATES:-all}" == none ]]; then
  echo "skip updates reason=UPDATES=none"
  exit 0
fi
# A fresh cloud machine runs apt by itself once; two at a time would fail on the lock.
apt="apt-get --quiet --assume-yes -o DPkg::Lock::Timeout=300"
$apt update
$apt -o Dpkg::Options::=--force-confold full-upgrade

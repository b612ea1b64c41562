#!/bin/bash
# Install Debian's current updates; UPDATES=none skips them.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

if [[ "${UPDATES:-all}" == none ]]; then
  echo "skip updates reason=UPDATES=none"
  exit 0
fi
# A fresh cloud instance runs apt once on its own; two at a time would fail on the lock.
apt="apt-get --quiet --assume-yes -o DPkg::Lock::Timeout=300"
$apt update
$apt -o Dpkg::Options::=--force-confold full-upgrade

#!/bin/bash
# Docker and the boot program's one library are installed; nothing happens when they already are.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
# shellcheck source=../versions.env
source "${STAGING:?}/versions.env"

missing=()
for package in "${DOCKER_PACKAGE:?}" "${BOTO3_PACKAGE:?}" ca-certificates; do
  dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if ((${#missing[@]})); then
  apt="apt-get --quiet --assume-yes -o DPkg::Lock::Timeout=300"
  $apt update
  $apt install --no-install-recommends "${missing[@]}"
fi
# The socket as well: the boot unit waits on it rather than on the daemon.
systemctl enable docker.socket docker.service

#!/bin/bash
# Install Docker and the boot program's one library where they are missing, and configure Docker.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
# shellcheck source=../versions.env
source "${STAGING:?}/versions.env"

# Before Docker, which starts when it is installed. live-restore: containers keep running while the daemon restarts, so
# that its crash costs no request. The drop-in of its unit is explained in its file.
install -D -m 0644 "$STAGING/docker/daemon.json" /etc/docker/daemon.json
install -D -m 0644 "$STAGING/docker/service.conf" /etc/systemd/system/docker.service.d/20-bluegreen.conf

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

#!/bin/bash
# Remove everything that belongs to this one instance or build.
set -euo pipefail

rm -rf "${STAGING:?}"
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
rm -f /etc/ssh/ssh_host_*  # cloud-init creates new ones on each instance
# Packer's key for this build, and with it the only way in: instances are reached by Session Manager, or not at all.
find /root/.ssh /home/*/.ssh -name authorized_keys -delete 2>/dev/null || true
if command -v cloud-init >/dev/null; then cloud-init clean --logs; fi
# Empty, not missing: each instance gets its own id, and systemd does not treat it as a first boot.
truncate --size 0 /etc/machine-id
rm -rf /var/log/journal/* /var/lib/bluegreen /tmp/* /var/tmp/* /root/.bash_history /home/*/.bash_history
find /var/log -type f -exec truncate --size 0 {} +

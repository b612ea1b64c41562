#!/bin/bash
# Install the boot program and enable its units, without starting them.
set -euo pipefail

install -d -m 0755 /opt/bluegreen/boot /etc/systemd/system
rm -rf /opt/bluegreen/boot/*
install -m 0644 "${STAGING:?}"/boot/*.py /opt/bluegreen/boot/
install -m 0644 "$STAGING"/units/*.service /etc/systemd/system/
# Compiled now: otherwise each new instance would do it during its boot.
/usr/bin/python3 -m compileall -q /opt/bluegreen/boot
systemctl enable bluegreen-boot.service bluegreen-drain.service bluegreen-logs.service bluegreen-watch.service

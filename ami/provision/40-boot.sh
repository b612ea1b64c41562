#!/bin/bash
# The boot program and its units are in place and enabled; nothing of them has run.
set -euo pipefail

install -d -m 0755 /opt/bluegreen/boot /etc/systemd/system
rm -rf /opt/bluegreen/boot/*
install -m 0644 "${STAGING:?}"/boot/*.py /opt/bluegreen/boot/
install -m 0644 "$STAGING"/units/*.service /etc/systemd/system/
# Compiled now: each new machine would do it again, within the time that users wait for.
/usr/bin/python3 -m compileall -q /opt/bluegreen/boot
systemctl enable bluegreen-boot.service bluegreen-drain.service bluegreen-logs.service bluegreen-watch.service

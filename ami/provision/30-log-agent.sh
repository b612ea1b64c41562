#!/bin/bash
# Install the CloudWatch agent and verify its signature; an empty LOG_AGENT_URL skips it.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
# shellcheck source=../versions.env
source "${STAGING:?}/versions.env"

if [[ -z "${LOG_AGENT_URL:-}" ]]; then
  echo "skip log agent reason=LOG_AGENT_URL is empty"
  exit 0
fi
if [[ -x /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl ]]; then
  echo "keep log agent reason=already installed"
  exit 0
fi
apt="apt-get --quiet --assume-yes -o DPkg::Lock::Timeout=300"
$apt update
# Debian 12 keeps the system's log in the journal alone, which the agent can't read: rsyslog writes it to a file.
$apt install --no-install-recommends curl gnupg "${LOG_SOURCE_PACKAGE:?}"

work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
download() { curl --fail --silent --show-error --location --proto '=https' --retry 4 --max-time 300 --output "$1" "$2"; }
download "$work/agent.deb" "$LOG_AGENT_URL"
download "$work/agent.deb.sig" "$LOG_AGENT_URL.sig"
download "$work/key.gpg" "${LOG_AGENT_KEY_URL:?}"

export GNUPGHOME=$work/gnupg
mkdir --mode 0700 "$GNUPGHOME"
gpg --batch --quiet --import "$work/key.gpg"
# VALIDSIG ends with the primary key's fingerprint: a good signature by any other key is not accepted.
if ! gpg --batch --status-fd 1 --verify "$work/agent.deb.sig" "$work/agent.deb" \
  | grep -q "^\[GNUPG:\] VALIDSIG .*${LOG_AGENT_KEY_FINGERPRINT:?}\$"; then
  echo "log agent $LOG_AGENT_URL: not signed by the key $LOG_AGENT_KEY_FINGERPRINT" >&2
  exit 1
fi
dpkg --install "$work/agent.deb"
# The unit bluegreen-logs starts it when the log group is known.
systemctl disable amazon-cloudwatch-agent.service

"""Whether this machine can play the VPN at all, and who does the encryption."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from rehearsal.host.install import FOR_VPN, Host, missing

TUN = Path("/dev/net/tun")
# In a namespace that is gone at once: loads no state into the host's own kernel tables.
TRY_ESP = (
    "ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 1 mode tunnel"
    " aead 'rfc4106(gcm(aes))' 0x000102030405060708090a0b0c0d0e0f10111213 128"
)
LIMIT_S = 20


def reason_against(host: Host | None = None) -> str | None:
    """Why the VPN can't be played here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not TUN.exists():
        return f"ESP in userspace needs {TUN}, which this machine has not"
    if lacking := missing(host or Host(), FOR_VPN):
        return f"missing: {', '.join(tool.program for tool in lacking)}"
    done = _apart("ip rule add from 192.0.2.1 blackhole")
    return None if done.returncode == 0 else f"no network namespace can be used: {done.stderr.strip()}"


def kernel_has_esp() -> bool:
    """Whether the kernel takes an ESP association with AES-GCM."""
    return _apart(TRY_ESP).returncode == 0


def _apart(command: str) -> subprocess.CompletedProcess[str]:
    argv = ["unshare", "--net", "sh", "-c", command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S, check=False)

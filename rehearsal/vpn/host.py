"""Host support for the VPN rehearsal: root, TUN device, tools, and ESP in the kernel."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from rehearsal.host.install import FOR_VPN, Host, missing

TUN = Path("/dev/net/tun")
# In a temporary namespace: the host's own kernel tables are not changed.
TRY_ESP = (
    "ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 1 mode tunnel"
    " aead 'rfc4106(gcm(aes))' 0x000102030405060708090a0b0c0d0e0f10111213 128"
)
TIMEOUT_S = 20


def unsupported_reason(host: Host | None = None) -> str | None:
    """Why the VPN rehearsal can't run here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not TUN.exists():
        return f"ESP in userspace needs {TUN}, which this host does not have"
    if absent := missing(host or Host(), FOR_VPN):
        return f"missing: {', '.join(tool.program for tool in absent)}"
    done = _in_namespace("ip rule add from 192.0.2.1 blackhole")
    return None if done.returncode == 0 else f"network namespaces can't be used: {done.stderr.strip()}"


def kernel_has_esp() -> bool:
    """Whether the kernel supports ESP with AES-GCM."""
    return _in_namespace(TRY_ESP).returncode == 0


def _in_namespace(command: str) -> subprocess.CompletedProcess[str]:
    argv = ["unshare", "--net", "sh", "-c", command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)

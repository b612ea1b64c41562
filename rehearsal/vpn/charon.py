"""strongSwan daemon in a network namespace, with its own control socket and /run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rehearsal.host import commands
from rehearsal.host.commands import ToolError
from rehearsal.host.sandbox import Process, Sandbox, SandboxError
from rehearsal.vpn.namespaces import Namespace

DAEMON = "/usr/lib/ipsec/charon"
READY_S, COMMAND_S = 20.0, 20.0
# ESP in userspace on every host, for comparable figures. Its plugin must be listed before kernel-netlink, which would
# handle ESP as well.
PLUGINS = (
    "random nonce openssl aes sha1 sha2 hmac pem pkcs1 x509 pubkey gmp curve25519 kdf"
    " kernel-libipsec kernel-netlink socket-default vici updown"
)
ESTABLISHED = re.compile(r"^(\S+): #(\d+), ESTABLISHED", re.MULTILINE)


def settings(socket: Path, *, included: Path | None = None, retransmission: str = "") -> str:
    """strongswan.conf: the rendered file of the gateway, then what two daemons on one host need."""
    include = f"include {included}\n" if included else ""
    return f"""\
{include}charon {{
  load_modular = no
  load = {PLUGINS}
  {retransmission}
  plugins {{
    vici {{
      socket = unix://{socket}
    }}
  }}
  filelog {{
    stderr {{
      default = 1
      flush_line = yes
      ike_name = yes
    }}
  }}
}}
"""


@dataclass(frozen=True, kw_only=True)
class Charon:
    """A running daemon; `folder` has its files, among them swanctl.conf."""

    process: Process
    namespace: Namespace
    folder: Path
    socket: Path

    @classmethod
    def start(
        cls,
        sandbox: Sandbox,
        namespace: Namespace,
        folder: Path,
        *,
        retransmission: str = "",
        included: Path | None = None,
    ) -> Charon:
        """Start the daemon and wait until it is ready. `retransmission`: unless the `included` file has it."""
        name = f"charon-{namespace.name}"
        socket, config = sandbox.sockets / f"{name}.vici", folder / "charon.conf"
        config.write_text(settings(socket, included=included, retransmission=retransmission))
        private = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs tmpfs /run && exec {DAEMON}"]
        process = sandbox.start(name, namespace.argv(*private), {"STRONGSWAN_CONF": str(config)}, grace=2.0)
        charon = cls(process=process, namespace=namespace, folder=folder, socket=socket)
        sandbox.wait_ready(process, charon._not_ready, what=f"strongSwan of {namespace.name}", deadline=READY_S)
        return charon

    def control(self, *arguments: str, timeout: float = COMMAND_S) -> str:
        """Output of `swanctl …`. Raises ToolError."""
        argv = ["swanctl", *arguments, "--uri", f"unix://{self.socket}"]
        return commands.run(argv, timeout=timeout, env={"STRONGSWAN_CONF": str(self.folder / "charon.conf")})

    def load(self) -> None:
        """Load connections and keys, and start the tunnels that are configured to."""
        self.control("--load-all", "--noprompt", "--clear", "--file", str(self.folder / "swanctl.conf"))

    def load_keys(self) -> None:
        """Replace the keys: established tunnels keep running until their next authentication."""
        self.control("--load-creds", "--noprompt", "--clear", "--file", str(self.folder / "swanctl.conf"))

    def established(self) -> dict[str, int]:
        """Tunnel name to the number of its newest established IKE association."""
        numbers: dict[str, int] = {}
        for name, number in ESTABLISHED.findall(self.control("--list-sas")):
            numbers[name] = max(int(number), numbers.get(name, 0))
        return numbers

    def _not_ready(self) -> str | None:
        if not self.socket.exists():
            return f"no {self.socket.name} yet"
        try:
            self.control("--stats", timeout=5)
        except (ToolError, SandboxError) as error:
            return str(error)
        return None

"""One strongSwan daemon in one network namespace, with a control socket and a /run of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rehearsal.host import commands
from rehearsal.host.commands import CommandError
from rehearsal.host.sandbox import Ground, GroundError, Process
from rehearsal.vpn.namespaces import Namespace

DAEMON = "/usr/lib/ipsec/charon"
READY_S, COMMAND_S = 20.0, 20.0
# ESP in userspace everywhere, whatever the kernel can, so that the figures of two machines compare. Its plugin must
# come before kernel-netlink, which would take ESP for itself.
PLUGINS = (
    "random nonce openssl aes sha1 sha2 hmac pem pkcs1 x509 pubkey gmp curve25519 kdf"
    " kernel-libipsec kernel-netlink socket-default vici updown"
)
ESTABLISHED = re.compile(r"^(\S+): #(\d+), ESTABLISHED", re.MULTILINE)


def settings(socket: Path, *, included: Path | None = None, patience: str = "") -> str:
    """strongswan.conf: what the gateway's own says, then what differs because two daemons share a machine."""
    include = f"include {included}\n" if included else ""
    return f"""\
{include}charon {{
  load_modular = no
  load = {PLUGINS}
  {patience}
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
    """A running daemon. Its files, swanctl.conf among them, lie in `folder`."""

    process: Process
    namespace: Namespace
    folder: Path
    socket: Path

    @classmethod
    def start(
        cls, ground: Ground, namespace: Namespace, folder: Path, *, patience: str = "", included: Path | None = None
    ) -> Charon:
        """Waits until it answers. `patience`: lines on retransmission, unless the `included` file has them."""
        name = f"charon-{namespace.name}"
        socket, config = ground.sockets / f"{name}.vici", folder / "charon.conf"
        config.write_text(settings(socket, included=included, patience=patience))
        private = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs tmpfs /run && exec {DAEMON}"]
        process = ground.start(name, namespace.argv(*private), {"STRONGSWAN_CONF": str(config)}, grace=2.0)
        charon = cls(process=process, namespace=namespace, folder=folder, socket=socket)
        ground.wait_ready(process, charon._silent, what=f"strongSwan of {namespace.name}", deadline=READY_S)
        return charon

    def control(self, *arguments: str, limit: float = COMMAND_S) -> str:
        """What `swanctl …` says; raises CommandError when it fails."""
        argv = ["swanctl", *arguments, "--uri", f"unix://{self.socket}"]
        return commands.run(argv, limit=limit, env={"STRONGSWAN_CONF": str(self.folder / "charon.conf")})

    def load(self) -> None:
        """Connections and keys; those that start by themselves do."""
        self.control("--load-all", "--noprompt", "--clear", "--file", str(self.folder / "swanctl.conf"))

    def load_keys(self) -> None:
        """The keys alone, in place of those before: what stands goes on until it proves itself anew."""
        self.control("--load-creds", "--noprompt", "--clear", "--file", str(self.folder / "swanctl.conf"))

    def established(self) -> dict[str, int]:
        """Tunnel -> number of its newest IKE association that stands."""
        found: dict[str, int] = {}
        for name, number in ESTABLISHED.findall(self.control("--list-sas")):
            found[name] = max(int(number), found.get(name, 0))
        return found

    def _silent(self) -> str | None:
        if not self.socket.exists():
            return f"no {self.socket.name} yet"
        try:
            self.control("--stats", limit=5)
        except (CommandError, GroundError) as error:
            return str(error)
        return None

"""How long each end waits for a silent peer: that, and little else, is how long a failover takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scripts.vpn_render import Connection


@dataclass(frozen=True, kw_only=True)
class Patience:
    """`interval`: seconds of silence before a peer is asked, None as the connection says.

    `office` and `cloud` are strongSwan's words for how often, and how long, it is asked; empty for the office is what
    was rendered for it. A failover must take less than `limit` seconds.
    """

    interval: int | None
    office: str
    cloud: str
    limit: float

    def applied(self, connection: Connection) -> Connection:
        if self.interval is None:
            return connection
        first, second = (replace(tunnel, dpd_interval=self.interval) for tunnel in connection.tunnels)
        return replace(connection, tunnels=(first, second))


def _asked(timeout: float, tries: int) -> str:
    """The first question and so many more, each `timeout` seconds after the one before."""
    return f"retransmit_timeout = {timeout:.1f}\n  retransmit_base = 1.0\n  retransmit_tries = {tries}"


# Asked after 2 s, given up after 4 more: quick enough for a rehearsal with people watching.
SHORT = Patience(interval=2, office=_asked(1, 3), cloud=_asked(1, 3), limit=10.0)
# The office as rendered: 10 s, and 26 more. AWS's end asks every 10 s, and gives up after 30, its least.
REAL = Patience(interval=None, office="", cloud=_asked(10, 2), limit=60.0)

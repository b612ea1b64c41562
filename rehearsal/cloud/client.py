"""What the rehearsal asks of a running cloud, in words of its own: of machines, calls, faults, notices."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rehearsal.cloud.boot_record import boot
from rehearsal.cloud.notification import Notice

TIMEOUT_S = 10


class RefusedError(Exception):
    """What was asked can't be done; the cloud says why."""


@dataclass(frozen=True, kw_only=True)
class CloudClient:
    """`control` is the URL of that name in the cloud's ready file."""

    control: str

    def register_image(self, ami: str, image: str) -> None:
        """From now on, machines of this AMI are containers of this image."""
        self._ask("POST", "images", {"ami": ami, "image": image})

    def state(self) -> dict[str, Any]:
        """`instances` (present), `gone` (terminated), `images`, `calls`; see roster.row for an instance."""
        return self._ask("GET", "state")

    def machines(self) -> list[dict[str, Any]]:
        return list(self.state()["instances"])

    def boots(self) -> list[dict[str, Any]]:
        """report.json's `boots`: every boot that wrote its record, those of terminated machines first."""
        self._ask("POST", "boots")
        state = self.state()
        return [found for row in (*state["gone"], *state["instances"]) if (found := boot(row))]

    def refresh_boots(self, instances: Sequence[str]) -> None:
        """Have the boot records of these instances read again; the states after this one hold them."""
        self._ask("POST", "boots", {"instances": list(instances)})

    def write_calls(self) -> int:
        """How many calls so far have changed the account, without those that machines made themselves."""
        state = self.state()
        machines = {row["address"] for row in (*state["gone"], *state["instances"])}
        return sum(call["count"] for call in state["calls"] if call["writes"] and call["caller"] not in machines)

    def set_fault(
        self, service: str, mode: str, *, seconds: float = 0.0, addresses: Sequence[str] = (), color: str = ""
    ) -> None:
        """See faults.Fault; it takes the place of one of the same service that hits the same callers.

        Raises RefusedError, naming the value and what is allowed.
        """
        fault = {"service": service, "mode": mode, "seconds": seconds, "addresses": list(addresses), "color": color}
        self._ask("POST", "faults", fault)

    def clear_faults(self) -> None:
        """Answers that a slow fault holds back go out at once."""
        self._ask("DELETE", "faults")

    def faults(self) -> list[dict[str, Any]]:
        """Those in force: as given, with `requests` that it has hit and `first`, when (ISO 8601), or None."""
        return list(self._ask("GET", "faults")["faults"])

    def set_zones_gone(self, *zones: str) -> None:
        """Groups launch nothing in these availability zones from now on, and in all others again."""
        self._ask("POST", "zones", {"gone": list(zones)})

    def notices(self, since: datetime | None = None) -> list[Notice]:
        """Every message published to a topic, or those from that moment on, in their order."""
        rows = self._ask("GET", "notices")["notices"]
        told = [_notice(row) for row in rows]
        return [notice for notice in told if since is None or notice.time >= since]

    def notices_after(self, number: int) -> list[Notice]:
        """Those published since the one of this number."""
        rows = self._ask("GET", f"notices/{number}")["notices"]
        return [_notice(row) for row in rows]

    def set_alarm_scale(self, scale: float) -> None:
        """From now on 60 seconds of the alarms' periods count as 60 / scale; 1 to 60, and 1 at first.

        Raises RefusedError.
        """
        self._ask("POST", "time-scale", {"alarms": scale})

    def gaps(self) -> list[dict[str, str]]:
        """What the rehearsal's AWS has in moto's place, and why: report.json's `gaps`."""
        return list(self._ask("GET", "gaps")["gaps"])

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.control}/{path}", data=data, method=method)  # noqa: S310 - our own
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
                answer: dict[str, Any] = json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise RefusedError(json.loads(error.read())["error"]) from error
        return answer


def _notice(row: dict[str, Any]) -> Notice:
    typed = {"time": datetime.fromisoformat(row["time"]), "undelivered": tuple(row["undelivered"])}
    return Notice(**row | typed)

"""Client of the AWS emulator's control API: instances, boot records, API calls, faults, SNS messages."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rehearsal.cloud.boot_record import boot_entry
from rehearsal.cloud.sns_message import SnsMessage

TIMEOUT_S = 10


class ControlError(Exception):
    """The emulator refused a control request; the message holds its reason."""


@dataclass(frozen=True, kw_only=True)
class CloudClient:
    """`control` is the URL of that name in the emulator's ready file."""

    control: str

    def register_image(self, ami: str, image: str) -> None:
        """From now on, instances of this AMI are containers of this image."""
        self._request("POST", "images", {"ami": ami, "image": image})

    def state(self) -> dict[str, Any]:
        """`instances` and `terminated` (rows of instance_rows.row), `images`, `last_error`, `calls`."""
        return self._request("GET", "state")

    def instances(self) -> list[dict[str, Any]]:
        return list(self.state()["instances"])

    def boots(self) -> list[dict[str, Any]]:
        """report.json's `boots`: every boot that wrote its record, those of terminated instances first."""
        self._request("POST", "boots")
        state = self.state()
        return [entry for row in (*state["terminated"], *state["instances"]) if (entry := boot_entry(row))]

    def refresh_boot_records(self, instance_ids: Sequence[str]) -> None:
        """Have the boot records of these instances read again, for later calls of `state`."""
        self._request("POST", "boots", {"instances": list(instance_ids)})

    def write_calls(self) -> int:
        """Number of API calls so far that changed the account, without those of the instances themselves."""
        state = self.state()
        own = {row["address"] for row in (*state["terminated"], *state["instances"])}
        return sum(call["count"] for call in state["calls"] if call["writes"] and call["caller"] not in own)

    def set_fault(
        self, service: str, mode: str, *, seconds: float = 0.0, addresses: Sequence[str] = (), color: str = ""
    ) -> None:
        """Set an AwsFault; it replaces one of the same service, addresses and color.

        Raises ControlError, naming the value and what is allowed.
        """
        fault = {"service": service, "mode": mode, "seconds": seconds, "addresses": list(addresses), "color": color}
        self._request("POST", "faults", fault)

    def clear_faults(self) -> None:
        """Clear all faults; responses that a slow fault delays are sent at once."""
        self._request("DELETE", "faults")

    def faults(self) -> list[dict[str, Any]]:
        """Active faults, each with `requests` (number affected) and `first` (time of the first, ISO 8601, or None)."""
        return list(self._request("GET", "faults")["faults"])

    def set_failed_zones(self, *zones: str) -> None:
        """Make launches fail in exactly these availability zones."""
        self._request("POST", "zones", {"failed": list(zones)})

    def sns_messages(self, since: datetime | None = None) -> list[SnsMessage]:
        """Messages published to any topic, all or those since a time, in order of publication."""
        messages = [_sns_message(row) for row in self._request("GET", "messages")["messages"]]
        return [message for message in messages if since is None or message.time >= since]

    def sns_messages_after(self, number: int) -> list[SnsMessage]:
        """Messages published after the one of this number."""
        return [_sns_message(row) for row in self._request("GET", f"messages/{number}")["messages"]]

    def set_alarm_scale(self, scale: float) -> None:
        """Shorten alarms' periods by this factor, 1 to 60: 60 seconds count as 60 / scale. The default is 1.

        Raises ControlError.
        """
        self._request("POST", "time-scale", {"alarms": scale})

    def gaps(self) -> list[dict[str, str]]:
        """Differences between the emulator, moto and AWS, with reasons: report.json's `gaps`."""
        return list(self._request("GET", "gaps")["gaps"])

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.control}/{path}", data=data, method=method)  # noqa: S310 - our own
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
                content: dict[str, Any] = json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise ControlError(json.loads(error.read())["error"]) from error
        return content


def _sns_message(row: dict[str, Any]) -> SnsMessage:
    typed = {"time": datetime.fromisoformat(row["time"]), "undelivered": tuple(row["undelivered"])}
    return SnsMessage(**row | typed)

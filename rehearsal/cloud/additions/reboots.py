"""RebootInstances reaches the machine behind the instance."""

from __future__ import annotations

from collections import deque
from typing import Any

from moto.ec2.models.instances import Instance

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import put_into

GAPS = [
    Gap(service="ec2", action="RebootInstances", reason="moto only sets the state; here systemd starts anew"),
    Gap(service="ec2", action="StopInstances, StartInstances", reason="only the state changes: machines run on"),
]

ASKED: deque[str] = deque()  # instance ids, for the controller

_reboot_plain = Instance.reboot


def extend() -> None:
    put_into(Instance, reboot=_reboot)


def _reboot(self: Any) -> None:
    _reboot_plain(self)
    ASKED.append(self.id)

"""RebootInstances: requests for the controller, which restarts the container."""

from __future__ import annotations

from collections import deque
from typing import Any

from moto.ec2.models.instances import Instance

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import replace_methods

GAPS = [
    Gap(service="ec2", action="RebootInstances", reason="moto only sets the state; here the container restarts"),
    Gap(
        service="ec2", action="StopInstances, StartInstances", reason="only the state changes: containers keep running"
    ),
]

REQUESTED_REBOOTS: deque[str] = deque()  # instance ids, for the controller

_reboot_plain = Instance.reboot


def extend() -> None:
    replace_methods(Instance, reboot=_reboot)


def _reboot(self: Any) -> None:
    _reboot_plain(self)
    REQUESTED_REBOOTS.append(self.id)

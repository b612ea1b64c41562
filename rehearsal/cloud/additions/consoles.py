"""GetConsoleOutput shows what the machine behind an instance wrote to its console."""

from __future__ import annotations

import base64
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.responses.general import General

from rehearsal.cloud.additions.gap import Facts, Gap
from rehearsal.cloud.additions.patching import put_into

GAPS = [
    Gap(
        service="ec2",
        action="GetConsoleOutput",
        reason="moto shows one text for all; here it is the machine's own, without a kernel's lines and without delay",
    ),
]

MOST_CHARACTERS = 64 << 10  # EC2 keeps the last 64 KB


def extend(facts: Facts) -> None:
    def get_console_output(self: Any) -> Any:
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        output = facts.console(instance.id)[-MOST_CHARACTERS:]
        encoded = base64.b64encode(output.encode()).decode()
        return ActionResult({"InstanceId": instance.id, "Timestamp": utcnow(), "Output": encoded})

    put_into(General, get_console_output=get_console_output)

"""GetConsoleOutput with the console output of the instance's container."""

from __future__ import annotations

import base64
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.responses.general import General

from rehearsal.cloud.additions.gap import EmulatorContext, Gap
from rehearsal.cloud.additions.patching import replace_methods

GAPS = [
    Gap(
        service="ec2",
        action="GetConsoleOutput",
        reason="moto returns one text for all; here it is the container's, without kernel lines and without delay",
    ),
]

MAX_CHARACTERS = 64 << 10  # EC2 keeps the last 64 KB


def extend(context: EmulatorContext) -> None:
    def get_console_output(self: Any) -> Any:
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        output = context.console(instance.id)[-MAX_CHARACTERS:]
        encoded = base64.b64encode(output.encode()).decode()
        return ActionResult({"InstanceId": instance.id, "Timestamp": utcnow(), "Output": encoded})

    replace_methods(General, get_console_output=get_console_output)

"""Evidence of a failed deploy: target health, scaling activities, console output and boot logs of its instances."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ami.boot.messages import BootFailed, Kind, log_stream
from components.policy_documents import log_group
from fleet.colors import Color
from fleet.state import ColorState, Group, client
from fleet.waiting import TimedOut, wait_until

CONSOLE_LINES = 15
ACTIVITIES = 5
EVENTS = 20  # of one instance, which logs a crash of its app or of Docker every five minutes at most
LOG_WAIT_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Boots:
    """Boots of one release on one color, in the stack's boot log group."""

    stack: str
    color: Color
    release: str


def boot_failures(session: Any, boots: Boots, instances: Sequence[str]) -> dict[str, BootFailed]:
    """Boot failures that these instances logged, by instance; those that logged none are left out.

    Waits some seconds for the last one: CloudWatch Logs returns new events only after a moment.
    """
    found = dict[str, BootFailed]()

    def missing() -> str | None:
        found.update(_failures(session, boots, [one for one in instances if one not in found]))
        return None if not instances or instances[-1] in found else f"{instances[-1]} has logged no failed boot"

    with suppress(TimedOut):
        wait_until(missing, what="boot failures", deadline_s=LOG_WAIT_S)
    return {instance: found[instance] for instance in instances if instance in found}


def _failures(session: Any, boots: Boots, instances: Sequence[str]) -> dict[str, BootFailed]:
    from botocore.exceptions import BotoCoreError, ClientError

    logs, group, found = client(session, "logs"), log_group(boots.stack, "boot"), dict[str, BootFailed]()
    for instance in instances:
        with suppress(ClientError, BotoCoreError, ValueError, KeyError, TypeError):
            stream = log_stream(boots.color, boots.release, instance)
            events = logs.get_log_events(logGroupName=group, logStreamName=stream, limit=EVENTS, startFromHead=False)
            # The stream holds crashes after the boot too.
            for raw in (json.loads(event["message"]) for event in events["events"]):
                if raw["kind"] == Kind.BOOT_FAILED:
                    found[instance] = BootFailed.parse(raw)
    return found


def gather(session: Any, side: ColorState) -> list[str]:
    """Lines for an operator; what can't be read is left out, as the deploy's own error matters more."""
    from botocore.exceptions import BotoCoreError, ClientError

    lines = []
    for group in side.groups:
        lines += [f"{group.name}: release {group.release}, desired {group.desired}, {group.healthy} healthy"]
        for read in (_instances, _activities, _consoles):
            with suppress(ClientError, BotoCoreError):
                lines += read(session, group)
    return lines or [f"{side.color} has no Auto Scaling group"]


def console(session: Any, instance: str) -> list[str]:
    """The last lines of an instance's console, which EC2 keeps for a while after it is terminated."""
    from botocore.exceptions import BotoCoreError, ClientError

    with suppress(ClientError, BotoCoreError):
        output = client(session, "ec2").get_console_output(InstanceId=instance).get("Output", "")
        if tail := [line for line in plain(output) if line.strip()][-CONSOLE_LINES:]:
            return [f"  console of {instance}:", *(f"    {line}" for line in tail)]
    return []


def plain(output: str) -> list[str]:
    """A console's lines without the terminal escape codes that systemd and the kernel write."""
    from rich.control import strip_control_codes
    from rich.text import Text

    return [strip_control_codes(line) for line in Text.from_ansi(output.replace("\r\n", "\n")).plain.splitlines()]


def _instances(_session: Any, group: Group) -> list[str]:
    return [f"  {one.id}: {one.lifecycle}, {one.health} {one.reason}".rstrip() for one in group.instances]


def _activities(session: Any, group: Group) -> list[str]:
    scaling = client(session, "autoscaling")
    activities = scaling.describe_scaling_activities(AutoScalingGroupName=group.name, MaxRecords=ACTIVITIES)[
        "Activities"
    ]
    return [f"  {one['StatusCode']}: {one.get('StatusMessage') or one.get('Description', '')}" for one in activities]


def _consoles(session: Any, group: Group) -> list[str]:
    unhealthy = (one.id for one in group.instances if not one.is_healthy)
    return [line for instance in unhealthy for line in console(session, instance)]

"""What is known of machines that didn't become ready: health, the group's own activities, their own last words."""

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
EVENTS = 20  # of one machine; it tells an end of its app or of Docker every five minutes at most
PATIENCE_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Boots:
    """The boots of one release on one color, as the stack's boot log group keeps them."""

    stack: str
    color: Color
    release: str


def boot_failures(session: Any, boots: Boots, instances: Sequence[str]) -> dict[str, BootFailed]:
    """What these machines said of their failed boots, by instance; those that said nothing are left out.

    The last of them is given some seconds: what was just written to a log can be read a moment later.
    """
    found = dict[str, BootFailed]()

    def silent() -> str | None:
        found.update(_failures(session, boots, [one for one in instances if one not in found]))
        return None if not instances or instances[-1] in found else f"{instances[-1]} says nothing"

    with suppress(TimedOut):
        wait_until(silent, what="boot failures", deadline_s=PATIENCE_S)
    return {instance: found[instance] for instance in instances if instance in found}


def _failures(session: Any, boots: Boots, instances: Sequence[str]) -> dict[str, BootFailed]:
    from botocore.exceptions import BotoCoreError, ClientError

    logs, group, found = client(session, "logs"), log_group(boots.stack, "boot"), dict[str, BootFailed]()
    for instance in instances:
        with suppress(ClientError, BotoCoreError, ValueError, KeyError, TypeError):
            stream = log_stream(boots.color, boots.release, instance)
            events = logs.get_log_events(logGroupName=group, logStreamName=stream, limit=EVENTS, startFromHead=False)
            # Crashes after the boot stand there too.
            for raw in (json.loads(event["message"]) for event in events["events"]):
                if raw["kind"] == Kind.BOOT_FAILED:
                    found[instance] = BootFailed.parse(raw)
    return found


def gather(session: Any, side: ColorState) -> list[str]:
    """Lines for a person; what can't be had is left out, as this is told beside a failure."""
    from botocore.exceptions import BotoCoreError, ClientError

    lines = []
    for group in side.groups:
        lines += [f"{group.name}: release {group.release}, wants {group.desired}, {group.healthy} healthy"]
        for tell in (_machines, _activities, _consoles):
            with suppress(ClientError, BotoCoreError):
                lines += tell(session, group)
    return lines or [f"{side.color} has no group of machines"]


def console(session: Any, instance: str) -> list[str]:
    """The last lines of a machine's console, which EC2 keeps for a while after the machine is gone."""
    from botocore.exceptions import BotoCoreError, ClientError

    with suppress(ClientError, BotoCoreError):
        output = client(session, "ec2").get_console_output(InstanceId=instance).get("Output", "")
        if tail := [line for line in plain(output) if line.strip()][-CONSOLE_LINES:]:
            return [f"  console of {instance}:", *(f"    {line}" for line in tail)]
    return []


def plain(output: str) -> list[str]:
    """A console's lines without the colors and moves of a terminal, which systemd and the kernel write there."""
    from rich.control import strip_control_codes
    from rich.text import Text

    return [strip_control_codes(line) for line in Text.from_ansi(output.replace("\r\n", "\n")).plain.splitlines()]


def _machines(_session: Any, group: Group) -> list[str]:
    return [f"  {one.id}: {one.lifecycle}, {one.health} {one.reason}".rstrip() for one in group.instances]


def _activities(session: Any, group: Group) -> list[str]:
    scaling = client(session, "autoscaling")
    told = scaling.describe_scaling_activities(AutoScalingGroupName=group.name, MaxRecords=ACTIVITIES)["Activities"]
    return [f"  {one['StatusCode']}: {one.get('StatusMessage') or one.get('Description', '')}" for one in told]


def _consoles(session: Any, group: Group) -> list[str]:
    ill = (one.id for one in group.instances if not one.is_healthy)
    return [line for instance in ill for line in console(session, instance)]

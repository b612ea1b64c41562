"""What is known of machines that didn't become ready: health, the group's own activities, the last console lines."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from checks.fleet import Group, Side, client

CONSOLE_LINES = 15
ACTIVITIES = 5


def gather(session: Any, side: Side) -> list[str]:
    """Lines for a person; what can't be had is left out, as this is told beside a failure."""
    from botocore.exceptions import BotoCoreError, ClientError

    lines = []
    for group in side.groups:
        lines += [f"{group.name}: release {group.release}, wants {group.desired}, {group.healthy} healthy"]
        for tell in (_machines, _activities, _consoles):
            with suppress(ClientError, BotoCoreError):
                lines += tell(session, group)
    return lines or [f"{side.color} has no group of machines"]


def _machines(_session: Any, group: Group) -> list[str]:
    return [f"  {one.instance}: {one.lifecycle}, {one.health} {one.reason}".rstrip() for one in group.machines]


def _activities(session: Any, group: Group) -> list[str]:
    scaling = client(session, "autoscaling")
    told = scaling.describe_scaling_activities(AutoScalingGroupName=group.name, MaxRecords=ACTIVITIES)["Activities"]
    return [f"  {one['StatusCode']}: {one.get('StatusMessage') or one.get('Description', '')}" for one in told]


def _consoles(session: Any, group: Group) -> list[str]:
    ec2, lines = client(session, "ec2"), list[str]()
    for machine in (one for one in group.machines if not one.is_healthy):
        output = ec2.get_console_output(InstanceId=machine.instance).get("Output", "")
        tail = [line for line in output.splitlines() if line.strip()][-CONSOLE_LINES:]
        lines += [f"  console of {machine.instance}:", *(f"    {line}" for line in tail)] if tail else []
    return lines

"""Private addresses of instances for a smoke test: the ones named, or those of every instance of a color."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from fleet.state import ColorState, client
from scripts.cli.exits import UsageError

INSTANCES = "instances"
APP_PORT = 8080  # the default of the config key containerPort


@dataclass(frozen=True, kw_only=True)
class PrivateAddress:
    """Address and port on which an instance's app listens inside the VPC."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self}"


def parse(text: str) -> PrivateAddress:
    """`10.0.1.5` or `10.0.1.5:8080`; raises UsageError for anything else."""
    address, colon, port = text.partition(":")
    message = f"--private {text}: allowed is a private IPv4 address, perhaps with :PORT, or {INSTANCES}"
    try:
        parsed = IPv4Address(address)
    except AddressValueError:
        raise UsageError(message) from None
    if not parsed.is_private or (colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise UsageError(message)
    return PrivateAddress(address=address, port=int(port) if colon else APP_PORT)


def addresses_of(side: ColorState, session: Any) -> tuple[PrivateAddress, ...]:
    """Addresses of the color's instances in service, sorted; raises UsageError when there is none."""
    instances = [one.id for group in side.groups for one in group.instances if one.lifecycle == "InService"]
    if not instances:
        raise UsageError(f"{side.color} has no instance in service: deploy a release to it first")
    elbv2, ec2 = client(session, "elbv2"), client(session, "ec2")
    port = elbv2.describe_target_groups(TargetGroupArns=[side.target_group_arn])["TargetGroups"][0]["Port"]
    pages = ec2.get_paginator("describe_instances").paginate(InstanceIds=instances)
    found = [one for page in pages for reservation in page["Reservations"] for one in reservation["Instances"]]
    texts = sorted((one["PrivateIpAddress"] for one in found if one.get("PrivateIpAddress")), key=IPv4Address)
    return tuple(PrivateAddress(address=text, port=int(port)) for text in texts)

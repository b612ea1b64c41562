"""The connection that the committed program makes: its `dev` stack with a VPN, brought up in an emulated AWS."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import boto3
import pulumi.automation as auto

from rehearsal.cli import ensure_cli
from rehearsal.environment import LOOPBACK, REGION, STACK, aws_environment, start_cloud
from rehearsal.host.sandbox import Ground
from rehearsal.vpn.addresses import OFFICE_CIDR, OFFICE_IP, VPC_CIDR, new_key
from rehearsal.workspace import Workspace, copy_project
from scripts.vpn_render import Connection, parse_xml

CONFIG = {
    "aws:region": REGION,
    "bluegreen:vpcCidr": VPC_CIDR,
    "bluegreen:vpn.customerGatewayIp": OFFICE_IP,
    "bluegreen:vpn.remoteCidrs[0]": OFFICE_CIDR,
}


def connection(ground: Ground, notify: Callable[[str], None]) -> Connection:
    """As AWS's own document tells it, keys included. The emulator stays, for as long as the ground does."""
    # Machines exist in name only: nobody delivers a release.
    endpoint = start_cloud(ground, "--listen", LOOPBACK)[1]["aws"]
    project = copy_project(ground.folder / "project")
    cli = ensure_cli(notify=notify, environment=ground.environment)
    workspace = Workspace(folder=ground.temporary("pulumi"), project=project, cli=cli)
    workspace.prepare(notify)
    os.environ.update(aws_environment(endpoint) | workspace.environment)
    stack = workspace.create_stack(STACK)
    config = {key: auto.ConfigValue(value) for key, value in CONFIG.items()}
    # Of the config's own, so that the document holds them: AWS leaves those that it makes out of it.
    keys = {f"bluegreen:vpn.presharedKeys[{place}]": auto.ConfigValue(new_key(), secret=True) for place in (0, 1)}
    stack.set_all_config(config | keys, path=True)
    with (ground.folder / "up.log").open("w") as log:
        stack.up(on_output=lambda text: log.write(f"{text.rstrip()}\n"))
    client: Any = boto3.Session(region_name=REGION).client("ec2", endpoint_url=endpoint)
    (found,) = client.describe_vpn_connections()["VpnConnections"]
    return parse_xml(found["CustomerGatewayConfiguration"], office_cidrs=(OFFICE_CIDR,), vpc_cidrs=(VPC_CIDR,))

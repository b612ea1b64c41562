"""VPN connection of the committed program: its `dev` stack with a VPN, created in the AWS emulator."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import boto3
import pulumi.automation as auto

from rehearsal.cli import ensure_cli
from rehearsal.environment import LOOPBACK, REGION, STACK, aws_environment, start_cloud
from rehearsal.host.sandbox import Sandbox
from rehearsal.vpn.addresses import REMOTE_CIDR, REMOTE_IP, VPC_CIDR, new_key
from rehearsal.workspace import Workspace, copy_project
from scripts.vpn.render import Connection, parse_xml

CONFIG = {
    "aws:region": REGION,
    "bluegreen:vpcCidr": VPC_CIDR,
    "bluegreen:vpn.customerGatewayIp": REMOTE_IP,
    "bluegreen:vpn.remoteCidrs[0]": REMOTE_CIDR,
}


def connection(sandbox: Sandbox, notify: Callable[[str], None]) -> Connection:
    """The connection of a new stack, keys included. The emulator runs until the sandbox closes."""
    # No instances: no release is deployed.
    endpoint = start_cloud(sandbox, "--listen", LOOPBACK)[1]["aws"]
    project = copy_project(sandbox.folder / "project")
    cli = ensure_cli(notify=notify, environment=sandbox.environment)
    workspace = Workspace(folder=sandbox.temporary("pulumi"), project=project, cli=cli)
    workspace.prepare(notify)
    os.environ.update(aws_environment(endpoint) | workspace.environment)
    stack = workspace.create_stack(STACK)
    config = {key: auto.ConfigValue(value) for key, value in CONFIG.items()}
    # Keys from the config, which are in the document: AWS omits the keys that it generates.
    keys = {f"bluegreen:vpn.presharedKeys[{index}]": auto.ConfigValue(new_key(), secret=True) for index in (0, 1)}
    stack.set_all_config(config | keys, path=True)
    with (sandbox.folder / "up.log").open("w") as log:
        stack.up(on_output=lambda text: log.write(f"{text.rstrip()}\n"))
    client: Any = boto3.Session(region_name=REGION).client("ec2", endpoint_url=endpoint)
    (described,) = client.describe_vpn_connections()["VpnConnections"]
    return parse_xml(described["CustomerGatewayConfiguration"], remote_cidrs=(REMOTE_CIDR,), vpc_cidrs=(VPC_CIDR,))

"""The connection that the committed program makes: its `dev` stack with a VPN, brought up in an emulated AWS."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import boto3
import pulumi.automation as auto

from rehearsal import engine, pulumi_engine
from rehearsal.ground import Ground
from rehearsal.stage import CLOUD_LIMIT_S, LOOPBACK, REGION, ROOT, STACK
from rehearsal.vpn.plan import OFFICE_CIDR, OFFICE_IP, VPC_CIDR, new_key
from scripts.vpn_render import Connection, parse_xml

CONFIG = {
    "aws:region": REGION,
    "bluegreen:vpcCidr": VPC_CIDR,
    "bluegreen:vpn.customerGatewayIp": OFFICE_IP,
    "bluegreen:vpn.officeCidrs[0]": OFFICE_CIDR,
}


def connection(ground: Ground) -> Connection:
    """As AWS's own document tells it, keys included. The emulator stays, for as long as the ground does."""
    endpoint = _start_cloud(ground)
    os.environ.update(_environment(ground, endpoint))
    stack = engine.create_stack(STACK)
    config = {key: auto.ConfigValue(value) for key, value in CONFIG.items()}
    # Of the config's own, so that the document holds them: AWS leaves those that it makes out of it.
    keys = {f"bluegreen:vpn.presharedKeys[{place}]": auto.ConfigValue(new_key(), secret=True) for place in (0, 1)}
    stack.set_all_config(config | keys, path=True)
    with (ground.folder / "up.log").open("w") as log:
        stack.up(on_output=lambda text: log.write(f"{text.rstrip()}\n"))
    client: Any = boto3.Session(region_name=REGION).client("ec2", endpoint_url=endpoint)
    (found,) = client.describe_vpn_connections()["VpnConnections"]
    return parse_xml(found["CustomerGatewayConfiguration"], office_cidrs=(OFFICE_CIDR,), vpc_cidrs=(VPC_CIDR,))


def _start_cloud(ground: Ground) -> str:
    """The emulator's URL. Machines exist in name only: nobody delivers a release."""
    ready = ground.folder / "cloud.json"
    argv = [sys.executable, "-m", "rehearsal.cloud", "--listen", LOOPBACK]
    argv += ["--state-dir", str(ground.temporary("cloud")), "--ready-file", str(ready)]
    process = ground.start("cloud", argv, cwd=ROOT, grace=10.0)
    reason = f"no {ready.name} yet"
    ground.wait_ready(process, lambda: None if ready.exists() else reason, what="the emulator", deadline=CLOUD_LIMIT_S)
    endpoints: dict[str, str] = json.loads(ready.read_text())
    return endpoints["aws"]


def _environment(ground: Ground, endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "rehearsal",
        "AWS_SECRET_ACCESS_KEY": "rehearsal",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        **pulumi_engine.environment(ground.folder / "stacks"),
    }

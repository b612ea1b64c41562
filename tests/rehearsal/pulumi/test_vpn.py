"""VPN with the Pulumi CLI: creation, no changes afterwards, destruction; pre-shared keys are printed nowhere."""

from __future__ import annotations

import json
import re
from typing import Any

import pulumi.automation as auto
import pytest

from tests.rehearsal.cloud.fleet import Running

from .conftest import OpenStack

# An `up` from nothing waits for AWS's provider, by its own clocks.
LIMIT_S = 900
pytestmark = [pytest.mark.engine, pytest.mark.timeout(LIMIT_S)]

VPN_CONFIG = {
    "bluegreen:vpn.customerGatewayIp": "198.51.100.7",
    "bluegreen:vpn.remoteCidrs[0]": "192.168.0.0/24",
    "bluegreen:vpn.allow[0].port": "22",
    "bluegreen:vpn.gateway": "vgw",
    "bluegreen:protect": "false",
    "bluegreen:forceDestroy": "true",
}
DECLARED_KEYS = ("declared.key_of_tunnel1", "declared.key_of_tunnel2")
KEY_IN_XML = re.compile(r"<pre_shared_key>([^<]+)<")


class EngineOutput:
    """Output of the engine, state and outputs: wherever a key could be printed."""

    def __init__(self, stack: auto.Stack) -> None:
        self.stack, self.lines = stack, list[str]()

    def add(self, text: str) -> None:
        self.lines.append(text)

    def all(self) -> str:
        outputs = {name: value.value for name, value in self.stack.outputs().items() if not value.secret}
        return "\n".join([*self.lines, self._state(), json.dumps(outputs)])

    def _state(self) -> str:
        """As stored: the Automation API's export would decrypt secrets."""
        workspace = self.stack.workspace
        argv = ["stack", "export", "--stack", self.stack.name]
        return str(workspace.pulumi_command.run(argv, workspace.work_dir, workspace.env_vars).stdout)


def connection_of(cloud: Running) -> dict[str, Any]:
    (found,) = cloud.client("ec2").describe_vpn_connections()["VpnConnections"]
    return dict(found)


def keys_of(cloud: Running, connection: dict[str, Any]) -> list[str]:
    """Pre-shared keys from Secrets Manager, or from the configuration document."""
    if arn := connection.get("PreSharedKeyArn"):
        secret = cloud.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
        return list(json.loads(secret).values())
    return KEY_IN_XML.findall(connection["CustomerGatewayConfiguration"])


def assert_unchanged(stack: auto.Stack, output: EngineOutput) -> None:
    """Check that neither a preview nor an update with a refresh has changes."""
    stack.preview(refresh=True, expect_no_changes=True, diff=True, on_output=output.add)
    changes = stack.up(refresh=True, diff=True, on_output=output.add).summary.resource_changes or {}
    assert {str(getattr(op, "value", op)) for op in changes} <= {"same", "read"}


@pytest.mark.parametrize(("routing", "declares_keys"), [("static", True), ("bgp", False)])
def test_a_vpn_is_created_stays_unchanged_and_is_destroyed(
    stack: OpenStack, cloud: Running, routing: str, declares_keys: bool
) -> None:
    vpn = stack("dev")
    secrets = {f"bluegreen:vpn.presharedKeys[{index}]": key for index, key in enumerate(DECLARED_KEYS) if declares_keys}
    vpn.set_all_config(
        {key: auto.ConfigValue(value) for key, value in (VPN_CONFIG | {"bluegreen:vpn.routing": routing}).items()}
        | {key: auto.ConfigValue(value, secret=True) for key, value in secrets.items()},
        path=True,
    )
    output = EngineOutput(vpn)
    vpn.preview(diff=True, on_output=output.add)
    vpn.up(diff=True, on_output=output.add)
    connection = connection_of(cloud)
    assert vpn.outputs()["vpn"].value["connectionId"] == connection["VpnConnectionId"]
    assert_unchanged(vpn, output)
    keys = keys_of(cloud, connection)
    assert len(set(keys)) == 2
    assert set(keys) == set(DECLARED_KEYS) or not declares_keys
    printed = output.all()
    assert [key for key in keys if key in printed] == []
    vpn.destroy(on_output=output.add)
    deployment = vpn.export_stack().deployment
    assert deployment is not None
    assert deployment.get("resources", []) == []
    remaining = cloud.client("ec2").describe_vpn_connections()["VpnConnections"]
    assert {each["State"] for each in remaining} <= {"deleted"}

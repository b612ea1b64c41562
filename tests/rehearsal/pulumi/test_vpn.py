"""The VPN's whole life on Pulumi's own engine: from nothing, unchanged, and to nothing again; its keys seen nowhere."""

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

OFFICE = {
    "bluegreen:vpn.customerGatewayIp": "198.51.100.7",
    "bluegreen:vpn.remoteCidrs[0]": "192.168.0.0/24",
    "bluegreen:vpn.allow[0].port": "22",
    "bluegreen:vpn.gateway": "vgw",
    "bluegreen:protect": "false",
    "bluegreen:forceDestroy": "true",
}
GIVEN_KEYS = ("given.key_of_tunnel1", "given.key_of_tunnel2")
KEY_IN_XML = re.compile(r"<pre_shared_key>([^<]+)<")


class Told:
    """All that the engine said, and what the state holds: where a key could be seen."""

    def __init__(self, stack: auto.Stack) -> None:
        self.stack, self.lines = stack, list[str]()

    def add(self, text: str) -> None:
        self.lines.append(text)

    def all(self) -> str:
        outputs = {name: value.value for name, value in self.stack.outputs().items() if not value.secret}
        return "\n".join([*self.lines, self._state(), json.dumps(outputs)])

    def _state(self) -> str:
        """As it is stored: the Automation API's own export shows what is secret."""
        workspace = self.stack.workspace
        argv = ["stack", "export", "--stack", self.stack.name]
        return str(workspace.pulumi_command.run(argv, workspace.work_dir, workspace.env_vars).stdout)


def connection_of(cloud: Running) -> dict[str, Any]:
    (found,) = cloud.client("ec2").describe_vpn_connections()["VpnConnections"]
    return dict(found)


def keys_of(cloud: Running, connection: dict[str, Any]) -> list[str]:
    """Those that AWS keeps apart, or the document's."""
    if arn := connection.get("PreSharedKeyArn"):
        secret = cloud.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
        return list(json.loads(secret).values())
    return KEY_IN_XML.findall(connection["CustomerGatewayConfiguration"])


def stays(stack: auto.Stack, told: Told) -> None:
    """Neither a preview nor an update after a look at the cloud finds anything to do."""
    stack.preview(refresh=True, expect_no_changes=True, diff=True, on_output=told.add)
    changes = stack.up(refresh=True, diff=True, on_output=told.add).summary.resource_changes or {}
    assert {str(getattr(op, "value", op)) for op in changes} <= {"same", "read"}


@pytest.mark.parametrize(("routing", "given"), [("static", True), ("bgp", False)])
def test_a_vpn_comes_stays_and_goes(stack: OpenStack, cloud: Running, routing: str, given: bool) -> None:
    vpn = stack("dev")
    secrets = {f"bluegreen:vpn.presharedKeys[{place}]": key for place, key in enumerate(GIVEN_KEYS) if given}
    vpn.set_all_config(
        {key: auto.ConfigValue(value) for key, value in (OFFICE | {"bluegreen:vpn.routing": routing}).items()}
        | {key: auto.ConfigValue(value, secret=True) for key, value in secrets.items()},
        path=True,
    )
    told = Told(vpn)
    vpn.preview(diff=True, on_output=told.add)
    vpn.up(diff=True, on_output=told.add)
    made = connection_of(cloud)
    assert vpn.outputs()["vpn"].value["connectionId"] == made["VpnConnectionId"]
    stays(vpn, told)
    keys = keys_of(cloud, made)
    assert len(set(keys)) == 2
    assert set(keys) == set(GIVEN_KEYS) or not given
    seen = told.all()
    assert [key for key in keys if key in seen] == []
    vpn.destroy(on_output=told.add)
    deployment = vpn.export_stack().deployment
    assert deployment is not None
    assert deployment.get("resources", []) == []
    left = cloud.client("ec2").describe_vpn_connections()["VpnConnections"]
    assert {each["State"] for each in left} <= {"deleted"}

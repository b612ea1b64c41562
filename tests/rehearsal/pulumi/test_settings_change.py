"""Every setting changes in a stack with traffic: the account holds what the settings declare, and only that."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pulumi.automation as auto
import pytest
import yaml

from fleet.deployments import ALLOW_RETIRE
from rehearsal.cloud.client import CloudClient
from rehearsal.workspace import Workspace
from tests.rehearsal.cloud.fleet import Running

from .account_inventory import AccountInventory
from .conftest import OpenStack
from .load_balancer_stub import LoadBalancerStub

pytestmark = pytest.mark.engine

PLAIN = {
    "logRetentionDays": ("7", "30"),
    "natGateways": ("none", "single", "per-zone"),
    "zoneCount": ("2", "3"),
    "instanceType": ("t3.small", "t3.medium"),
    "drainTimeout": ("30", "31"),
    "deregistrationDelay": ("30", "0"),
    "containerPort": ("8080", "8081"),
    "healthPath": ("/health", "/ready"),
    "targetCpuPercent": ("60", "50"),
    "flowLogs": ("true", "false"),
    "accessLogs": ("true", "false"),
    "alertEmails": ("[]", '["ops@example.org"]'),
    "ingressCidrs": ('["0.0.0.0/0"]', '["192.0.2.0/24", "198.51.100.0/24"]'),
    "aws:defaultTags": ('{"tags": {"Project": "bluegreen"}}', '{"tags": {"Project": "other", "Owner": "ann"}}'),
}


# These replace the fleets of the same releases: a gate refuses to shift traffic while old and new instances coexist.
REPLACING_FLEETS = {"drainTimeout", "healthPath"}
# It replaces the target groups, which would shift traffic in the same run.
FIXED_WITH_TRAFFIC = {"containerPort"}


@dataclass
class DesiredConfig:
    """Desired releases and weights, by the program's own rules: a color with traffic keeps its release."""

    active: str = "blue"
    canary: int = 0
    releases: dict[str, str] = field(default_factory=lambda: {"blue": "", "green": ""})

    @property
    def idle(self) -> str:
        return {"blue": "green", "green": "blue"}[self.active]

    def deploy(self, number: int) -> None:
        color = self.idle if self.releases[self.active] else self.active
        if not self.canary:
            self.releases[color] = f"v{number}"

    def retire(self, _: int) -> None:
        if not self.canary:
            self.releases[self.idle] = ""

    def cut_over(self, _: int) -> None:
        if self.releases[self.idle]:
            self.active, self.canary = self.idle, 0

    def start_canary(self, number: int) -> None:
        if self.releases[self.idle]:
            self.canary = number

    def weights(self) -> dict[str, int]:
        return {self.active: 100 - self.canary, self.idle: self.canary} if self.releases[self.active] else {}


CHANGED = {key: values[1] for key, values in PLAIN.items()}
# Every value changes while the first color has the traffic, and again while both have; then the other has all of it.
STEPS: list[tuple[Callable[[DesiredConfig, int], None], int, dict[str, str]]] = [
    (DesiredConfig.deploy, 1, {}),
    (DesiredConfig.deploy, 2, CHANGED),
    (DesiredConfig.start_canary, 10, {key: values[0] for key, values in PLAIN.items()}),
    (DesiredConfig.cut_over, 0, {"zoneCount": "3", "natGateways": "per-zone"}),
    (DesiredConfig.retire, 0, {"zoneCount": "2"}),
]


def write_config(workspace: Workspace, desired: DesiredConfig, values: dict[str, str], image: str) -> None:
    """As a person edits the stack's file: lists and objects as such."""
    file = workspace.project / "Pulumi.dev.yaml"
    content = yaml.safe_load(file.read_text())
    config: dict[str, Any] = content["config"]
    for key, value in values.items():
        full = key if ":" in key else f"bluegreen:{key}"
        config[full] = json.loads(value) if value[:1] in "[{" else value
    for color, release in desired.releases.items():
        config.pop(f"bluegreen:{color}", None)
        if release:
            url = f"https://releases.example/{release}.tar.gz"
            color_config = {"release": release, "releaseUrl": url, "sha256": "0" * 64, "amiId": image}
            config[f"bluegreen:{color}"] = color_config
    config |= {"bluegreen:activeColor": desired.active, "bluegreen:canaryPercent": desired.canary}
    file.write_text(yaml.safe_dump(content))


def assert_converged(
    inventory: AccountInventory,
    stack: auto.Stack,
    load_balancer: LoadBalancerStub,
    desired: DesiredConfig,
    values_so_far: dict[str, str],
) -> None:
    when = f"{desired} {values_so_far}"
    inventory.assert_matches_state(stack, when)
    assert load_balancer.weights() == desired.weights(), when
    instances = {color: len(load_balancer.instance_ids(color)) for color in desired.releases}
    assert instances == {color: int(bool(release)) for color, release in desired.releases.items()}, when
    found = inventory.by_type()
    zones = int(values_so_far.get("zoneCount", "2"))
    assert len(found["aws:ec2/subnet:Subnet"]) == 2 * zones, when
    gateways = {"none": 0, "single": 1, "per-zone": zones}
    assert (
        len(found.get("aws:ec2/natGateway:NatGateway", [])) == gateways[values_so_far.get("natGateways", "single")]
    ), when


def test_settings_that_change_converge(
    workspace: Workspace,
    stack: OpenStack,
    load_balancer: LoadBalancerStub,
    cloud: Running,
    calls: CloudClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ALLOW_RETIRE, "1")
    image = cloud.client("ec2").describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
    inventory = AccountInventory(cloud.client)
    dev = stack("dev")
    dev.up()
    desired, values_so_far = DesiredConfig(), dict[str, str]()
    for move, number, values in STEPS:
        before = desired.weights()
        move(desired, number)
        barred = FIXED_WITH_TRAFFIC if before else set()
        barred |= REPLACING_FLEETS if before and before != desired.weights() else set()
        values = {key: value for key, value in values.items() if key not in barred}
        values_so_far |= values
        write_config(workspace, desired, values, image)
        dev.up()
        assert_converged(inventory, dev, load_balancer, desired, values_so_far)
        writes = calls.write_calls()
        dev.preview(expect_no_changes=True)
        assert calls.write_calls() == writes
    dev.destroy()
    assert inventory.by_type() == {}

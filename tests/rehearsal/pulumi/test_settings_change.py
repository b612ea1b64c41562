"""Every setting changes in a stack with traffic: the account holds what the settings declare, and only that."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pulumi.automation as auto
import pytest
import yaml

from checks.deployments import ALLOW_RETIRE
from rehearsal.cloud.client import CloudClient
from rehearsal.workspace import Workspace
from tests.rehearsal.cloud.fleet import Running

from .census import Census
from .conftest import OpenStack
from .front import Front

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


# These make new fleets of the same releases: a gate refuses to move users while old machines stand beside the new.
RENEWING = {"drainTimeout", "healthPath"}
# It makes new target groups, for which users would have to leave the old ones in the same run.
FIXED_ONCE_SERVING = {"containerPort"}


@dataclass
class Wish:
    """What the stack's config asks for, by the program's own rules: what serves users keeps its release."""

    active: str = "blue"
    canary: int = 0
    releases: dict[str, str] = field(default_factory=lambda: {"blue": "", "green": ""})

    @property
    def idle(self) -> str:
        return {"blue": "green", "green": "blue"}[self.active]

    def deliver(self, number: int) -> None:
        color = self.idle if self.releases[self.active] else self.active
        if not self.canary:
            self.releases[color] = f"v{number}"

    def retire(self, _: int) -> None:
        if not self.canary:
            self.releases[self.idle] = ""

    def cut_over(self, _: int) -> None:
        if self.releases[self.idle]:
            self.active, self.canary = self.idle, 0

    def send_some(self, number: int) -> None:
        if self.releases[self.idle]:
            self.canary = number

    def weights(self) -> dict[str, int]:
        return {self.active: 100 - self.canary, self.idle: self.canary} if self.releases[self.active] else {}


CHANGED = {key: values[1] for key, values in PLAIN.items()}
# Every value changes while the first color serves, and again while both do; then the other takes over alone.
STEPS: list[tuple[Callable[[Wish, int], None], int, dict[str, str]]] = [
    (Wish.deliver, 1, {}),
    (Wish.deliver, 2, CHANGED),
    (Wish.send_some, 10, {key: values[0] for key, values in PLAIN.items()}),
    (Wish.cut_over, 0, {"zoneCount": "3", "natGateways": "per-zone"}),
    (Wish.retire, 0, {"zoneCount": "2"}),
]


def write_config(workspace: Workspace, wish: Wish, values: dict[str, str], image: str) -> None:
    """As a person edits the stack's file: lists and objects as such."""
    file = workspace.project / "Pulumi.dev.yaml"
    content = yaml.safe_load(file.read_text())
    config: dict[str, Any] = content["config"]
    for key, value in values.items():
        full = key if ":" in key else f"bluegreen:{key}"
        config[full] = json.loads(value) if value[:1] in "[{" else value
    for color, release in wish.releases.items():
        config.pop(f"bluegreen:{color}", None)
        if release:
            url = f"https://releases.example/{release}.tar.gz"
            color_config = {"release": release, "releaseUrl": url, "sha256": "0" * 64, "amiId": image}
            config[f"bluegreen:{color}"] = color_config
    config |= {"bluegreen:activeColor": wish.active, "bluegreen:canaryPercent": wish.canary}
    file.write_text(yaml.safe_dump(content))


def holds(census: Census, stack: auto.Stack, front: Front, wish: Wish, given: dict[str, str]) -> None:
    when = f"{wish} {given}"
    census.agrees(stack, when)
    assert front.weights() == wish.weights(), when
    instances = {color: len(front.machines(color)) for color in wish.releases}
    assert instances == {color: int(bool(release)) for color, release in wish.releases.items()}, when
    found = census.taken()
    zones = int(given.get("zoneCount", "2"))
    assert len(found["aws:ec2/subnet:Subnet"]) == 2 * zones, when
    gateways = {"none": 0, "single": 1, "per-zone": zones}
    assert len(found.get("aws:ec2/natGateway:NatGateway", [])) == gateways[given.get("natGateways", "single")], when


def test_settings_that_change_converge(
    workspace: Workspace,
    stack: OpenStack,
    front: Front,
    cloud: Running,
    calls: CloudClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ALLOW_RETIRE, "1")
    image = cloud.client("ec2").describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
    census = Census(cloud.client)
    dev = stack("dev")
    dev.up()
    wish, given = Wish(), dict[str, str]()
    for move, number, values in STEPS:
        before = wish.weights()
        move(wish, number)
        barred = FIXED_ONCE_SERVING if before else set()
        barred |= RENEWING if before and before != wish.weights() else set()
        values = {key: value for key, value in values.items() if key not in barred}
        given |= values
        write_config(workspace, wish, values, image)
        dev.up()
        holds(census, dev, front, wish, given)
        writes = calls.write_calls()
        dev.preview(expect_no_changes=True)
        assert calls.write_calls() == writes
    dev.destroy()
    assert census.taken() == {}

"""Every test gets an AWS of its own: moto behind a real port, with target health and reboots that can go wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from rehearsal.cloud.additions import metrics
from scripts.stack import config_change
from tests.scripts.world import REGION, STACK, World, make_session


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    metrics.extend()  # moto alone knows no percentiles
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "AWS_ENDPOINT_URL": moto_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "BLUEGREEN_BAKE_SECONDS": "0",
        "BLUEGREEN_STACK": STACK,
        "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",  # two seconds a test for hundreds of images that nobody uses
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    requests.post(f"{moto_url}/moto-api/reset", timeout=30).raise_for_status()


@pytest.fixture(scope="session")
def session() -> Any:
    return make_session()


@pytest.fixture
def world(aws: None, session: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # One session for all tests and for the code under test: making clients anew would take most of the time.
    monkeypatch.setattr("boto3.Session", lambda **_: session)
    # The stack of these tests has its config in memory.
    monkeypatch.setattr(config_change, "save", _save_config)
    world = World(session=session)
    _tell_the_truth(world, monkeypatch)
    yield world
    world.close()


def _save_config(stack: Any) -> Any:
    return getattr(stack, "stack", stack).save_config()  # also of one that wraps it


def _tell_the_truth(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """moto calls every target healthy, keeps no activities and ignores reboots; here the world decides on all three."""
    from moto.autoscaling.responses import AutoScalingResponse
    from moto.core.responses import ActionResult
    from moto.ec2.models import EC2Backend
    from moto.elbv2.models import FakeHealthStatus, FakeTargetGroup

    healthy, reboot = FakeTargetGroup.health_for, EC2Backend.reboot_instances

    def health_for(self: FakeTargetGroup, target: dict[str, Any], ec2_backend: Any) -> FakeHealthStatus:
        if target["Id"] in world.ill and target["Id"] in self.targets:
            why = "Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]"
            return FakeHealthStatus(target["Id"], "8080", "8080", "unhealthy", *why)
        return healthy(self, target, ec2_backend)

    def reboot_instances(self: EC2Backend, instance_ids: list[str]) -> Any:
        world.rebooted += instance_ids
        if not world.boots_fail:
            for instance in instance_ids:
                world.autoscaling.set_instance_health(InstanceId=instance, HealthStatus="Healthy")
        return reboot(self, instance_ids)

    def describe_scaling_activities(self: AutoScalingResponse) -> ActionResult:
        told = world.told_activities(self._get_param("AutoScalingGroupName"))
        return ActionResult({"Activities": told[: self._get_int_param("MaxRecords") or 100]})

    monkeypatch.setattr(AutoScalingResponse, "describe_scaling_activities", describe_scaling_activities)
    monkeypatch.setattr(FakeTargetGroup, "health_for", health_for)
    monkeypatch.setattr(EC2Backend, "reboot_instances", reboot_instances)

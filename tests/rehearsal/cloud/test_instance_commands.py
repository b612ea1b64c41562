"""The plain parts around machines: their command, their files, their record."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearsal.cloud import config_mounts
from rehearsal.cloud.boot_record import boot
from rehearsal.cloud.config_mounts import Endpoints
from rehearsal.cloud.instances import Ground, Machine, Mount, run_command


def test_the_command_names_address_image_and_files(tmp_path: Path) -> None:
    mounts = [Mount(source=tmp_path / "ca.crt", target="/etc/docker/certs.d/10.1.0.1:5443/ca.crt")]
    ground = Ground(docker_host="unix:///run/d", network="vpc", prefix="run7", mounts=mounts, evidence=tmp_path)
    command = run_command(ground, Machine(instance="i-1", address="10.1.2.3", image="machine:1"))
    assert command[-1] == "machine:1"
    assert _after(command, "--name") == "run7-i-1"
    assert _after(command, "--ip") == "10.1.2.3"
    assert _after(command, "--label") == "bluegreen.machines=run7"
    # Not --volume: its colons would be taken for those in the registry's name.
    assert _after(command, "--mount") == f"type=bind,src={tmp_path}/ca.crt,dst={mounts[0].target},readonly"
    assert "--privileged" not in command


def test_machines_are_told_where_aws_is_and_whom_to_trust(tmp_path: Path) -> None:
    endpoints = Endpoints(
        aws="http://10.1.0.1:5000",
        metadata="http://10.1.0.1:5001",
        registry="10.1.0.1:5443",
        registry_certificate=tmp_path / "tls.crt",
    )
    mounts = {mount.target: mount.source for mount in config_mounts.write(tmp_path / "drop-ins", endpoints)}
    assert mounts["/etc/docker/certs.d/10.1.0.1:5443/ca.crt"] == tmp_path / "tls.crt"
    text = mounts[config_mounts.ENDPOINTS_FILE].read_text()
    assert '"AWS_ENDPOINT_URL=http://10.1.0.1:5000"' in text
    assert '"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://10.1.0.1:5001"' in text


@pytest.mark.parametrize(
    ("started", "finished", "seconds"),
    [
        ("2026-11-21T05:15:18.086+00:00", "2026-11-21T05:15:35.543+00:00", 17.457),
        (100, 101.5, 1.5),
        ("2026-11-21T05:15:18.086+00:00", "", None),
    ],
)
def test_a_boots_seconds_come_from_its_own_record(started: object, finished: object, seconds: float | None) -> None:
    record = {"release": "v1", "state": "ready", "started": started, "finished": finished, "steps": {"image": 2.0}}
    assert boot({"instance": "i-1", "boot": record}) == {
        "instance": "i-1",
        "release": "v1",
        "state": "ready",
        "seconds": seconds,
        "steps": {"image": 2.0},
    }


def test_a_machine_without_a_record_has_no_boot() -> None:
    assert boot({"instance": "i-1", "boot": {}}) is None


def _after(command: list[str], flag: str) -> str:
    return command[command.index(flag) + 1]

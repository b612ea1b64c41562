"""Instance containers' `docker run` command, config mounts and boot records."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearsal.cloud import config_mounts
from rehearsal.cloud.boot_record import boot_entry
from rehearsal.cloud.config_mounts import Endpoints
from rehearsal.cloud.instances import InstanceHost, InstanceSpec, Mount, run_command


def test_the_command_has_address_image_and_mounts(tmp_path: Path) -> None:
    mounts = [Mount(source=tmp_path / "ca.crt", target="/etc/docker/certs.d/10.1.0.1:5443/ca.crt")]
    host = InstanceHost(docker_host="unix:///run/d", network="vpc", prefix="run7", mounts=mounts, evidence=tmp_path)
    command = run_command(host, InstanceSpec(instance_id="i-1", address="10.1.2.3", image="instance:1"))
    assert command[-1] == "instance:1"
    assert _after(command, "--name") == "run7-i-1"
    assert _after(command, "--ip") == "10.1.2.3"
    assert _after(command, "--label") == "bluegreen.instances=run7"
    # Not --volume: the colon in the registry's name would be taken for a separator.
    assert _after(command, "--mount") == f"type=bind,src={tmp_path}/ca.crt,dst={mounts[0].target},readonly"
    assert "--privileged" not in command


def test_instances_get_the_endpoints_and_the_registrys_certificate(tmp_path: Path) -> None:
    endpoints = Endpoints(
        aws="http://10.1.0.1:5000",
        metadata="http://10.1.0.1:5001",
        registry="10.1.0.1:5443",
        registry_certificate=tmp_path / "tls.crt",
    )
    mounts = {mount.target: mount.source for mount in config_mounts.write(tmp_path / "config-mounts", endpoints)}
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
def test_a_boots_duration_comes_from_its_record(started: object, finished: object, seconds: float | None) -> None:
    record = {"release": "v1", "state": "ready", "started": started, "finished": finished, "steps": {"image": 2.0}}
    assert boot_entry({"instance": "i-1", "boot": record}) == {
        "instance": "i-1",
        "release": "v1",
        "state": "ready",
        "seconds": seconds,
        "steps": {"image": 2.0},
    }


def test_an_instance_without_a_record_has_no_entry() -> None:
    assert boot_entry({"instance": "i-1", "boot": {}}) is None


def _after(command: list[str], flag: str) -> str:
    return command[command.index(flag) + 1]

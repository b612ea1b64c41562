"""The entire boot as an instance runs it: Debian's own Python where installed, real servers, a real Docker."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import boto3
import pytest

from ami.boot import report, steps
from ami.boot.__main__ import boot, fail
from ami.boot.boot_context import BootContext, Paths
from ami.boot.cloud import Cloud
from ami.boot.masking import Tail
from ami.boot.status import BootState, BootStatus
from ami.boot.steps import Step, StepError
from ami.boot.user_data import ReportingInfo
from tests.ami.conftest import Imds
from tests.ami.group import Group, Mailbox
from tests.ami.releases import (
    APP,
    HEALTH_PATH,
    TlsServer,
    app_bundle,
    bomb,
    bundle,
    entry,
    free_port,
    sha256,
    user_data,
)
from tests.rehearsal.cloud.fleet import REGION, Running

Docker = Callable[..., str]
AMI = Path(__file__).resolve().parents[2] / "ami"
STEPS = ["identity", "settings", "config", "download", "verify", "unpack", "image", "run", "ready", "report"]
PARAMETERS = "/bluegreen/dev/app/"


def debians_python() -> str:
    """The instance's interpreter and boto3 when they are installed, as they are older than this environment's."""
    probe = subprocess.run(["/usr/bin/python3", "-c", "import boto3"], capture_output=True, check=False)
    return "/usr/bin/python3" if probe.returncode == 0 else sys.executable


@dataclass(frozen=True, kw_only=True)
class Host:
    """An instance in a group, and a mailbox for alerts."""

    group: Group
    mailbox: Mailbox
    imds: Imds
    paths: Paths
    port: int

    def configure(self, **changed: object) -> None:
        values = {
            "port": self.port,
            "parameter_path": PARAMETERS,
            "alerts_topic_arn": self.mailbox.topic,
            "sha256": "",
        }
        self.imds.user_data = user_data(**{**values, **changed})

    def run(self, command: str = "boot", **environment: str) -> subprocess.CompletedProcess[str]:
        folders = ["--disk", str(self.paths.disk), "--memory", str(self.paths.memory)]
        return subprocess.run(
            [debians_python(), "-m", "boot", command, *folders],
            cwd=AMI,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def status(self) -> Any:
        return json.loads(self.paths.status.read_text())

    def failures(self, color: str) -> float:
        """Sum of the alarm's metric."""
        watch, now = boto3.Session(region_name=REGION).client("cloudwatch"), datetime.now(UTC)
        points = watch.get_metric_statistics(
            Namespace="bluegreen",
            MetricName="BootFailures",
            Dimensions=[{"Name": "Stack", "Value": "dev"}, {"Name": "Color", "Value": color}],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=5),
            Period=600,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))

    def health(self) -> Any:
        with urlopen(f"http://127.0.0.1:{self.port}{HEALTH_PATH}") as answer:
            return json.load(answer)


@pytest.fixture
def host(aws: Running, imds: Imds, paths: Paths) -> Host:
    group = Group.create(aws)
    imds.instance = group.instance
    return Host(group=group, mailbox=Mailbox.create(aws), imds=imds, paths=paths, port=free_port())


def parameter(aws: Running, name: str, value: str, kind: str = "String") -> None:
    aws.client("ssm").put_parameter(Name=f"{PARAMETERS}{name}", Value=value, Type=kind, Overwrite=True)


@pytest.mark.docker
def test_a_release_from_the_bucket_serves_and_a_reboot_reads_its_config_again(
    host: Host, aws: Running, docker: Docker, base_image: str, tmp_path: Path
) -> None:
    source = app_bundle(tmp_path / "b")
    location = {"LocationConstraint": REGION}
    aws.client("s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration=location)
    aws.client("s3").upload_file(str(source), "artifacts", "releases/v1/bundle.tar.gz")
    parameter(aws, "GREETING", "Hello")
    parameter(aws, "TOKEN", "hunter22", "SecureString")
    host.configure(url="s3://artifacts/releases/v1/bundle.tar.gz", sha256=sha256(source), base_image=base_image)

    done = host.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert host.health() == {"status": "ok", "release": "v1", "greeting": "Hello"}
    host.group.wait_for("InService")
    status = host.status()
    assert (status["state"], status["release"], status["error"]) == ("ready", "v1", "")
    assert list(status["steps"]) == STEPS
    assert status["finished"] > status["started"]
    assert host.paths.env_file.stat().st_mode & 0o777 == 0o600
    assert not host.paths.work.exists()
    assert host.mailbox.read() == []
    output = done.stdout + done.stderr + host.paths.status.read_text() + host.paths.log.read_text()
    assert "finish boot release=v1" in output
    assert "hunter22" not in output
    assert host.failures("blue") == 0
    image = docker("inspect", "--format", "{{.Image}}", "app")

    parameter(aws, "GREETING", "Good evening")
    host.group.suspended_for_restart()
    again = host.run()
    assert again.returncode == 0, again.stdout
    assert host.group.health() == "Healthy"
    assert host.health()["greeting"] == "Good evening"
    assert list(host.status()["steps"]) == [
        name for name in STEPS if name not in ("download", "verify", "unpack", "image")
    ]
    assert docker("inspect", "--format", "{{.Image}}", "app") == image
    assert "lifecycle" not in again.stdout


@pytest.mark.docker
def test_a_prebuilt_image_from_a_plain_https_archive_serves(
    host: Host, web: TlsServer, docker: Docker, base_image: str, tmp_path: Path
) -> None:
    host.configure(version="v2", url=web.file("/v2.tar.gz", app_bundle(tmp_path / "b", "v2")), base_image=base_image)
    assert host.run().returncode == 0
    docker("save", "--output", str(tmp_path / "image.tar"), "release:v2")
    docker("rm", "--force", "app")
    (tmp_path / "release.json").write_text('{"kind": "image", "version": "v3"}')
    with tarfile.open(tmp_path / "saved", "w:gz") as archive:
        for name in ("image.tar", "release.json"):
            archive.add(tmp_path / name, name)
    host.configure(version="v3", url=web.file("/v3.tar.gz", tmp_path / "saved"))
    done = host.run()
    assert done.returncode == 0, done.stdout
    assert host.health()["release"] == "v3"


def bad_source(kind: str, path: Path) -> Path:
    match kind:
        case "traversal":
            return bundle(path, APP, extra=(entry("../../x"),))
        case "absolute":
            return bundle(path, APP, extra=(entry("/x"),))
        case "device":
            return bundle(path, APP, extra=(entry("x", tarfile.BLKTYPE),))
        case "link":
            return bundle(path, APP, extra=(entry("x", tarfile.SYMTYPE, "../../x"),))
        case "bomb":
            return bomb(path, megabytes=80)
        case _:
            return bundle(path, {"main.py": "print()"})


@pytest.mark.parametrize("kind", ["traversal", "absolute", "device", "link", "bomb", "no Dockerfile"])
def test_a_hostile_bundle_fails_its_step_by_name_and_is_reported(
    host: Host, web: TlsServer, tmp_path: Path, kind: str
) -> None:
    host.configure(url=web.file("/bad.tar.gz", bad_source(kind, tmp_path / "b")))
    require_reported(host, host.run(), "unpack")
    assert not host.paths.work.exists(), "a full disk must have room again to keep the reason"


def test_a_wrong_checksum_fails_at_verify(host: Host, web: TlsServer, tmp_path: Path) -> None:
    host.configure(url=web.file("/v1.tar.gz", app_bundle(tmp_path / "b")), sha256="0" * 64)
    require_reported(host, host.run(), "verify")


def test_a_missing_bundle_fails_at_download(host: Host, web: TlsServer) -> None:
    host.configure(url=web.url("/nothing"))
    content = require_reported(host, host.run(), "download")
    assert content["error"].endswith("/nothing: answered 404 Not Found")


def test_wrong_user_data_fails_at_settings(host: Host) -> None:
    host.configure(color="red")
    content = require_reported(host, host.run(), "settings")
    assert "color: red: must be blue or green" in content["error"]


@pytest.mark.docker
def test_a_release_that_crashes_is_reported_with_its_last_lines_and_without_secrets(
    host: Host, aws: Running, web: TlsServer, docker: Docker, base_image: str, tmp_path: Path
) -> None:
    parameter(aws, "DATABASE_URL", "postgresql://app:hunter22@db:5432/app", "SecureString")
    crash = '#!/bin/sh\necho "cannot reach $DATABASE_URL, password hunter22"\nexit 1\n'
    source = app_bundle(tmp_path / "b", serve=crash)
    host.configure(url=web.file("/v1.tar.gz", source), base_image=base_image)
    done = host.run()
    content = require_reported(host, done, "ready")
    assert "the container exited with 1 before it was ready" in content["error"]
    assert "app: cannot reach ***, password ***" in content["lines"]
    assert "hunter22" not in done.stdout + done.stderr + json.dumps(content) + host.paths.log.read_text()


def require_reported(host: Host, done: subprocess.CompletedProcess[str], step: str) -> Any:
    """The unit fails, the topic is notified, the group replaces the instance, and the status has all of it."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"fail step={step} error=" in done.stdout
    ((subject, content),) = host.mailbox.read()
    assert subject.startswith(f"Boot failed at {step}: dev {content['color']} v1 i-")
    assert (content["step"], content["instance"]) == (step, host.group.instance)
    assert (content["release"], content["stack"]) == ("v1", "dev")
    assert step in content["step_seconds"]
    assert content["lines"]
    if content["color"] in ("blue", "green"):
        assert host.failures(content["color"]) == 1
    assert f"fail step={step} error={content['error']}" in host.paths.log.read_text()
    host.group.wait_for("Terminating", "Terminating:Wait", "gone")
    status = host.status()
    assert (status["state"], status["step"], status["reported"]) == ("failed", step, True)
    assert status["error"] == content["error"]
    return content


def test_a_boot_that_was_killed_is_reported_by_the_failure_unit(host: Host) -> None:
    host.configure()
    host.paths.disk.mkdir()
    host.paths.status.write_text('{"state": "booting", "step": "image", "steps": {"download": 1.5}}')
    result = {"MONITOR_SERVICE_RESULT": "oom-kill", "MONITOR_EXIT_CODE": "killed", "MONITOR_EXIT_STATUS": "KILL"}
    done = host.run("failed", **result)
    assert done.returncode == 0, done.stdout + done.stderr
    ((subject, content),) = host.mailbox.read()
    assert subject.startswith("Boot failed at image")
    assert content["error"] == "the boot program exited without a report: oom-kill, killed, KILL"
    assert content["step_seconds"] == {"download": 1.5}
    assert host.failures("blue") == 1
    host.group.wait_for("Terminating", "Terminating:Wait", "gone")


def test_an_unwritable_log_does_not_fail_the_boot(host: Host, web: TlsServer) -> None:
    host.paths.log.mkdir(parents=True)
    host.configure(url=web.url("/nothing"))
    done = host.run()
    assert f"open log failed file={host.paths.log}" in done.stdout
    assert "fail step=download" in done.stdout


def test_what_was_reported_is_not_reported_twice(host: Host, web: TlsServer) -> None:
    host.configure(url=web.url("/nothing"))
    assert host.run().returncode == 1
    assert len(host.mailbox.read()) == 1
    assert host.run("failed").returncode == 0
    assert host.mailbox.read() == []


def test_an_unreachable_aws_still_leaves_the_reason_in_the_status(
    aws: Running, context: BootContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    for name in ("NOTIFY_SECONDS", "GROUP_SECONDS"):
        monkeypatch.setattr(report, name, 0.1)
    context.cloud = Cloud(REGION)
    context.reporting_info = ReportingInfo.parse(
        user_data(alerts_topic_arn="arn:aws:sns:eu-central-1:123456789012:alerts")
    )
    context.secrets.add("hunter22")
    fail(context, StepError("image", ValueError("no space left, password hunter22")), Tail())
    status = BootStatus.load(context.paths.status)
    assert (status.state, status.reported) == (BootState.FAILED, False)
    assert status.error == "no space left, password ***"


def test_an_unknown_region_is_logged(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with caplog.at_level(logging.INFO, "boot"):
        assert boot(paths, (Step("identity", steps.read_identity, 0.1),)) == 1
    assert "report impossible reason=the region is unknown" in caplog.text
    assert "no answer" in BootStatus.load(paths.status).error


def test_an_unwritable_status_fails_the_first_step(host: Host) -> None:
    host.configure()
    host.paths.status.mkdir(parents=True)
    done = host.run()
    assert done.returncode == 1
    assert f"save status failed file={host.paths.status}" in done.stdout
    assert "fail step=identity error=[Errno" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    host.run("failed")
    ((_, content),) = host.mailbox.read()
    assert content["instance"] == host.group.instance
    host.group.wait_for("Terminating", "Terminating:Wait", "gone")

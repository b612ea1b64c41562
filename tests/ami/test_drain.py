from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ami.boot import drain, report, system_logs
from ami.boot.boot_context import Paths
from ami.boot.drain import drain_in_group, log_flush_seconds, wait_for_termination
from ami.boot.metadata import Metadata
from ami.boot.system_logs import agent_config
from ami.boot.system_logs import main as send_logs
from ami.boot.user_data import parse
from components.color import DRAIN_RESERVE_S
from tests.ami.conftest import Imds
from tests.ami.fault_proxy import fault_proxy
from tests.ami.group import Group
from tests.ami.releases import free_port, user_data
from tests.rehearsal.cloud.fleet import REGION, Running

Docker = Callable[..., str]


def test_an_instance_drains_when_its_group_terminates_it(imds: Imds) -> None:
    imds.target = "Terminated"
    assert wait_for_termination(Metadata(), threading.Event()) is True


def test_an_instance_drains_when_it_shuts_down(imds: Imds) -> None:
    shutdown = threading.Event()
    shutdown.set()
    assert wait_for_termination(Metadata(), shutdown) is False


def test_unreachable_metadata_does_not_end_the_wait() -> None:
    shutdown = threading.Event()
    threading.Timer(0.2, shutdown.set).start()
    began = time.monotonic()
    assert wait_for_termination(Metadata(f"http://127.0.0.1:{free_port()}"), shutdown) is False
    assert time.monotonic() - began < 1


@pytest.mark.docker
def test_the_app_finishes_before_the_hook_is_completed(
    aws: Running, imds: Imds, paths: Paths, docker: Docker, base_image: str
) -> None:
    group = Group.create(aws)
    group.into_service()
    group.terminate()
    imds.instance = group.instance
    finishes = "trap 'sleep 1; echo finished; exit 0' TERM; while :; do sleep 0.1; done"
    docker("run", "--detach", "--name", "app", base_image, "sh", "-c", finishes)
    drain_in_group(Metadata(), parse(user_data()), "app", paths)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", "app") == "0"
    assert docker("logs", "app") == "finished"
    group.wait_for("gone")


def test_an_instance_without_an_app_still_completes_the_hook(
    aws: Running, imds: Imds, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    group = Group.create(aws)
    group.into_service()
    group.terminate()
    imds.instance = group.instance
    drain_in_group(Metadata(), parse(user_data(drain_timeout=0)), "app", paths)
    group.wait_for("gone")


def terminating(aws: Running, imds: Imds) -> Group:
    """An instance that its group terminates."""
    group = Group.create(aws)
    group.into_service()
    group.terminate()
    imds.instance = group.instance
    return group


@pytest.fixture
def _no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


@pytest.mark.usefixtures("_no_docker")
def test_the_last_lines_are_flushed_before_the_hook_is_completed(
    aws: Running, imds: Imds, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, states = terminating(aws, imds), list[tuple[float, str]]()
    monkeypatch.setattr("ami.boot.drain.time.sleep", lambda seconds: states.append((seconds, group.state())))
    paths.memory.mkdir()
    paths.log_agent.write_text("{}")
    drain_in_group(Metadata(), parse(user_data(drain_timeout=0)), "app", paths)
    assert states == [(drain.SYSTEM_LOG_FLUSH_SECONDS, "Terminating:Wait")]
    group.wait_for("gone")


@pytest.mark.parametrize(
    ("log_group", "agent", "seconds"), [("", False, 0.0), ("/app", False, 1.0), ("/app", True, 4.0), ("", True, 4.0)]
)
def test_only_logs_that_are_sent_need_time_to_flush(paths: Paths, log_group: str, agent: bool, seconds: float) -> None:
    if agent:
        paths.memory.mkdir()
        paths.log_agent.write_text("{}")
    assert log_flush_seconds(parse(user_data(log_app=log_group)), paths) == seconds


def test_what_follows_the_app_fits_into_the_hooks_reserve() -> None:
    assert 10 + drain.SYSTEM_LOG_FLUSH_SECONDS + drain.COMPLETE_SECONDS < DRAIN_RESERVE_S


@pytest.mark.usefixtures("_no_docker")
def test_an_unreachable_group_does_not_block_the_drain_for_ever(
    aws: Running, imds: Imds, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = terminating(aws, imds)
    monkeypatch.setattr(drain, "MAX_UNREACHABLE_SECONDS", 0.5)
    monkeypatch.setattr(report, "GROUP_SECONDS", 0.1)
    with fault_proxy(aws.aws) as proxy:
        proxy.down.add("autoscaling")
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        began = time.monotonic()
        drain_in_group(Metadata(), parse(user_data(drain_timeout=0)), "app", paths)
        assert time.monotonic() - began < 5
        assert proxy.requested.count("autoscaling") > 1, "retried"
    assert group.state() == "Terminating:Wait", "the hook times out later, with CONTINUE"


def test_system_and_boot_logs_go_to_their_groups(imds: Imds) -> None:
    imds.user_data = user_data(log_boot="/bluegreen/dev/boot", log_system="/bluegreen/dev/system")
    config = agent_config(parse(imds.user_data), Metadata().identity(), Path("/var/lib/bluegreen/boot.log"))
    assert config["agent"] == {"region": REGION}
    assert config["logs"]["force_flush_interval"] < drain.SYSTEM_LOG_FLUSH_SECONDS
    files = config["logs"]["logs_collected"]["files"]["collect_list"]
    assert [tuple(each.values()) for each in files] == [
        ("/var/log/syslog", "/bluegreen/dev/system", f"blue/v1/{imds.instance}/syslog"),
        ("/var/log/cloud-init-output.log", "/bluegreen/dev/boot", f"blue/v1/{imds.instance}/cloud-init-output"),
        ("/var/lib/bluegreen/boot.log", "/bluegreen/dev/boot", f"blue/v1/{imds.instance}/boot"),
    ]
    assert {tuple(each) for each in files} == {("file_path", "log_group_name", "log_stream_name")}


def test_without_one_of_the_groups_its_files_stay_on_the_instance(imds: Imds) -> None:
    settings = parse(user_data(log_system="/system"))
    config = agent_config(settings, Metadata().identity(), Path("/boot.log"))
    (only,) = config["logs"]["logs_collected"]["files"]["collect_list"]
    assert only["file_path"] == "/var/log/syslog"


def test_the_log_agent_is_started_with_that_config(imds: Imds, paths: Paths, tmp_path: Path) -> None:
    imds.user_data = user_data(log_system="/bluegreen/dev/system")
    control = tmp_path / "control"
    control.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\nexit 3\n')
    control.chmod(0o755)
    assert send_logs(Metadata(), paths, str(control)) == 3
    arguments = (tmp_path / "called").read_text().split()
    assert arguments[:5] == ["-a", "fetch-config", "-m", "ec2", "-s"]
    assert "logs" in json.loads(Path(arguments[-1].removeprefix("file:")).read_text())


@pytest.mark.parametrize("broken", ["missing", "hanging"])
def test_a_broken_log_agent_is_a_line_in_the_journal(
    imds: Imds,
    paths: Paths,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: str,
) -> None:
    imds.user_data = user_data(log_system="/bluegreen/dev/system")
    monkeypatch.setattr(system_logs, "CONTROL_SECONDS", 0.2)
    control = tmp_path / "control"
    if broken == "hanging":
        control.write_text("#!/bin/sh\nexec sleep 60\n")
        control.chmod(0o755)
    assert send_logs(Metadata(), paths, str(control)) == 1
    assert "start log agent failed" in caplog.text


def test_without_a_log_group_no_agent_is_started(imds: Imds, paths: Paths, tmp_path: Path) -> None:
    imds.user_data = user_data(log_app="/bluegreen/dev/app")
    assert send_logs(Metadata(), paths, str(tmp_path / "missing")) == 0

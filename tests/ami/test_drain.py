from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ami.boot import drain, report, system_logs
from ami.boot.drain import end_in_group, seconds_of_last_lines, wait_for_end
from ami.boot.machine import Places
from ami.boot.metadata import Metadata
from ami.boot.system_logs import agent_config
from ami.boot.system_logs import main as send_logs
from ami.boot.user_data import parse
from components.color import DRAIN_RESERVE
from tests.ami.conftest import Imds
from tests.ami.front import fronted
from tests.ami.group import Group
from tests.ami.releases import free_port, user_data
from tests.rehearsal.cloud.fleet import REGION, Running

Docker = Callable[..., str]


def test_a_machine_drains_when_its_group_ends_it(imds: Imds) -> None:
    imds.target = "Terminated"
    assert wait_for_end(Metadata(), threading.Event()) is True


def test_a_machine_drains_when_it_shuts_down(imds: Imds) -> None:
    shutdown = threading.Event()
    shutdown.set()
    assert wait_for_end(Metadata(), shutdown) is False


def test_metadata_out_of_reach_ends_nothing() -> None:
    shutdown = threading.Event()
    threading.Timer(0.2, shutdown.set).start()
    began = time.monotonic()
    assert wait_for_end(Metadata(f"http://127.0.0.1:{free_port()}"), shutdown) is False
    assert time.monotonic() - began < 1


@pytest.mark.docker
def test_the_app_finishes_before_the_group_hears_of_it(
    aws: Running, imds: Imds, places: Places, docker: Docker, base_image: str
) -> None:
    group = Group.create(aws)
    group.into_service()
    group.terminate()
    imds.instance = group.instance
    finishes = "trap 'sleep 1; echo finished; exit 0' TERM; while :; do sleep 0.1; done"
    docker("run", "--detach", "--name", "app", base_image, "sh", "-c", finishes)
    end_in_group(Metadata(), parse(user_data()), "app", places)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", "app") == "0"
    assert docker("logs", "app") == "finished"
    group.wait_for("gone")


def test_a_machine_without_an_app_still_lets_its_group_go_on(
    aws: Running, imds: Imds, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    group = Group.create(aws)
    group.into_service()
    group.terminate()
    imds.instance = group.instance
    end_in_group(Metadata(), parse(user_data(drain_timeout=0)), "app", places)
    group.wait_for("gone")


def leaving(aws: Running, imds: Imds) -> Group:
    """A machine that its group ends."""
    group = Group.create(aws)
    group.into_service()
    group.terminate()
    imds.instance = group.instance
    return group


@pytest.fixture
def _no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


@pytest.mark.usefixtures("_no_docker")
def test_the_last_lines_have_their_time_before_the_group_hears(
    aws: Running, imds: Imds, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, states = leaving(aws, imds), list[tuple[float, str]]()
    monkeypatch.setattr("ami.boot.drain.time.sleep", lambda seconds: states.append((seconds, group.state())))
    places.memory.mkdir()
    places.log_agent.write_text("{}")
    end_in_group(Metadata(), parse(user_data(drain_timeout=0)), "app", places)
    assert states == [(drain.SYSTEM_LINES_SECONDS, "Terminating:Wait")]
    group.wait_for("gone")


@pytest.mark.parametrize(
    ("log_group", "agent", "seconds"), [("", False, 0.0), ("/app", False, 1.0), ("/app", True, 4.0), ("", True, 4.0)]
)
def test_only_lines_that_leave_need_time(places: Places, log_group: str, agent: bool, seconds: float) -> None:
    if agent:
        places.memory.mkdir()
        places.log_agent.write_text("{}")
    assert seconds_of_last_lines(parse(user_data(log_app=log_group)), places) == seconds


def test_what_follows_the_app_fits_into_the_hooks_reserve() -> None:
    assert 10 + drain.SYSTEM_LINES_SECONDS + drain.COMPLETE_SECONDS < DRAIN_RESERVE


@pytest.mark.usefixtures("_no_docker")
def test_a_group_that_does_not_answer_holds_nobody_for_ever(
    aws: Running, imds: Imds, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = leaving(aws, imds)
    monkeypatch.setattr(drain, "LONGEST_SILENCE", 0.5)
    monkeypatch.setattr(report, "GROUP_SECONDS", 0.1)
    with fronted(aws.aws) as front:
        front.down.add("autoscaling")
        monkeypatch.setenv("AWS_ENDPOINT_URL", front.url)
        began = time.monotonic()
        end_in_group(Metadata(), parse(user_data(drain_timeout=0)), "app", places)
        assert time.monotonic() - began < 5
        assert front.asked.count("autoscaling") > 1, "it may pass: asked again"
    assert group.state() == "Terminating:Wait", "the hook's own time goes on, and ends with CONTINUE"


def test_the_machines_logs_go_to_their_groups(imds: Imds) -> None:
    imds.user_data = user_data(log_boot="/bluegreen/dev/boot", log_system="/bluegreen/dev/system")
    config = agent_config(parse(imds.user_data), Metadata().identity(), Path("/var/lib/bluegreen/boot.log"))
    assert config["agent"] == {"region": REGION}
    assert config["logs"]["force_flush_interval"] < drain.SYSTEM_LINES_SECONDS
    files = config["logs"]["logs_collected"]["files"]["collect_list"]
    assert [tuple(each.values()) for each in files] == [
        ("/var/log/syslog", "/bluegreen/dev/system", f"blue/v1/{imds.instance}/syslog"),
        ("/var/log/cloud-init-output.log", "/bluegreen/dev/boot", f"blue/v1/{imds.instance}/cloud-init-output"),
        ("/var/lib/bluegreen/boot.log", "/bluegreen/dev/boot", f"blue/v1/{imds.instance}/boot"),
    ]
    assert {tuple(each) for each in files} == {("file_path", "log_group_name", "log_stream_name")}


def test_without_one_of_the_groups_its_files_stay_on_the_machine(imds: Imds) -> None:
    settings = parse(user_data(log_system="/system"))
    config = agent_config(settings, Metadata().identity(), Path("/boot.log"))
    (only,) = config["logs"]["logs_collected"]["files"]["collect_list"]
    assert only["file_path"] == "/var/log/syslog"


def test_the_log_agent_is_started_with_that_config(imds: Imds, places: Places, tmp_path: Path) -> None:
    imds.user_data = user_data(log_system="/bluegreen/dev/system")
    control = tmp_path / "control"
    control.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\nexit 3\n')
    control.chmod(0o755)
    assert send_logs(Metadata(), places, str(control)) == 3
    arguments = (tmp_path / "called").read_text().split()
    assert arguments[:5] == ["-a", "fetch-config", "-m", "ec2", "-s"]
    assert "logs" in json.loads(Path(arguments[-1].removeprefix("file:")).read_text())


@pytest.mark.parametrize("broken", ["missing", "hanging"])
def test_a_broken_log_agent_is_a_line_in_the_journal(
    imds: Imds,
    places: Places,
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
    assert send_logs(Metadata(), places, str(control)) == 1
    assert "start log agent failed" in caplog.text


def test_without_a_log_group_no_agent_is_started(imds: Imds, places: Places, tmp_path: Path) -> None:
    imds.user_data = user_data(log_app="/bluegreen/dev/app")
    assert send_logs(Metadata(), places, str(tmp_path / "missing")) == 0

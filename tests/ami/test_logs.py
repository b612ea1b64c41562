"""App start and stop in normal time while the log service is unreachable, down, or never answers."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace as changed
from pathlib import Path

import pytest

from ami.boot import container
from ami.boot.commands import CommandError
from ami.boot.container import RunArgs, last_lines, replace, stop, wait_ready
from ami.boot.retrying import Deadline
from ami.boot.user_data import LogGroups
from fleet.waiting import wait_until
from tests.ami.fault_proxy import FaultProxy, fault_proxy
from tests.ami.releases import TlsServer, app_bundle, free_port
from tests.ami.test_boot import Host, host
from tests.ami.test_container import app
from tests.ami.test_report import BLUE, metric_sums
from tests.rehearsal.cloud.fleet import Running

__all__ = ["app", "host"]

pytestmark = pytest.mark.docker
Docker = Callable[..., str]
NORMAL_S = 5.0  # what it takes without any logs is a tenth of it
# More lines than the log driver holds for a service that takes none.
CHATTY = """#!/bin/sh
trap 'exit 0' TERM
i=0
while [ $i -lt 20000 ]; do i=$((i+1)); echo "line $i"; done
httpd -f -p "$PORT" -h /www &
wait
"""


def logged(given: RunArgs, endpoint: str) -> RunArgs:
    logs = LogGroups(app="/bluegreen/dev/app")
    return changed(given, endpoint=endpoint, user_data=changed(given.user_data, log_groups=logs))


@pytest.mark.parametrize("how", ["gone", "down", "hanging"])
def test_the_app_starts_serves_and_stops_in_its_normal_time(
    app: Callable[..., RunArgs], docker: Docker, aws: Running, how: str
) -> None:
    with fault_proxy(aws.aws) as proxy:
        if how != "gone":
            getattr(proxy, how).add("logs")
        given = logged(app("v1", serve=CHATTY), f"http://127.0.0.1:{free_port()}" if how == "gone" else proxy.url)
        began = time.monotonic()
        assert replace(given, Deadline(60)) is True
        wait_ready("app", given.user_data, Deadline(60))
        assert time.monotonic() - began < NORMAL_S
        if how != "gone":
            wait_until(lambda: None if "logs" in proxy.requested else "not called", what="the driver", deadline_s=10)
        assert last_lines("app")[-1].startswith("line "), "Docker's own copy serves an operator on the instance"
        began = time.monotonic()
        stop("app", 5)
        assert time.monotonic() - began < NORMAL_S


def test_what_docker_refuses_to_log_starts_all_the_same(app: Callable[..., RunArgs], docker: Docker) -> None:
    given = changed(
        logged(app("v1"), "http://127.0.0.1:9"), region=""
    )  # which the driver can't ask a metadata service for
    assert replace(given, Deadline(60)) is False
    wait_ready("app", given.user_data, Deadline(30))
    assert docker("inspect", "--format", "{{.HostConfig.LogConfig.Type}}", "app") == "json-file"


def test_a_log_driver_that_holds_up_the_start_is_left_out(
    app: Callable[..., RunArgs], docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, folder = shutil.which("docker"), tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text(f'#!/bin/sh\ncase "$*" in *awslogs*) exec sleep 60;; esac\nexec {client} "$@"\n')
    (folder / "docker").chmod(0o755)
    given = logged(app("v1"), "http://127.0.0.1:9")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(container, "LOGGED_START_SECONDS", 0.5)
    began = time.monotonic()
    assert replace(given, Deadline(60)) is False
    wait_ready("app", given.user_data, Deadline(30))
    assert time.monotonic() - began < NORMAL_S


def test_what_fails_for_another_reason_fails(app: Callable[..., RunArgs], docker: Docker) -> None:
    given = app("v1")
    missing = changed(logged(given, "http://127.0.0.1:9"), env_file=Path("/nowhere/app.env"))
    with pytest.raises(CommandError, match=r"/nowhere/app\.env"):
        replace(missing, Deadline(30))


def boots(host: Host, web: TlsServer, bundle: Path, base_image: str, proxy: FaultProxy) -> float:
    """Seconds of an entire boot with logs."""
    host.configure(url=web.file("/v1.tar.gz", bundle), base_image=base_image, log_app="/bluegreen/dev/app")
    done = host.run(AWS_ENDPOINT_URL=proxy.url)
    assert done.returncode == 0, done.stdout
    host.group.wait_for("InService")
    return float(sum(host.status()["steps"].values()))


def test_a_boot_is_ready_in_its_normal_time_while_the_log_service_hangs(
    host: Host, aws: Running, web: TlsServer, docker: Docker, base_image: str, tmp_path: Path
) -> None:
    with fault_proxy(aws.aws) as proxy:
        proxy.hanging.add("logs")
        assert boots(host, web, app_bundle(tmp_path / "b"), base_image, proxy) < 2 * NORMAL_S
    assert host.health()["release"] == "v1"
    assert metric_sums(aws, "AppLogsKeptLocal") == []


def test_an_app_whose_log_stays_on_the_instance_is_counted(
    host: Host,
    aws: Running,
    web: TlsServer,
    docker: Docker,
    base_image: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, folder = shutil.which("docker"), tmp_path / "bin"
    folder.mkdir()
    refused = "docker: Error response from daemon: failed to initialize logging driver: no region."
    (folder / "docker").write_text(
        f'#!/bin/sh\ncase "$*" in *awslogs*) echo "{refused}"; exit 125;; esac\nexec {client} "$@"\n'
    )
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    with fault_proxy(aws.aws) as proxy:
        boots(host, web, app_bundle(tmp_path / "b"), base_image, proxy)
    assert "keep app log on the instance reason=docker run exited with 125" in host.paths.log.read_text()
    assert metric_sums(aws, "AppLogsKeptLocal") == [(BLUE, 1.0)]

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ami.boot import docker_state
from ami.boot.container_exits import ContainerExit
from ami.boot.docker_state import DockerDaemon, UnreachableError, daemon, killed_by_kernel, system_is_stopping

Docker = Callable[..., str]
Say = Callable[[str, str], None]
ID = "d343c0053f85cd05fe1d42bc8941798aa7079dabe3cbe567d7fd21970d240039"


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Makes a command print a text, and systemctl exit with 1 as it does for unusual states."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def command(name: str, text: str) -> None:
        fails = "exit 1\n" if name == "systemctl" else ""
        (folder / name).write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n{fails}")
        (folder / name).chmod(0o755)

    return command


def test_the_daemons_state_is_read_from_systemd(says: Say) -> None:
    says("systemctl", "NRestarts=3\nActiveState=active\nInvocationID=b5b1e7")
    assert daemon() == DockerDaemon(state="active", invocation="b5b1e7", restarts=3)


@pytest.mark.parametrize(
    "text", ["", "NRestarts=\nActiveState=active\nInvocationID=b5b1e7", "Failed to connect to bus"]
)
def test_without_an_answer_of_systemd_the_daemon_is_unknown(says: Say, text: str) -> None:
    says("systemctl", text)
    assert daemon() is None


def test_without_systemd_no_shutdown_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert daemon() is None
    assert system_is_stopping() is False


@pytest.mark.parametrize(("state", "stops"), [("stopping", True), ("running", False), ("degraded", False)])
def test_a_shutdown_is_read_from_systemd(says: Say, state: str, stops: bool) -> None:
    says("systemctl", state)
    assert system_is_stopping() is stops


@pytest.mark.parametrize(
    ("group", "seconds_before", "killed"),
    [
        (f"/system.slice/docker-{ID}.scope", 0.4, True),
        (f"/bluegreen-1/{ID}", 0.4, True),
        (f"/system.slice/docker-{ID}.scope", 60.0, False),
        ("/system.slice/docker-0000.scope", 0.4, False),
    ],
)
def test_an_oom_kill_is_read_from_the_kernels_log(says: Say, group: str, seconds_before: float, killed: bool) -> None:
    at = time.monotonic() - seconds_before
    line = f"oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg={group}"
    says("dmesg", f"[    0.000000] Linux version 6.1\n[{at:12.6f}] {line},task=python3,pid=7,uid=0")
    assert killed_by_kernel(ContainerExit(at=time.time_ns(), container=ID, exit_code=137)) is killed


def test_without_a_kernel_log_there_is_no_oom_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert killed_by_kernel(ContainerExit(at=time.time_ns(), container=ID, exit_code=137)) is False


@pytest.mark.docker
def test_the_containers_state_is_read_from_docker(docker: Docker, base_image: str) -> None:
    began = time.time()
    assert docker_state.app("app") is None
    docker("run", "--detach", "--name", "app", base_image, "sh", "-c", "exit 4")
    docker("wait", "app")
    app = docker_state.app("app")
    assert app is not None
    assert (app.status, app.exit_code, app.restarts, app.runs) == ("exited", 4, 0, False)
    assert began < app.created < app.started < time.time()


def test_an_unreachable_docker_is_not_a_missing_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(UnreachableError):
        docker_state.app("app")

"""The watch as an instance runs it, with a real Docker whose apps and daemons exit in all ways."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ami.boot.docker_events import NANOSECONDS
from fleet.waiting import wait_until
from rehearsal.host.docker_engine import find_client, pings
from rehearsal.host.sandbox import Process, Sandbox
from tests.ami.releases import rootfs
from tests.ami.test_boot import AMI, Host, debians_python, host
from tests.ami.test_report import BLUE, metric_sums
from tests.rehearsal.cloud.fleet import Running

__all__ = ["host"]

pytestmark = pytest.mark.docker
Docker = Callable[..., str]
LOGS = "/bluegreen/dev/boot"
PROMPT_S = 5.0
SERVES = "trap 'echo finished; exit 0' TERM; echo connect to $URL; while :; do sleep 0.1; done"


@dataclass(kw_only=True)
class Guarded:
    """An instance after its boot, and its watch."""

    host: Host
    docker: Docker
    log: Path
    messages: list[tuple[str, Any]] = field(default_factory=list)

    def serve(self, script: str = SERVES, *options: str) -> None:
        """As the boot leaves the app: running, with Docker's restart policy."""
        self.docker(*("run", "--detach", "--name", "app", "--network", "none"), *options, "tiny:1", "sh", "-c", script)
        self.docker("update", "--restart", "unless-stopped", "app")

    @contextmanager
    def watched(self, change: str = "") -> Iterator[subprocess.Popen[bytes]]:
        """`change` is Python that changes `watch` before it starts."""
        folders = ["--disk", str(self.host.paths.disk), "--memory", str(self.host.paths.memory)]
        before = self.lines().count("start watch")
        with self.log.open("ab") as output:
            program = f"import sys; from boot import __main__, watch\n{change}\nsys.exit(__main__.main(sys.argv[1:]))"
            argv = [debians_python(), "-c", program, "watch", *folders]
            process = subprocess.Popen(argv, cwd=AMI, stdout=output, stderr=subprocess.STDOUT)
        try:
            self.until(lambda: self.lines().count("start watch") > before, "the watch")
            yield process
        finally:
            process.terminate()
            assert process.wait(timeout=10) == 0, self.lines()

    def lines(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def until(self, found: Callable[[], bool], what: str) -> None:
        wait_until(lambda: None if found() else f"not yet: {self.lines()}", what=what, deadline_s=30)

    def message(self) -> tuple[str, Any]:
        """The one message that was published since the last call."""
        self.until(lambda: bool(self._collect()), "a message")
        (only,) = self.messages
        self.messages = []
        return only

    def silent(self) -> bool:
        return not self._collect()

    def _collect(self) -> list[tuple[str, Any]]:
        self.messages += self.host.mailbox.read()
        return self.messages

    def caught_up(self) -> None:
        """All events so far are processed: a reported exit marks it."""
        self.docker("rm", "--force", "app")
        self.serve("sleep 0.5; exit 99")
        assert self.message()[1]["exit_code"] == 99


@pytest.fixture
def prepared(host: Host, aws: Running, tmp_path: Path) -> Callable[[Docker], Guarded]:
    def prepare(docker: Docker) -> Guarded:
        aws.client("logs").create_log_group(logGroupName=LOGS)
        host.configure(log_boot=LOGS)
        host.paths.memory.mkdir()
        host.paths.env_file.write_text("RELEASE=v1\nURL=postgresql://app:hunter22@db/app\n")
        return Guarded(host=host, docker=docker, log=tmp_path / "watch.log")

    return prepare


@pytest.fixture
def guarded(prepared: Callable[[Docker], Guarded], docker: Docker, base_image: str) -> Guarded:
    return prepared(docker)


def kill(pid: int) -> None:
    """As the kernel's OOM killer does, without Docker."""
    os.kill(pid, signal.SIGKILL)


def pid_of(guarded: Guarded) -> int:
    return int(guarded.docker("inspect", "--format", "{{.State.Pid}}", "app"))


def deaths(guarded: Guarded, since: float) -> list[float]:
    window = ("--since", f"{since:.9f}", "--until", f"{time.time():.9f}")
    lines = guarded.docker("events", *window, "--filter", "event=die", "--format", "{{.TimeNano}}").splitlines()
    return [int(line) / NANOSECONDS for line in lines]


def test_a_killed_app_is_reported_within_seconds(guarded: Guarded, aws: Running) -> None:
    guarded.serve(SERVES, "--env", "URL=postgresql://app:hunter22@db/app")
    began = time.time()
    with guarded.watched():
        kill(pid_of(guarded))
        subject, content = guarded.message()
        received = time.time()
    (died,) = deaths(guarded, began)
    assert received - died < PROMPT_S
    assert subject == f"App exited with 137: dev blue v1 {guarded.host.group.instance}"
    assert datetime.fromisoformat(content["time"]).timestamp() == pytest.approx(died, abs=0.002)
    assert content["lines"] == ["connect to ***"]
    assert (content["kind"], content["exit_code"], content["restarts"], content["suppressed"]) == (
        "app_exited",
        137,
        1,
        0,
    )
    assert (content["release"], content["color"], content["stack"]) == ("v1", "blue", "dev")
    assert (content["instance"], content["zone"]) == (guarded.host.group.instance, "eu-central-1a")
    assert content["error"] == (
        "the app exited unexpectedly with code 137; Docker restarted it (restarts since boot: 1)"
    )
    (event,) = aws.client("logs").filter_log_events(logGroupName=LOGS)["events"]
    assert event["logStreamName"] == f"blue/v1/{guarded.host.group.instance}/failure"
    assert json.loads(event["message"]) == content
    assert metric_sums(aws, "UnexpectedAppExits") == [(BLUE, 1.0)]
    assert "hunter22" not in guarded.lines()


def test_an_out_of_memory_kill_is_reported_as_such(guarded: Guarded) -> None:
    if subprocess.run(["dmesg"], capture_output=True, check=False).returncode:
        pytest.skip("needs to read the kernel's log")
    guarded.serve("sleep 1; exec tail /dev/zero", "--memory", "20m", "--memory-swap", "20m")
    with guarded.watched():
        _, content = guarded.message()
    assert (content["exit_code"], content["out_of_memory"]) == (137, True)
    assert content["error"].startswith("the app exited unexpectedly with code 137 (out of memory); ")


@pytest.mark.parametrize("how", ["stop", "restart", "kill", "rm --force"])
def test_a_requested_exit_is_not_reported(guarded: Guarded, how: str) -> None:
    guarded.serve()
    with guarded.watched():
        guarded.docker(*how.split(), "app")
        guarded.caught_up()


def test_an_exit_during_a_shutdown_is_not_reported(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd = Systemd(tmp_path, monkeypatch)
    systemd.state("stopping")
    guarded.serve()
    with guarded.watched():
        kill(pid_of(guarded))
        guarded.until(lambda: "skip exit reason=the instance is shutting down code=137" in guarded.lines(), "the exit")
        assert guarded.silent()


def test_a_crash_loop_is_one_message_and_each_exit_is_counted(guarded: Guarded, aws: Running) -> None:
    guarded.serve("sleep 0.5; exit 7")
    with guarded.watched():
        assert guarded.message()[1]["exit_code"] == 7
        guarded.until(lambda: sum(count for _, count in metric_sums(aws, "UnexpectedAppExits")) >= 3, "three exits")
        assert guarded.silent()


def test_a_restarted_watch_reports_what_it_missed_and_nothing_twice(guarded: Guarded) -> None:
    guarded.serve()
    kill(pid_of(guarded))  # between the boot's end and the watch's beginning
    with guarded.watched():
        assert guarded.message()[1]["exit_code"] == 137
    guarded.until(lambda: guarded.docker("inspect", "--format", "{{.State.Running}}", "app") == "true", "the app")
    record = json.loads(guarded.host.paths.watch_record.read_text())
    guarded.host.paths.watch_record.write_text(json.dumps({**record, "reported_at": 0.0}))
    with guarded.watched():
        guarded.caught_up()
    guarded.host.paths.watch_record.write_text(json.dumps({**record, "since": time.time_ns(), "reported_at": 0.0}))
    guarded.docker("rm", "--force", "app")
    guarded.serve("sleep 1; exit 5")
    with guarded.watched():
        assert guarded.message()[1]["exit_code"] == 5


def test_a_broken_stream_of_a_running_docker_is_resumed(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Systemd(tmp_path, monkeypatch)
    guarded.serve()
    with guarded.watched() as process:
        guarded.until(lambda: bool(streams(process.pid)), "the stream")
        for pid in streams(process.pid):
            kill(pid)
        guarded.until(lambda: "reconnect docker events" in guarded.lines(), "the reconnection")
        guarded.caught_up()


def streams(parent: int) -> list[int]:
    """The process's `docker events` children."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"events" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]


class Systemd:
    """A fake `systemctl` that reports a given state of Docker's daemon."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._show, self._is = folder / "show", folder / "is-system-running"
        (folder / "bin").mkdir()
        program = folder / "bin" / "systemctl"
        program.write_text(f'#!/bin/sh\nexec cat "{folder}/$1"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
        self.restarts = self.starts = 0
        self.state("running")
        self.daemon("active")

    def state(self, word: str) -> None:
        self._is.write_text(f"{word}\n")

    def daemon(self, state: str) -> None:
        text = f"ActiveState={state}\nInvocationID=start-{self.starts}\nNRestarts={self.restarts}\n"
        new = self._show.with_suffix(".new")
        new.write_text(text)
        new.replace(self._show)


@dataclass(kw_only=True)
class Daemon:
    """A dockerd that can be killed and restarted, as by systemd, with a containerd that stays, as Debian's."""

    sandbox: Sandbox
    options: tuple[str, ...]
    systemd: Systemd
    process: Process = field(init=False)

    def __post_init__(self) -> None:
        self.root, self.address = self.sandbox.temporary("docker"), self.sandbox.sockets / "docker.sock"
        self.socket = self.sandbox.sockets / "containerd.sock"
        (self.root / "containerd.toml").write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        folders = ["--root", str(self.root / "containerd"), "--state", str(self.sandbox.sockets / "containerd")]
        config = ["--config", str(self.root / "containerd.toml"), "--address", str(self.socket)]
        containerd = self.sandbox.start("containerd", ["containerd", *config, *folders])
        self.sandbox.wait_ready(containerd, self._no_socket, what="containerd", deadline=60)

    def _no_socket(self) -> str | None:
        return None if self.socket.exists() else "no socket yet"

    def start(self) -> None:
        (self.root / "docker.pid").unlink(missing_ok=True)
        storage = ["--data-root", str(self.root / "data"), "--exec-root", str(self.sandbox.sockets / "exec")]
        reached = ["--host", f"unix://{self.address}", "--pidfile", str(self.root / "docker.pid"), "--bridge", "none"]
        others = [
            "--containerd",
            str(self.socket),
            "--iptables=false",
            "--ip-masq=false",
            "--ip-forward=false",
        ]
        self.systemd.starts += 1
        argv = ["dockerd", *storage, *reached, *others, *self.options]
        self.process = self.sandbox.start(f"dockerd-{self.systemd.starts}", argv, grace=20.0)
        self.sandbox.wait_ready(self.process, pings(self.address), what="the Docker daemon", deadline=60)
        self.systemd.daemon("active")

    def end(self, number: signal.Signals) -> None:
        self.process.popen.send_signal(number)
        self.process.popen.wait(timeout=60)
        self.systemd.daemon("inactive" if number is signal.SIGTERM else "activating")


@pytest.fixture(params=["live-restore", "plain"])
def daemon(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    client = Path(find_client()).parent
    monkeypatch.setenv("PATH", f"{client}:{os.environ['PATH']}")
    options = ("--live-restore",) if request.param == "live-restore" else ()
    with Sandbox.open(runs=tmp_path / "runs", with_network=False) as sandbox:
        found = Daemon(sandbox=sandbox, options=options, systemd=Systemd(tmp_path, monkeypatch))
        found.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{found.address}")
        yield found
        subprocess.run([find_client(), "rm", "--force", "app"], capture_output=True, check=False)


@pytest.fixture
def alone(prepared: Callable[[Docker], Guarded], daemon: Daemon, tmp_path: Path) -> Guarded:
    """With a separate Docker."""
    client = find_client()

    def docker(*arguments: str) -> str:
        done = subprocess.run([client, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    docker("import", str(rootfs(tmp_path / "rootfs.tar")), "tiny:1")
    return prepared(docker)


def disconnected(guarded: Guarded) -> bool:
    return "reconnect docker events" in guarded.lines()


def test_a_docker_crash_is_reported_with_the_apps_state(alone: Guarded, daemon: Daemon, aws: Running) -> None:
    alone.serve()
    with alone.watched():
        alone.until(lambda: alone.host.paths.watch_record.exists(), "the record")
        daemon.end(signal.SIGKILL)
        alone.until(lambda: disconnected(alone), "the reconnection")
        daemon.systemd.restarts += 1
        daemon.start()
        subject, content = alone.message()
        assert subject == f"Docker failed: dev blue v1 {alone.host.group.instance}"
        assert content["error"].startswith("the Docker daemon crashed and was down for ")
        stays = "--live-restore" in daemon.options
        if stays:
            assert content["error"].endswith(" s; the app kept running")
        else:
            assert content["error"].endswith("it stays exited (exit code 0); the group's health check decides")
        assert sum(count for _, count in metric_sums(aws, "UnexpectedAppExits")) == (0 if stays else 1)


def test_an_app_exit_during_a_docker_crash_is_part_of_its_report(alone: Guarded, daemon: Daemon) -> None:
    alone.serve()
    with alone.watched():
        alone.until(lambda: alone.host.paths.watch_record.exists(), "the record")
        app = pid_of(alone)
        daemon.end(signal.SIGKILL)
        alone.until(lambda: disconnected(alone), "the reconnection")
        kill(app)
        daemon.systemd.restarts += 1
        daemon.start()
        _, content = alone.message()
        assert content["error"].endswith(" s; Docker restarted it")
        assert (content["kind"], content["suppressed"]) == ("docker_failed", 0)


@pytest.mark.parametrize("daemon", ["live-restore"], indirect=True)
def test_a_docker_that_stays_down_is_reported(alone: Guarded, daemon: Daemon) -> None:
    alone.serve()
    with alone.watched("watch.DOWN_ALERT_SECONDS = 1.0"):
        alone.until(lambda: alone.host.paths.watch_record.exists(), "the record")
        daemon.end(signal.SIGKILL)
        _, content = alone.message()
        assert re.fullmatch(
            r"the Docker daemon has been down for \d+ s; its state in systemd is activating", content["error"]
        )
        daemon.start()


def test_a_manual_docker_restart_is_not_reported(alone: Guarded, daemon: Daemon) -> None:
    """And the watch's own requests don't start it while it is stopped."""
    alone.serve()
    with alone.watched():
        alone.until(lambda: alone.host.paths.watch_record.exists(), "the record")
        daemon.end(signal.SIGTERM)
        alone.until(lambda: disconnected(alone), "the reconnection")
        daemon.start()
        alone.caught_up()

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from ami.boot.commands import CommandError
from ami.boot.container import (
    NotReadyError,
    RunArgs,
    enable_restarts,
    last_lines,
    not_ready_reason,
    replace,
    run_command,
    stop,
    wait_ready,
)
from ami.boot.image import prepare
from ami.boot.retrying import Deadline
from ami.boot.unpack import BundleKind
from ami.boot.user_data import UserData, parse
from tests.ami.releases import free_port, source, user_data

Docker = Callable[..., str]


def args(env_file: Path, **changed: object) -> RunArgs:
    return RunArgs(user_data=parse(user_data(**changed)), env_file=env_file, instance_id="i-1", region="eu-central-1")


def test_the_command_holds_no_value_of_the_environment() -> None:
    assert run_command(args(Path("/run/bluegreen/app.env"))) == [
        *("docker", "run", "--detach", "--name", "app"),
        *("--publish", "8080:8080", "--env-file", "/run/bluegreen/app.env"),
        *("--stop-timeout", "5", "release:v1"),
    ]


def test_logs_are_sent_without_ever_blocking_the_app() -> None:
    data = parse(user_data(log_app="/bluegreen/dev/app"))
    given = RunArgs(
        user_data=data, env_file=Path("e"), instance_id="i-1", region="eu-central-1", endpoint="http://10.0.0.1:5000"
    )
    command = run_command(given)
    assert command[command.index("--log-driver") + 1] == "awslogs"
    assert {part.removeprefix("--log-opt=") for part in command if part.startswith("--log-opt=")} == {
        "awslogs-region=eu-central-1",
        "awslogs-group=/bluegreen/dev/app",
        "awslogs-stream=blue/v1/i-1/app",
        "awslogs-endpoint=http://10.0.0.1:5000",
        "mode=non-blocking",
        "max-buffer-size=4m",
    }


class _Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def health() -> Iterator[Callable[[int, bytes], UserData]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Health)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(status: int, body: bytes) -> UserData:
        server.answer = (status, body)  # type: ignore[attr-defined]
        return parse(user_data(port=server.server_address[1], health_path="/health"))

    yield answer
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b'{"status": "ok", "release": "v1"}', None),
        (200, b'{"status": "ok", "release": "v0"}', "/health answers release 'v0'"),
        (200, b"ok", "/health answers 200 without JSON that names the release"),
        (200, b"[]", "/health answers 200 without JSON that names the release"),
        (503, b'{"checks": {"database": "down"}}', '/health answers 503: {"checks": {"database": "down"}}'),
        (302, b"", "/health answers 302: "),
    ],
)
def test_ready_means_200_with_this_release(
    health: Callable[[int, bytes], UserData], status: int, body: bytes, reason: str | None
) -> None:
    assert not_ready_reason(health(status, body)) == reason


def test_a_closed_port_is_not_ready() -> None:
    port = free_port()
    assert f"no answer on port {port}" in (not_ready_reason(parse(user_data(port=port))) or "")


@pytest.fixture
def app(docker: Docker, base_image: str, tmp_path: Path) -> Callable[..., RunArgs]:
    """Builds a release from the small app with changed files, and returns how to run it."""

    def build(release: str, environment: str = "", **changed: str) -> RunArgs:
        top = source(tmp_path / release, **changed)
        given = args(tmp_path / f"{release}.env", version=release, base_image=base_image, port=free_port())
        given.env_file.write_text(f"PORT={given.user_data.app.port}\nRELEASE={release}\n{environment}")
        prepare(BundleKind.SOURCE, top, given.user_data, Deadline(60))
        return given

    return build


@pytest.mark.docker
def test_a_container_is_replaced_with_its_environment_as_after_a_reboot(
    docker: Docker, app: Callable[..., RunArgs]
) -> None:
    given = app("v1", "GREETING=Hello\n")
    replace(given, Deadline(30))
    wait_ready("app", given.user_data, Deadline(20))
    enable_restarts("app", Deadline(5))
    assert docker("inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", "app") == "unless-stopped"
    first = docker("ps", "--quiet", "--no-trunc")

    given.env_file.write_text(given.env_file.read_text().replace("Hello", "Good evening"))
    replace(given, Deadline(30))
    wait_ready("app", given.user_data, Deadline(20))
    assert docker("ps", "--quiet", "--no-trunc") != first
    assert "GREETING=Good evening" in docker("inspect", "--format", "{{.Config.Env}}", "app")


@pytest.mark.docker
def test_a_crash_is_noticed_at_once_with_its_last_lines(app: Callable[..., RunArgs]) -> None:
    given = app("v-crash", serve="#!/bin/sh\necho no module named flask\nexit 7\n")
    replace(given, Deadline(30))
    began = time.monotonic()
    with pytest.raises(NotReadyError, match=r"exited with 7 before it was ready; .*no module named flask"):
        wait_ready("app", given.user_data, Deadline(60))
    assert time.monotonic() - began < 5


@pytest.mark.docker
def test_an_app_that_never_gets_ready_fails_with_its_last_answer(app: Callable[..., RunArgs]) -> None:
    broken = "#!/bin/sh\nprintf 'Status: 503\\r\\n\\r\\ndatabase down'\n"
    given = app("v-sick", health=broken)
    replace(given, Deadline(30))
    with pytest.raises(NotReadyError, match=r"timed out; health: /cgi-bin/health answers 503: database down"):
        wait_ready("app", given.user_data, Deadline(2))


@pytest.mark.docker
def test_stop_lets_the_app_finish(docker: Docker, app: Callable[..., RunArgs]) -> None:
    given = app("v-stop")
    replace(given, Deadline(30))
    wait_ready("app", given.user_data, Deadline(20))
    stop("app", 10)
    assert docker("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "app") == "exited 0"
    assert last_lines("app")[-1] == "finished"


@pytest.mark.docker
def test_a_taken_port_fails_the_run_with_dockers_reason(docker: Docker, app: Callable[..., RunArgs]) -> None:
    given = app("v-port")
    docker("run", "--detach", "--name", "other", "--publish", f"{given.user_data.app.port}:1", "tiny:1", "sleep", "60")
    with pytest.raises(CommandError, match=r"docker run exited with 125: .*port is already allocated"):
        replace(given, Deadline(30))


@pytest.mark.docker
def test_no_container_has_no_log_and_that_is_said(docker: Docker) -> None:
    assert "no log of app" in last_lines("app")[0]


@pytest.mark.docker
def test_the_last_lines_before_a_moment_are_not_those_of_the_next_start(docker: Docker, base_image: str) -> None:
    docker("run", "--name", "app", base_image, "sh", "-c", "echo said")
    ended = docker("inspect", "--format", "{{.State.FinishedAt}}", "app")
    docker("start", "--attach", "app")
    assert last_lines("app") == ["said", "said"]
    assert last_lines("app", until=ended) == ["said"]

"""Failure notifications of a boot while services are down, hanging or late."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ami.boot import failure_notifications, report
from ami.boot.__main__ import failed
from ami.boot.cloud import ANSWER_SECONDS
from ami.boot.masking import TAIL_LINES, Secrets
from ami.boot.messages import MAX_BYTES, body, sanitized
from ami.boot.retrying import Deadline
from ami.boot.user_data import REPORTING_SECONDS
from tests.ami.fault_proxy import FaultProxy, fault_proxy
from tests.ami.releases import TlsServer, app_bundle
from tests.ami.test_boot import Host, host, parameter
from tests.ami.test_report import FAILURE
from tests.rehearsal.cloud.fleet import Running

__all__ = ["host"]

BOOT_LOGS = "/bluegreen/dev/boot"


@pytest.fixture
def proxy(aws: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with fault_proxy(aws.aws) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        yield found


@pytest.fixture
def failing(host: Host, aws: Running, web: TlsServer) -> Host:
    """An instance whose bundle is missing, so that its boot fails at once."""
    aws.client("logs").create_log_group(logGroupName=BOOT_LOGS)
    host.configure(url=web.url("/nothing"), log_boot=BOOT_LOGS)
    return host


def events(aws: Running, instance: str) -> list[Any]:
    found = aws.client("logs").filter_log_events(logGroupName=BOOT_LOGS)["events"]
    assert {event["logStreamName"] for event in found} <= {f"blue/v1/{instance}/failure"}
    return [json.loads(event["message"]) for event in found]


def test_all_channels_are_notified_within_the_launch_hooks_reserve() -> None:
    last_call = 2 + 3  # connecting and reading, see cloud.py
    assert report.NOTIFY_SECONDS + 2 * report.GROUP_SECONDS + last_call <= REPORTING_SECONDS
    assert report.NOTIFY_SECONDS + report.LATE_SECONDS > ANSWER_SECONDS


def test_the_event_in_the_boot_log_is_the_notification_word_for_word(failing: Host, aws: Running) -> None:
    assert failing.run().returncode == 1
    ((_, content),) = failing.mailbox.read()
    assert events(aws, failing.group.instance) == [content]
    assert failing.status()["notified"] == ["notification", "event", "metric", "group"]


@pytest.mark.parametrize("how", ["down", "hanging"])
def test_without_sns_the_others_are_notified_in_time_and_the_topic_as_soon_as_it_is_back(
    failing: Host, aws: Running, proxy: FaultProxy, how: str
) -> None:
    getattr(proxy, how).add("sns")
    assert failing.run().returncode == 1
    assert failing.status()["notified"] == ["event", "metric", "group"]
    failing.group.wait_for("Terminating", "Terminating:Wait", "gone")
    assert [one["step"] for one in events(aws, failing.group.instance)] == ["download"]
    assert failing.mailbox.read() == []

    proxy.down.clear()
    proxy.hanging.clear()
    assert failing.run("failed").returncode == 0
    ((subject, content),) = failing.mailbox.read()
    assert subject.startswith("Boot failed at download: dev blue v1 i-")
    assert content["error"].endswith("/nothing: answered 404 Not Found")
    assert len(events(aws, failing.group.instance)) == 1
    assert failing.failures("blue") == 1
    assert failing.status()["reported"] is True


@pytest.mark.parametrize("service", ["logs", "monitoring"])
@pytest.mark.parametrize("how", ["down", "hanging"])
def test_the_topic_is_notified_whatever_else_is_down(
    failing: Host, aws: Running, proxy: FaultProxy, how: str, service: str
) -> None:
    getattr(proxy, how).add(service)
    done = failing.run()
    assert done.returncode == 1
    notified = failing.status()["notified"]
    assert notified == [
        name for name in failure_notifications.ALL if name != {"logs": "event", "monitoring": "metric"}[service]
    ]
    failing.group.wait_for("Terminating", "Terminating:Wait", "gone")
    ((_, content),) = failing.mailbox.read()
    assert content["time"] == failing.status()["finished"]


def test_channels_are_notified_concurrently(failing: Host, proxy: FaultProxy) -> None:
    """Three that hang are called before the group is, though none of them answers."""
    proxy.hanging.update({"sns", "logs", "monitoring"})
    assert failing.run().returncode == 1
    assert failing.status()["notified"] == ["group"]
    before_the_group = proxy.requested[: proxy.requested.index("autoscaling")]
    assert sorted(before_the_group) == ["logs", "monitoring", "sns", "ssm"], "ssm has the app's parameters"


def test_a_request_without_an_answer_is_repeated_with_the_same_time(failing: Host, proxy: FaultProxy) -> None:
    """A duplicate is better than nothing: the boot can't know that SNS took the message."""
    proxy.late.add("sns")
    assert failing.run().returncode == 1
    assert failing.status()["notified"] == ["event", "metric", "group"]
    proxy.release()
    assert failing.run("failed").returncode == 0
    (_, first), (_, second) = failing.mailbox.read()
    assert first["time"] == second["time"] == failing.status()["finished"]
    assert failing.status()["reported"] is True


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Records its arguments, instead of powering off this host."""
    called, folder = tmp_path / "systemctl-called", tmp_path / "bin"
    folder.mkdir()
    (folder / "systemctl").write_text(f'#!/bin/sh\necho "$@" > {called}\n')
    (folder / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(failure_notifications, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(report, "GROUP_SECONDS", 0.1)  # a group that is down refuses at once
    return called


def test_an_instance_that_cannot_reach_its_group_powers_itself_off(
    failing: Host, proxy: FaultProxy, systemctl: Path
) -> None:
    proxy.down.add("autoscaling")
    assert failing.run().returncode == 1
    assert failing.status()["notified"] == ["notification", "event", "metric"]
    assert not systemctl.exists(), "the boot leaves that to the failure unit"
    assert failed(failing.paths) == 1
    assert systemctl.read_text() == "--no-block poweroff\n"


def test_an_instance_that_served_before_is_left_to_the_load_balancers_checks(
    failing: Host, proxy: FaultProxy, systemctl: Path
) -> None:
    failing.paths.disk.mkdir()
    failing.paths.status.write_text('{"state": "failed", "step": "config", "served_before": true}')
    proxy.down.add("autoscaling")
    assert failed(failing.paths) == 1
    assert not systemctl.exists()


def test_an_instance_without_an_identity_powers_itself_off(
    failing: Host, systemctl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("ami.boot.__main__.FAILED_SECONDS", 0.1)
    assert failed(failing.paths) == 1
    assert systemctl.read_text() == "--no-block poweroff\n"


def test_an_instance_whose_group_was_notified_stays_on(failing: Host, proxy: FaultProxy, systemctl: Path) -> None:
    proxy.down.add("sns")
    assert failing.run().returncode == 1
    assert failed(failing.paths) == 1
    assert not systemctl.exists()


def test_an_earlier_event_of_the_same_instance_is_kept(aws: Running) -> None:
    from ami.boot.cloud import Cloud

    aws.client("logs").create_log_group(logGroupName=BOOT_LOGS)
    for _ in range(2):
        report.write_event(Cloud("eu-central-1"), BOOT_LOGS, FAILURE, Deadline(5))
    assert [one["instance"] for one in events(aws, "i-1")] == ["i-1", "i-1"]


SECRETS = {
    "DATABASE_URL": "postgresql://app:s%C3%A9cret+pass%2Fword@db:5432/app",
    "API_KEY": "aB3+/=zZ9?&k",
    "JSON_KEY": '{"private": "AAAA-BBBB"}',
}
LOOSE = ["sécret+pass/word", "s%C3%A9cret+pass%2Fword"]


def forms(secret: str) -> list[str]:
    """As apps print them: plain, in a URL, in base64 alone and behind a user's name, in JSON."""
    return [
        secret,
        quote(secret, safe=""),
        base64.b64encode(secret.encode()).decode(),
        base64.urlsafe_b64encode(b"user:" + secret.encode()).decode(),
        json.dumps(secret)[1:-1],
    ]


@pytest.mark.docker
def test_the_last_fifty_lines_are_reported_and_no_secret_in_any_form(
    host: Host, aws: Running, web: TlsServer, docker: Callable[..., str], base_image: str, tmp_path: Path
) -> None:
    for name, value in SECRETS.items():
        parameter(aws, name, value, "SecureString")
    aws.client("logs").create_log_group(logGroupName=BOOT_LOGS)
    printed = [form for secret in [*SECRETS.values(), *LOOSE] for form in forms(secret)]
    lines = [f"line {number} {printed[number % len(printed)]}" for number in range(90)]
    script = "\n".join(["#!/bin/sh", "while read -r line; do echo \"$line\"; done <<'END'", *lines, "END", "exit 3\n"])
    source = app_bundle(tmp_path / "b", serve=script)
    host.configure(url=web.file("/v1.tar.gz", source), base_image=base_image, log_boot=BOOT_LOGS)
    done = host.run()
    assert done.returncode == 1
    ((_, content),) = host.mailbox.read()
    assert (content["step"], len(content["lines"])) == ("ready", TAIL_LINES)
    assert content["lines"][-1].startswith("fail step=ready error=the container exited with 3 before it was ready")
    assert content["lines"][-2].startswith("app: line 89 ***")
    seen = [done.stdout, done.stderr, json.dumps(content, ensure_ascii=False), host.paths.log.read_text()]
    seen += [host.paths.status.read_text(), json.dumps(events(aws, host.group.instance), ensure_ascii=False)]
    coded = {form for secret in [*SECRETS.values(), *LOOSE] for form in forms(secret)}
    assert [form for form in coded for text in seen if form in text] == []
    # Of a name and a password coded together, what the name's letters reach into may stand, and nothing behind it.
    hearts = {form[8:-4] for form in coded if len(form) > 20}
    assert [heart for heart in hearts for text in seen if heart in text] == []
    assert all("***" in line for line in content["lines"] if line.startswith("app: line"))


def test_fifty_lines_of_maximum_length_fit_into_one_message() -> None:
    widest = replace(FAILURE, error="😀" * 9_000, lines=("😀" * 1_000,) * TAIL_LINES)
    assert len(body(sanitized(widest, Secrets())).encode()) < MAX_BYTES


def test_the_failure_unit_masks_the_apps_parameters(failing: Host) -> None:
    failing.paths.disk.mkdir()
    failing.paths.memory.mkdir()
    failing.paths.env_file.write_text("RELEASE=v1\nTOKEN=hunter22\n")
    failing.paths.status.write_text('{"state": "booting", "step": "run", "error": "started with hunter22"}')
    assert failing.run("failed").returncode == 0
    ((_, content),) = failing.mailbox.read()
    assert (content["error"], content["release"]) == ("started with ***", "v1")

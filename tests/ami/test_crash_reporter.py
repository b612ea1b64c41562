"""Crash reports while services are up, down, hanging or late, and while another message was just sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ami.boot import crash_reporter, report
from ami.boot.boot_context import BootContext
from ami.boot.cloud import Cloud
from ami.boot.crash_reporter import CrashReporter, WatchRecord
from ami.boot.masking import Secrets
from ami.boot.messages import AppExited, DockerFailed, sanitized
from ami.boot.user_data import ReportingInfo
from fleet.waiting import wait_until
from tests.ami.fault_proxy import FaultProxy, fault_proxy
from tests.ami.group import Mailbox
from tests.ami.releases import user_data
from tests.ami.test_report import BLUE, metric_sums
from tests.rehearsal.cloud.fleet import REGION, Running

LOGS = "/bluegreen/dev/boot"
ORIGIN = {
    "stack": "dev",
    "color": "blue",
    "release": "v1",
    "instance": "i-1",
    "zone": "eu-central-1a",
    "region": REGION,
}
RAW = AppExited(
    **ORIGIN,  # type: ignore[arg-type]
    error="the app exited unexpectedly with code 137 (out of memory), password hunter22",
    time="2026-01-01T00:00:00.000Z",
    exit_code=137,
    out_of_memory=True,
    restarts=1,
    lines=("line 1", "used hunter22"),
)
EXIT = sanitized(RAW, Secrets(["hunter22"]))
DOWN = DockerFailed(**ORIGIN, error="the Docker daemon is down")  # type: ignore[arg-type]


@pytest.fixture
def proxy(aws: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Long timeouts, however busy this host is; failed reports are retried at once."""
    monkeypatch.setattr(crash_reporter, "RETRY_PAUSE", 0.0)
    monkeypatch.setattr(report, "NOTIFY_SECONDS", 60.0)
    with fault_proxy(aws.aws) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        yield found


@pytest.fixture
def mailbox(aws: Running, proxy: FaultProxy, context: BootContext) -> Mailbox:
    """Of the topic in the instance's user data, which also names the log group."""
    aws.client("logs").create_log_group(logGroupName=LOGS)
    box = Mailbox.create(aws)
    context.cloud = Cloud(REGION)
    context.reporting_info = ReportingInfo.parse(user_data(alerts_topic_arn=box.topic, log_boot=LOGS))
    return box


def events(aws: Running) -> list[Any]:
    found = aws.client("logs").filter_log_events(logGroupName=LOGS)["events"]
    assert {event["logStreamName"] for event in found} <= {"blue/v1/i-1/failure"}
    return [json.loads(event["message"]) for event in found]


def test_topic_boot_log_and_metric_are_notified_once(aws: Running, context: BootContext, mailbox: Mailbox) -> None:
    reporter = CrashReporter(context, WatchRecord())
    reporter.enqueue(EXIT, exits=1)
    reporter.push()
    ((subject, content),) = mailbox.read()
    assert subject == "App exited with 137: dev blue v1 i-1"
    assert content == {
        "kind": "app_exited",
        "subject": subject,
        **ORIGIN,
        "time": "2026-01-01T00:00:00.000Z",
        "error": "the app exited unexpectedly with code 137 (out of memory), password ***",
        "exit_code": 137,
        "out_of_memory": True,
        "restarts": 1,
        "suppressed": 0,
        "lines": ["line 1", "used ***"],
    }
    assert events(aws) == [content]
    assert metric_sums(aws, "UnexpectedAppExits") == [(BLUE, 1.0)]


def test_a_docker_crash_is_reported_and_counts_no_app_exit(
    context: BootContext, mailbox: Mailbox, aws: Running
) -> None:
    CrashReporter(context, WatchRecord()).enqueue(DOWN, exits=0)
    ((subject, content),) = mailbox.read()
    assert (subject, content["kind"]) == ("Docker failed: dev blue v1 i-1", "docker_failed")
    assert metric_sums(aws, "UnexpectedAppExits") == []


def test_of_many_crashes_one_is_reported_and_later_the_last_with_the_number_suppressed(
    aws: Running, context: BootContext, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter = CrashReporter(context, WatchRecord())
    for code in range(1, 6):
        reporter.enqueue(replace(EXIT, exit_code=code), exits=1)
    ((_, first),) = mailbox.read()
    assert (first["exit_code"], first["suppressed"]) == (1, 0)
    reporter.push()
    assert mailbox.read() == []
    monkeypatch.setattr(crash_reporter, "MESSAGE_INTERVAL_SECONDS", 0.0)
    reporter.push()
    ((_, last),) = mailbox.read()
    assert (last["exit_code"], last["suppressed"]) == (5, 3)
    assert last["error"].endswith("; 3 more since the last message were not reported")
    assert metric_sums(aws, "UnexpectedAppExits") == [(BLUE, 5.0)], "the metric counts each of them"


def test_a_restarted_watch_keeps_the_interval_and_the_count(
    context: BootContext, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, path = WatchRecord(), context.paths.watch_record
    reporter = CrashReporter(context, record)
    reporter.enqueue(EXIT, exits=1)
    reporter.enqueue(EXIT, exits=1)
    record.save(path)
    assert len(mailbox.read()) == 1
    again = WatchRecord.load(path)
    assert again == record
    later = CrashReporter(context, again)
    later.enqueue(EXIT, exits=1)
    assert mailbox.read() == []
    monkeypatch.setattr(crash_reporter, "MESSAGE_INTERVAL_SECONDS", 0.0)
    later.push()
    ((_, content),) = mailbox.read()
    assert content["suppressed"] == 1


SERVICES = ["sns", "logs", "monitoring"]


class Arrivals:
    """What has arrived at the topic, the boot log and the metric."""

    def __init__(self, aws: Running, mailbox: Mailbox) -> None:
        self._aws, self._mailbox, self._messages = aws, mailbox, 0

    def by(self, service: str) -> float:
        match service:
            case "sns":
                self._messages += len(self._mailbox.read())
                return self._messages
            case "logs":
                return len(events(self._aws))
            case _:
                return sum(value for _, value in metric_sums(self._aws, "UnexpectedAppExits"))

    def all(self) -> dict[str, float]:
        return {service: self.by(service) for service in SERVICES}


@pytest.fixture
def arrivals(aws: Running, mailbox: Mailbox) -> Arrivals:
    return Arrivals(aws, mailbox)


def push_until(reporter: CrashReporter, reason: Callable[[], str | None]) -> None:
    """As the watch does, which pushes once a second."""

    def pushed() -> str | None:
        reporter.push()
        return reason()

    wait_until(pushed, what="the report", deadline_s=60)


@pytest.fixture
def short_timeout(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """No report is waited for: what arrives later must count as well, and once."""
    monkeypatch.setattr(report, "NOTIFY_SECONDS", 0.05)


@pytest.mark.usefixtures("short_timeout")
@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("how", ["down", "hanging", "late"])
def test_a_service_that_is_down_is_notified_later_and_the_others_meanwhile_each_once(
    context: BootContext, arrivals: Arrivals, proxy: FaultProxy, how: str, service: str
) -> None:
    getattr(proxy, how).add(service)
    others = [name for name in SERVICES if name != service]
    reporter = CrashReporter(context, WatchRecord())
    reporter.enqueue(EXIT, exits=1)
    push_until(reporter, lambda: None if [arrivals.by(name) for name in others] == [1, 1] else f"{arrivals.all()}")
    assert arrivals.by(service) <= int(how == "late")
    proxy.release()
    push_until(reporter, lambda: None if reporter.is_done else f"{arrivals.all()}")
    assert arrivals.all() == dict.fromkeys(SERVICES, 1)


@pytest.mark.usefixtures("short_timeout")
@pytest.mark.parametrize("service", SERVICES)
def test_a_request_whose_answer_is_late_is_not_sent_again(
    context: BootContext, arrivals: Arrivals, proxy: FaultProxy, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS has processed it already, and would count and notify the second one as well."""
    monkeypatch.setattr("ami.boot.cloud.ANSWER_SECONDS", 60.0)
    proxy.late.add(service)
    reporter = CrashReporter(context, WatchRecord())
    reporter.enqueue(EXIT, exits=1)
    push_until(reporter, lambda: None if arrivals.by(service) else "nothing has arrived")
    for _ in range(5):
        reporter.push()
    assert not reporter.is_done
    proxy.release()
    push_until(reporter, lambda: None if reporter.is_done else f"{arrivals.all()}")
    assert arrivals.all() == dict.fromkeys(SERVICES, 1)


@pytest.mark.usefixtures("short_timeout")
def test_exits_during_a_pending_count_are_counted_after_it(
    context: BootContext, arrivals: Arrivals, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ami.boot.cloud.ANSWER_SECONDS", 60.0)
    proxy.late.add("monitoring")
    reporter = CrashReporter(context, WatchRecord())
    reporter.enqueue(EXIT, exits=1)
    push_until(reporter, lambda: None if arrivals.by("monitoring") else "nothing has arrived")
    reporter.enqueue(EXIT, exits=1)
    reporter.enqueue(EXIT, exits=1)
    assert arrivals.by("monitoring") == 1
    proxy.release()
    push_until(reporter, lambda: None if reporter.is_done else f"{arrivals.all()}")
    assert arrivals.by("monitoring") == 3


def test_retries_end_after_a_while(
    context: BootContext,
    mailbox: Mailbox,
    proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(crash_reporter, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(report, "NOTIFY_SECONDS", 0.05)
    proxy.down.add("sns")
    reporter = CrashReporter(context, WatchRecord())
    reporter.enqueue(EXIT, exits=1)
    assert re.search("give up crash report channels=.*notification", caplog.text)
    proxy.release()
    assert reporter.is_done
    reporter.push()
    assert mailbox.read() == []


def test_without_a_topic_only_the_metric_is_counted(context: BootContext, aws: Running) -> None:
    context.reporting_info = ReportingInfo.parse(user_data())
    CrashReporter(context, WatchRecord()).enqueue(EXIT, exits=1)
    assert metric_sums(aws, "UnexpectedAppExits") == [(BLUE, 1.0)]


@pytest.mark.parametrize("text", ["", "[]", '{"since": 1, "unknown": 2}'])
def test_a_record_that_cannot_be_read_is_a_new_one(context: BootContext, text: str) -> None:
    context.paths.memory.mkdir()
    context.paths.watch_record.write_text(text)
    assert WatchRecord.load(context.paths.watch_record) == WatchRecord()

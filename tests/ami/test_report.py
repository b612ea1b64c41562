from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ReadTimeoutError

from ami.boot.cloud import Cloud
from ami.boot.masking import Secrets
from ami.boot.messages import BootFailed, body, sanitized
from ami.boot.report import (
    BackgroundReports,
    LifecycleAction,
    abandon_launch,
    best_effort,
    complete,
    group_of,
    publish,
    put_failure,
    put_timings,
)
from ami.boot.retrying import Deadline
from fleet.waiting import wait_until
from tests.ami.fault_proxy import FaultProxy, fault_proxy
from tests.ami.group import GROUP, Group, Mailbox
from tests.rehearsal.cloud.fleet import REGION, Running

RAW = BootFailed(
    step="image",
    error="docker build exited with 1: password hunter22 is wrong",
    instance="i-1",
    release="v1",
    color="blue",
    stack="dev",
    region=REGION,
    zone="eu-central-1a",
    time="2026-01-01T00:00:00.000Z",
    step_seconds={"identity": 0.01, "image": 3.5},
    lines=("line 1", "used hunter22"),
)
SECRETS = Secrets(["hunter22"])
FAILURE = sanitized(RAW, SECRETS)


def soon() -> Deadline:
    return Deadline(5)


def test_the_message_carries_all_that_is_known_and_no_secret() -> None:
    assert json.loads(body(FAILURE)) == {
        "kind": "boot_failed",
        "subject": "Boot failed at image: dev blue v1 i-1",
        "stack": "dev",
        "region": REGION,
        "time": "2026-01-01T00:00:00.000Z",
        "color": "blue",
        "release": "v1",
        "instance": "i-1",
        "zone": "eu-central-1a",
        "error": "docker build exited with 1: password *** is wrong",
        "step": "image",
        "step_seconds": {"identity": 0.01, "image": 3.5},
        "lines": ["line 1", "used ***"],
    }


SNS_BYTES = 256 * 1024


@pytest.mark.parametrize("letter", ["x", "\x1b", "\0", "\r", '"', "\\", "é", "🚀", "\ud800", "\x7f"])
def test_a_message_of_any_letters_is_one_that_sns_takes(letter: str) -> None:
    text = body(sanitized(replace(RAW, error=letter * 100_000, lines=(letter * 50_000,) * 100), SECRETS))
    assert len(text.encode()) < SNS_BYTES
    content = json.loads(text)
    assert len(content["lines"]) == 50
    assert content["lines"][0] == (letter if letter.isprintable() and letter != "\ud800" else "?") * 1000


def test_lines_and_tabs_of_an_error_stay() -> None:
    content = sanitized(replace(RAW, error="one\n\ttwo\r"), SECRETS)
    assert content.error == "one\n\ttwo?"


@pytest.mark.parametrize("release", ["v1", "v" * 300, "é\nnew line"])
def test_the_subject_is_one_that_sns_takes(release: str) -> None:
    text = replace(FAILURE, step="run", release=release).subject
    assert text.startswith("Boot failed at run: dev blue ")
    assert len(text) <= 100
    assert text.isascii()
    assert text.isprintable()


def test_a_failure_is_published_to_the_topic(aws: Running, cloud: Cloud) -> None:
    mailbox = Mailbox.create(aws)
    publish(cloud, mailbox.topic, FAILURE, soon())
    ((title, content),) = mailbox.read()
    assert title == "Boot failed at image: dev blue v1 i-1"
    assert content["lines"] == ["line 1", "used ***"]


def test_the_group_and_state_are_looked_up(aws: Running, cloud: Cloud) -> None:
    group = Group.create(aws)
    assert group_of(cloud, group.instance, soon()) == (GROUP, "Pending:Wait")
    assert group_of(cloud, "i-0000000000000000f", soon()) == ("", "")


def test_continue_puts_the_instance_into_service(aws: Running, cloud: Cloud) -> None:
    group = Group.create(aws)
    complete(cloud, LifecycleAction(hook="boot", group=GROUP, instance_id=group.instance), "CONTINUE", soon())
    group.wait_for("InService")


def test_a_launch_that_failed_is_abandoned(aws: Running, cloud: Cloud) -> None:
    group = Group.create(aws)
    abandon_launch(cloud, "boot", group.instance, served_before=False)
    group.wait_for("Terminating", "Terminating:Wait", "gone")


def test_without_a_hook_to_abandon_the_instance_is_marked_unhealthy(aws: Running, cloud: Cloud) -> None:
    group = Group.create(aws)
    group.into_service()
    abandon_launch(cloud, "no-such-hook", group.instance, served_before=False)
    assert group.health() in ("Unhealthy", "gone")


def test_an_instance_that_served_before_is_marked_unhealthy(aws: Running, cloud: Cloud) -> None:
    group = Group.create(aws)
    group.into_service()
    abandon_launch(cloud, "boot", group.instance, served_before=True)
    assert group.health() in ("Unhealthy", "gone")


BLUE = {"Stack": "dev", "Color": "blue"}


def metric_sums(aws: Running, name: str) -> list[tuple[dict[str, str], float]]:
    """Dimensions and the sum of what was put, of each metric of that name."""
    watch, now = aws.client("cloudwatch"), datetime.now(UTC)
    found: list[tuple[dict[str, str], float]] = []
    for metric in watch.list_metrics(Namespace="bluegreen", MetricName=name)["Metrics"]:
        points = watch.get_metric_statistics(
            Namespace="bluegreen",
            MetricName=name,
            Dimensions=metric["Dimensions"],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=5),
            Period=600,
            Statistics=["Sum"],
        )["Datapoints"]
        entry = ({each["Name"]: each["Value"] for each in metric["Dimensions"]}, points[0]["Sum"])
        found += [entry] if entry not in found else []  # moto lists a metric once for each of its points
    return sorted(found, key=str)


def test_the_seconds_of_each_step_and_of_the_entire_boot_are_metrics(aws: Running, cloud: Cloud) -> None:
    put_timings(cloud, "bluegreen", BLUE, {"run": 1.5, "ready": 0.25}, soon())
    assert metric_sums(aws, "BootStepSeconds") == [(BLUE | {"Step": "ready"}, 0.25), (BLUE | {"Step": "run"}, 1.5)]
    assert metric_sums(aws, "BootSeconds") == [(BLUE, 1.75)]
    assert metric_sums(aws, "BootFailures") == []


def test_a_failed_boot_is_counted(aws: Running, cloud: Cloud) -> None:
    for _ in range(2):
        put_failure(cloud, "bluegreen", BLUE, soon())
    assert metric_sums(aws, "BootFailures") == [(BLUE, 2.0)]


@pytest.fixture
def proxy(aws: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with fault_proxy(aws.aws) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        yield found


@pytest.mark.parametrize("how", ["hanging", "late"])
def test_a_request_without_an_answer_is_not_repeated(
    aws: Running, proxy: FaultProxy, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by boto3 nor by the deadline's retries: AWS may have processed it."""
    monkeypatch.setattr("ami.boot.cloud.ANSWER_SECONDS", 0.2)
    mailbox = Mailbox.create(aws)
    getattr(proxy, how).add("sns")
    with pytest.raises(ReadTimeoutError):
        publish(Cloud(REGION), mailbox.topic, FAILURE, Deadline(60))
    assert proxy.requested == ["sns"]


def test_a_request_that_was_refused_is_repeated(aws: Running, proxy: FaultProxy) -> None:
    mailbox = Mailbox.create(aws)
    proxy.down.add("sns")
    asked = threading.Thread(target=publish, args=(Cloud(REGION), mailbox.topic, FAILURE, Deadline(60)))
    asked.start()
    wait_until(lambda: None if proxy.requested else "no request", what="the first try", deadline_s=60)
    proxy.release()
    asked.join()
    assert len(mailbox.read()) == 1


def test_a_report_that_is_open_is_not_started_again_and_counts_once_it_has_passed() -> None:
    reports, begun, go_on = BackgroundReports(), list[str](), threading.Event()

    def slow() -> None:
        begun.append("slow")
        go_on.wait()

    def fails() -> None:
        begun.append("fails")
        raise ConnectionError("no way out")

    actions = {"slow": slow, "fails": fails, "quick": lambda: begun.append("quick")}
    reports.start(actions)
    passed = set[str]()
    while reports.is_open("quick") or reports.is_open("fails"):
        passed |= reports.collect(0.1)
    assert (passed, reports.is_open("slow")) == ({"quick"}, True)
    reports.start({"slow": slow})
    assert begun.count("slow") == 1
    go_on.set()
    assert reports.collect(60) == {"slow"}
    assert reports.collect(60) == set()
    reports.start({"slow": slow})
    assert reports.collect(60) == {"slow"}


def test_a_report_that_fails_never_hides_what_it_reports() -> None:
    def fails() -> None:
        raise ConnectionError("no way out")

    assert best_effort("report", fails) is False
    assert best_effort("report", lambda: None) is True

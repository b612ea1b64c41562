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
from ami.boot.report import (
    Action,
    Failure,
    Reports,
    attempt,
    complete,
    give_up,
    group_of,
    message,
    notify,
    put_failure,
    put_timings,
    subject,
)
from ami.boot.retrying import Deadline
from checks.waiting import wait_until
from tests.ami.front import Front, fronted
from tests.ami.group import GROUP, Group, Mailbox
from tests.rehearsal.cloud.fleet import REGION, Running

FAILURE = Failure(
    step="image",
    error="docker build ended with 1: password hunter22 is wrong",
    instance="i-1",
    release="v1",
    color="blue",
    stack="dev",
    at="2026-01-01T00:00:00.000+00:00",
    timings={"identity": 0.01, "image": 3.5},
    log_tail=("line 1", "used hunter22"),
)
SECRETS = Secrets(["hunter22"])


def soon() -> Deadline:
    return Deadline(5)


def test_the_message_carries_all_that_is_known_and_no_secret() -> None:
    assert json.loads(message(FAILURE, SECRETS)) == {
        "step": "image",
        "error": "docker build ended with 1: password *** is wrong",
        "instance": "i-1",
        "release": "v1",
        "color": "blue",
        "stack": "dev",
        "at": "2026-01-01T00:00:00.000+00:00",
        "timings": {"identity": 0.01, "image": 3.5},
        "log_tail": ["line 1", "used ***"],
    }


SNS_BYTES = 256 * 1024


@pytest.mark.parametrize("letter", ["x", "\x1b", "\0", "\r", '"', "\\", "é", "🚀", "\ud800", "\x7f"])
def test_a_message_of_any_letters_is_one_that_sns_takes(letter: str) -> None:
    failure = replace(FAILURE, error=letter * 100_000, log_tail=(letter * 50_000,) * 100)
    text = message(failure, SECRETS)
    assert len(text.encode()) < SNS_BYTES
    told = json.loads(text)
    assert len(told["log_tail"]) == 50
    assert told["log_tail"][0] == (letter if letter.isprintable() and letter != "\ud800" else "?") * 1000


def test_lines_and_tabs_of_an_error_stay() -> None:
    told = json.loads(message(replace(FAILURE, error="one\n\ttwo\r"), SECRETS))
    assert told["error"] == "one\n\ttwo?"


@pytest.mark.parametrize("release", ["v1", "v" * 300, "é\nnew line"])
def test_the_subject_is_one_that_sns_takes(release: str) -> None:
    long = Failure(step="run", error="", instance="i-1", release=release, color="blue", stack="dev")
    text = subject(long, SECRETS)
    assert text.startswith("Boot failed at run: dev blue ")
    assert len(text) <= 100
    assert text.isascii()
    assert text.isprintable()


def test_the_people_are_told(aws: Running, cloud: Cloud) -> None:
    mailbox = Mailbox.create(aws)
    notify(cloud, mailbox.topic, FAILURE, SECRETS, soon())
    ((title, content),) = mailbox.read()
    assert title == "Boot failed at image: dev blue v1 i-1"
    assert content["log_tail"] == ["line 1", "used ***"]


def test_the_group_and_state_are_looked_up(aws: Running, cloud: Cloud) -> None:
    group = Group.create(aws)
    assert group_of(cloud, group.instance, soon()) == (GROUP, "Pending:Wait")
    assert group_of(cloud, "i-0000000000000000f", soon()) == ("", "")


def test_continue_brings_the_machine_into_service(aws: Running, cloud: Cloud) -> None:
    group = Group.create(aws)
    complete(cloud, Action(hook="boot", group=GROUP, instance_id=group.instance), "CONTINUE", soon())
    group.wait_for("InService")


def test_a_launch_that_failed_is_abandoned(aws: Running, cloud: Cloud) -> None:
    group = Group.create(aws)
    give_up(cloud, "boot", group.instance, served_before=False)
    group.wait_for("Terminating", "Terminating:Wait", "gone")


def test_without_a_hook_to_abandon_the_machine_is_marked(aws: Running, cloud: Cloud) -> None:
    group = Group.create(aws)
    group.into_service()
    give_up(cloud, "no-such-hook", group.instance, served_before=False)
    assert group.health() in ("Unhealthy", "gone")


def test_a_machine_that_served_before_is_marked(aws: Running, cloud: Cloud) -> None:
    group = Group.create(aws)
    group.into_service()
    give_up(cloud, "boot", group.instance, served_before=True)
    assert group.health() in ("Unhealthy", "gone")


BLUE = {"Stack": "dev", "Color": "blue"}


def told(aws: Running, name: str) -> list[tuple[dict[str, str], float]]:
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


def test_the_seconds_of_each_step_and_of_the_whole_boot_are_metrics(aws: Running, cloud: Cloud) -> None:
    put_timings(cloud, "bluegreen", BLUE, {"run": 1.5, "ready": 0.25}, soon())
    assert told(aws, "BootStepSeconds") == [(BLUE | {"Step": "ready"}, 0.25), (BLUE | {"Step": "run"}, 1.5)]
    assert told(aws, "BootSeconds") == [(BLUE, 1.75)]
    assert told(aws, "BootFailures") == []


def test_a_failed_boot_is_counted(aws: Running, cloud: Cloud) -> None:
    for _ in range(2):
        put_failure(cloud, "bluegreen", BLUE, soon())
    assert told(aws, "BootFailures") == [(BLUE, 2.0)]


@pytest.fixture
def front(aws: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    with fronted(aws.aws) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        yield found


@pytest.mark.parametrize("how", ["hanging", "late"])
def test_a_request_without_an_answer_is_not_repeated(
    aws: Running, front: Front, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by boto3 nor by the deadline's retries: AWS may have processed it."""
    monkeypatch.setattr("ami.boot.cloud.ANSWER_SECONDS", 0.2)
    mailbox = Mailbox.create(aws)
    getattr(front, how).add("sns")
    with pytest.raises(ReadTimeoutError):
        notify(Cloud(REGION), mailbox.topic, FAILURE, SECRETS, Deadline(60))
    assert front.asked == ["sns"]


def test_a_request_that_was_refused_is_repeated(aws: Running, front: Front) -> None:
    mailbox = Mailbox.create(aws)
    front.down.add("sns")
    asked = threading.Thread(target=notify, args=(Cloud(REGION), mailbox.topic, FAILURE, SECRETS, Deadline(60)))
    asked.start()
    wait_until(lambda: None if front.asked else "nothing was asked", what="the first try", deadline_s=60)
    front.release()
    asked.join()
    assert len(mailbox.read()) == 1


def test_a_report_that_is_open_is_not_started_again_and_counts_once_it_has_passed() -> None:
    reports, begun, go_on = Reports(), list[str](), threading.Event()

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

    assert attempt("news", fails) is False
    assert attempt("news", lambda: None) is True

"""Ends that nobody asked for while those who should hear of them are there, away, or just heard of another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ami.boot import report, telling
from ami.boot.cloud import Cloud
from ami.boot.machine import Machine
from ami.boot.settings import read_pairs
from ami.boot.telling import APP, DOCKER, Loss, Record, Telling
from tests.ami.front import Front, fronted
from tests.ami.group import Mailbox
from tests.ami.releases import user_data
from tests.ami.test_report import BLUE, told
from tests.rehearsal.cloud.fleet import REGION, Running

LOGS = "/bluegreen/dev/boot"
LOSS = Loss(
    step=APP,
    error="the app ended with exit code 137 because its memory ran out, password hunter22",
    instance="i-1",
    release="v1",
    color="blue",
    stack="dev",
    zone="eu-central-1a",
    at="2026-01-01T00:00:00.000+00:00",
    exit_code=137,
    out_of_memory=True,
    restarts=1,
    log_tail=("line 1", "used hunter22"),
)


@pytest.fixture
def front(aws: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """Those who are away are tried again at once, and each try is short."""
    monkeypatch.setattr(telling, "INSIST_PAUSE", 0.0)
    monkeypatch.setattr(report, "NEWS_SECONDS", 2.0)
    with fronted(aws.aws) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        yield found


@pytest.fixture
def mailbox(aws: Running, front: Front, machine: Machine) -> Mailbox:
    """The machine knows topic and log group, and a secret."""
    aws.client("logs").create_log_group(logGroupName=LOGS)
    box = Mailbox.create(aws)
    machine.cloud = Cloud(REGION)
    machine.pairs = read_pairs(user_data(ALERTS_TOPIC_ARN=box.topic, BOOT_LOG_GROUP=LOGS))
    machine.secrets.add("hunter22")
    return box


def events(aws: Running) -> list[Any]:
    found = aws.client("logs").filter_log_events(logGroupName=LOGS)["events"]
    assert {event["logStreamName"] for event in found} <= {"blue/v1/i-1/failure"}
    return [json.loads(event["message"]) for event in found]


def test_people_the_boot_log_and_the_metric_are_told_once(aws: Running, machine: Machine, mailbox: Mailbox) -> None:
    voice = Telling(machine, Record())
    voice.hear(LOSS, ends=1)
    voice.push()
    ((subject, content),) = mailbox.read()
    assert subject == "App ended with 137: dev blue v1 i-1"
    assert content == {
        "step": "app",
        "error": "the app ended with exit code 137 because its memory ran out, password ***",
        "instance": "i-1",
        "release": "v1",
        "color": "blue",
        "stack": "dev",
        "zone": "eu-central-1a",
        "at": "2026-01-01T00:00:00.000+00:00",
        "exit_code": 137,
        "out_of_memory": True,
        "restarts": 1,
        "left_out": 0,
        "log_tail": ["line 1", "used ***"],
    }
    assert events(aws) == [content]
    assert told(aws, "AppEnds") == [(BLUE, 1.0)]


def test_an_end_of_docker_is_told_as_such(machine: Machine, mailbox: Mailbox, aws: Running) -> None:
    Telling(machine, Record()).hear(replace(LOSS, step=DOCKER, exit_code=None), ends=0)
    ((subject, content),) = mailbox.read()
    assert (subject, content["exit_code"]) == ("Docker went down: dev blue v1 i-1", None)
    assert told(aws, "AppEnds") == []


def test_of_many_ends_one_is_told_and_later_the_last_with_the_number_of_the_others(
    aws: Running, machine: Machine, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = Telling(machine, Record())
    for code in range(1, 6):
        voice.hear(replace(LOSS, exit_code=code), ends=1)
    ((_, first),) = mailbox.read()
    assert (first["exit_code"], first["left_out"]) == (1, 0)
    voice.push()
    assert mailbox.read() == []
    monkeypatch.setattr(telling, "QUIET_SECONDS", 0.0)
    voice.push()
    ((_, last),) = mailbox.read()
    assert (last["exit_code"], last["left_out"]) == (5, 3)
    assert last["error"].endswith("; 3 more since the last message were told to nobody")
    assert told(aws, "AppEnds") == [(BLUE, 5.0)], "the metric counts each of them"


def test_a_watch_that_is_started_again_keeps_quiet_as_long_and_counts_on(
    machine: Machine, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, path = Record(), machine.places.watch_record
    voice = Telling(machine, record)
    voice.hear(LOSS, ends=1)
    voice.hear(LOSS, ends=1)
    record.save(path)
    assert len(mailbox.read()) == 1
    again = Record.load(path)
    assert again == record
    later = Telling(machine, again)
    later.hear(LOSS, ends=1)
    assert mailbox.read() == []
    monkeypatch.setattr(telling, "QUIET_SECONDS", 0.0)
    later.push()
    ((_, content),) = mailbox.read()
    assert content["left_out"] == 1


@pytest.mark.parametrize("service", ["sns", "logs", "monitoring"])
@pytest.mark.parametrize("how", ["down", "hanging"])
def test_who_is_away_is_told_later_and_the_others_at_once(
    aws: Running, machine: Machine, mailbox: Mailbox, front: Front, how: str, service: str
) -> None:
    heard: dict[str, Callable[[], int]] = {
        "sns": lambda: len(mailbox.read()),
        "logs": lambda: len(events(aws)),
        "monitoring": lambda: len(told(aws, "AppEnds")),
    }
    getattr(front, how).add(service)
    voice = Telling(machine, Record())
    voice.hear(LOSS, ends=1)
    assert {name: ask() for name, ask in heard.items()} == {name: int(name != service) for name in heard}
    front.down.clear()
    front.hanging.clear()
    voice.push()
    assert heard[service]() == 1
    voice.push()
    assert front.asked.count(service) >= 2
    assert (len(mailbox.read()), len(events(aws)), told(aws, "AppEnds")) == (0, 1, [(BLUE, 1.0)])


def test_nobody_is_told_for_ever(
    machine: Machine, mailbox: Mailbox, front: Front, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telling, "INSIST_SECONDS", 0.0)
    front.down.add("sns")
    voice = Telling(machine, Record())
    voice.hear(LOSS, ends=1)
    assert "give up telling who=notification ends=0" in caplog.text
    front.down.clear()
    voice.push()
    assert mailbox.read() == []


def test_a_machine_that_knows_no_topic_has_nobody_to_tell(machine: Machine, aws: Running) -> None:
    machine.pairs = read_pairs(user_data())
    Telling(machine, Record()).hear(LOSS, ends=1)
    assert told(aws, "AppEnds") == [(BLUE, 1.0)]


@pytest.mark.parametrize("text", ["", "[]", '{"since": 1, "unknown": 2}'])
def test_a_record_that_cannot_be_read_is_a_new_one(machine: Machine, text: str) -> None:
    machine.places.memory.mkdir()
    machine.places.watch_record.write_text(text)
    assert Record.load(machine.places.watch_record) == Record()

"""Ends that nobody asked for while those who should hear of them are there, away, or just heard of another."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ami.boot import report, telling
from ami.boot.cloud import Cloud
from ami.boot.machine import Machine
from ami.boot.masking import Secrets
from ami.boot.messages import AppExited, DockerFailed, sanitized
from ami.boot.telling import Record, Telling
from ami.boot.user_data import Known
from fleet.waiting import wait_until
from tests.ami.front import Front, fronted
from tests.ami.group import Mailbox
from tests.ami.releases import user_data
from tests.ami.test_report import BLUE, told
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
    error="the app ended with exit code 137 because its memory ran out, password hunter22",
    time="2026-01-01T00:00:00.000Z",
    exit_code=137,
    out_of_memory=True,
    restarts=1,
    lines=("line 1", "used hunter22"),
)
EXIT = sanitized(RAW, Secrets(["hunter22"]))
DOWN = DockerFailed(**ORIGIN, error="Docker's daemon is down")  # type: ignore[arg-type]


@pytest.fixture
def front(aws: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """All have their time, however busy this machine is; those who are away are tried again at once."""
    monkeypatch.setattr(telling, "INSIST_PAUSE", 0.0)
    monkeypatch.setattr(report, "NEWS_SECONDS", 60.0)
    with fronted(aws.aws) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        yield found


@pytest.fixture
def mailbox(aws: Running, front: Front, machine: Machine) -> Mailbox:
    """The machine knows topic and log group."""
    aws.client("logs").create_log_group(logGroupName=LOGS)
    box = Mailbox.create(aws)
    machine.cloud = Cloud(REGION)
    machine.known = Known.of(user_data(alerts_topic_arn=box.topic, log_boot=LOGS))
    return box


def events(aws: Running) -> list[Any]:
    found = aws.client("logs").filter_log_events(logGroupName=LOGS)["events"]
    assert {event["logStreamName"] for event in found} <= {"blue/v1/i-1/failure"}
    return [json.loads(event["message"]) for event in found]


def test_people_the_boot_log_and_the_metric_are_told_once(aws: Running, machine: Machine, mailbox: Mailbox) -> None:
    voice = Telling(machine, Record())
    voice.hear(EXIT, ends=1)
    voice.push()
    ((subject, content),) = mailbox.read()
    assert subject == "App exited with 137: dev blue v1 i-1"
    assert content == {
        "kind": "app_exited",
        "subject": subject,
        **ORIGIN,
        "time": "2026-01-01T00:00:00.000Z",
        "error": "the app ended with exit code 137 because its memory ran out, password ***",
        "exit_code": 137,
        "out_of_memory": True,
        "restarts": 1,
        "suppressed": 0,
        "lines": ["line 1", "used ***"],
    }
    assert events(aws) == [content]
    assert told(aws, "AppEnds") == [(BLUE, 1.0)]


def test_an_end_of_docker_is_told_as_such(machine: Machine, mailbox: Mailbox, aws: Running) -> None:
    Telling(machine, Record()).hear(DOWN, ends=0)
    ((subject, content),) = mailbox.read()
    assert (subject, content["kind"]) == ("Docker failed: dev blue v1 i-1", "docker_failed")
    assert told(aws, "AppEnds") == []


def test_of_many_ends_one_is_told_and_later_the_last_with_the_number_of_the_others(
    aws: Running, machine: Machine, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = Telling(machine, Record())
    for code in range(1, 6):
        voice.hear(replace(EXIT, exit_code=code), ends=1)
    ((_, first),) = mailbox.read()
    assert (first["exit_code"], first["suppressed"]) == (1, 0)
    voice.push()
    assert mailbox.read() == []
    monkeypatch.setattr(telling, "QUIET_SECONDS", 0.0)
    voice.push()
    ((_, last),) = mailbox.read()
    assert (last["exit_code"], last["suppressed"]) == (5, 3)
    assert last["error"].endswith("; 3 more since the last message were not reported")
    assert told(aws, "AppEnds") == [(BLUE, 5.0)], "the metric counts each of them"


def test_a_watch_that_is_started_again_keeps_quiet_as_long_and_counts_on(
    machine: Machine, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, path = Record(), machine.places.watch_record
    voice = Telling(machine, record)
    voice.hear(EXIT, ends=1)
    voice.hear(EXIT, ends=1)
    record.save(path)
    assert len(mailbox.read()) == 1
    again = Record.load(path)
    assert again == record
    later = Telling(machine, again)
    later.hear(EXIT, ends=1)
    assert mailbox.read() == []
    monkeypatch.setattr(telling, "QUIET_SECONDS", 0.0)
    later.push()
    ((_, content),) = mailbox.read()
    assert content["suppressed"] == 1


SERVICES = ["sns", "logs", "monitoring"]


class Heard:
    """What has arrived at the topic, the boot log and the metric since the machine began."""

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
                return sum(value for _, value in told(self._aws, "AppEnds"))

    def all(self) -> dict[str, float]:
        return {service: self.by(service) for service in SERVICES}


@pytest.fixture
def heard(aws: Running, mailbox: Mailbox) -> Heard:
    return Heard(aws, mailbox)


def push_until(voice: Telling, reason: Callable[[], str | None]) -> None:
    """As the watch does, which pushes again and again."""

    def pushed() -> str | None:
        voice.push()
        return reason()

    wait_until(pushed, what="the telling", deadline_s=60)


@pytest.fixture
def impatient(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for: what arrives later must count as well, and once."""
    monkeypatch.setattr(report, "NEWS_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("how", ["down", "hanging", "late"])
def test_who_is_away_is_told_later_and_the_others_meanwhile_each_once(
    machine: Machine, heard: Heard, front: Front, how: str, service: str
) -> None:
    getattr(front, how).add(service)
    others = [name for name in SERVICES if name != service]
    voice = Telling(machine, Record())
    voice.hear(EXIT, ends=1)
    push_until(voice, lambda: None if [heard.by(name) for name in others] == [1, 1] else f"{heard.all()}")
    assert heard.by(service) <= int(how == "late")
    front.release()
    push_until(voice, lambda: None if voice.is_done else f"{heard.all()}")
    assert heard.all() == dict.fromkeys(SERVICES, 1)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("service", SERVICES)
def test_a_request_whose_answer_is_late_is_not_sent_again(
    machine: Machine, heard: Heard, front: Front, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS has processed it already, and would count and notify the second one as well."""
    monkeypatch.setattr("ami.boot.cloud.ANSWER_SECONDS", 60.0)
    front.late.add(service)
    voice = Telling(machine, Record())
    voice.hear(EXIT, ends=1)
    push_until(voice, lambda: None if heard.by(service) else "nothing has arrived")
    for _ in range(5):
        voice.push()
    assert not voice.is_done
    front.release()
    push_until(voice, lambda: None if voice.is_done else f"{heard.all()}")
    assert heard.all() == dict.fromkeys(SERVICES, 1)


@pytest.mark.usefixtures("impatient")
def test_ends_while_a_count_is_under_way_are_counted_after_it(
    machine: Machine, heard: Heard, front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ami.boot.cloud.ANSWER_SECONDS", 60.0)
    front.late.add("monitoring")
    voice = Telling(machine, Record())
    voice.hear(EXIT, ends=1)
    push_until(voice, lambda: None if heard.by("monitoring") else "nothing has arrived")
    voice.hear(EXIT, ends=1)
    voice.hear(EXIT, ends=1)
    assert heard.by("monitoring") == 1
    front.release()
    push_until(voice, lambda: None if voice.is_done else f"{heard.all()}")
    assert heard.by("monitoring") == 3


def test_nobody_is_told_for_ever(
    machine: Machine, mailbox: Mailbox, front: Front, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telling, "INSIST_SECONDS", 0.0)
    monkeypatch.setattr(report, "NEWS_SECONDS", 0.05)
    front.down.add("sns")
    voice = Telling(machine, Record())
    voice.hear(EXIT, ends=1)
    assert re.search("give up telling who=.*notification", caplog.text)
    front.release()
    assert voice.is_done
    voice.push()
    assert mailbox.read() == []


def test_a_machine_that_knows_no_topic_has_nobody_to_tell(machine: Machine, aws: Running) -> None:
    machine.known = Known.of(user_data())
    Telling(machine, Record()).hear(EXIT, ends=1)
    assert told(aws, "AppEnds") == [(BLUE, 1.0)]


@pytest.mark.parametrize("text", ["", "[]", '{"since": 1, "unknown": 2}'])
def test_a_record_that_cannot_be_read_is_a_new_one(machine: Machine, text: str) -> None:
    machine.places.memory.mkdir()
    machine.places.watch_record.write_text(text)
    assert Record.load(machine.places.watch_record) == Record()

"""Messages as they are made: nothing secret in any of their fields, within the bounds, and of one form everywhere."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import pytest

from ami.boot.__main__ import failure_of
from ami.boot.machine import Machine
from ami.boot.masking import Secrets
from ami.boot.messages import (
    MAX_BYTES,
    MAX_TEXT,
    AppExited,
    BootFailed,
    ChangeRecord,
    ColorSnapshot,
    DeploymentFailed,
    FailedLaunch,
    Kind,
    Outcome,
    body,
    content,
    log_stream,
    sanitized,
    timestamp,
)
from ami.boot.user_data import Known
from ami.boot.watch import Watch
from tests.messages import require_valid

SECRET = "hunter22"
BOOT = BootFailed(stack="dev", color="blue", release="v1", instance="i-1", error="no", step="run")
FAILED = DeploymentFailed(stack="dev", color="blue", release="v1", ami="ami-1", who="ann", error="no")
CHANGE = ChangeRecord(
    kind=Kind.CUTOVER,
    stack="dev",
    outcome=Outcome.OK,
    seconds=3.14,
    reason="friday",
    source=ColorSnapshot(color="blue", release="v1"),
    target=ColorSnapshot(color="green", release="v2"),
    who="ann",
    host="laptop",
)


@pytest.mark.parametrize(
    "message",
    [
        replace(BOOT, release=SECRET, error=f"by {SECRET}", step_seconds={"run": 1.0}, lines=("a", f"pw={SECRET}")),
        replace(
            FAILED,
            error=SECRET,
            failed_launches=(FailedLaunch(instance="i-1", reason=f"of {SECRET}"),),
            boot_failure=replace(BOOT, lines=(SECRET,)),
            evidence=(f"  | {SECRET}",),
        ),
        replace(
            CHANGE,
            error=SECRET,
            reason=f"since {SECRET}",
            lock_broken=SECRET,
            figures={"url": f"http://{SECRET}/", "stages": [{"name": SECRET}]},
            target=ColorSnapshot(color="green", release=SECRET),
        ),
    ],
    ids=lambda message: message.kind,
)
def test_no_field_of_a_sanitized_message_and_not_its_subject_holds_a_secret(message: Any) -> None:
    assert SECRET in body(message)
    made = sanitized(message, Secrets([SECRET]))
    assert "***" in body(made)
    assert SECRET not in body(made) + made.subject
    assert type(made) is type(message)
    require_valid(json.loads(body(made)))


def test_a_secret_that_goes_on_in_the_next_line_is_masked_in_both() -> None:
    secret = "0123456789abcdefghijklmnopqrstuvwxyz"
    made = sanitized(replace(BOOT, lines=(f"key {secret[:20]}", secret[20:])), Secrets([secret]))
    assert made.lines == ("key ***", "***")


def test_long_texts_are_cut_and_the_last_lines_stay() -> None:
    raw = replace(BOOT, error="e" * 10_000, lines=tuple(f"{number:03}" * 500 for number in range(60)))
    made = sanitized(raw, Secrets())
    assert (len(made.error), len(made.lines), len(made.lines[0])) == (MAX_TEXT, 50, 1000)
    assert made.lines[-1].startswith("059")


def test_a_message_that_is_too_long_for_sns_keeps_its_sentences_and_names_what_it_lacks() -> None:
    boot = replace(BOOT, lines=("😀" * 1000,) * 50)
    whole = replace(FAILED, boot_failure=boot, evidence=("é" * 1000,) * 60, launches_stopped=("dev-blue-v1-1a2b",))
    found = json.loads(body(whole))
    assert len(body(whole).encode()) < MAX_BYTES
    require_valid(found)
    assert (found["error"], found["boot_failure"], found["evidence"]) == ("no", None, [])
    assert found["left_out"] == ["launches_stopped", "boot_failure", "evidence"]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_change_says_how_it_ended(outcome: Outcome) -> None:
    words = outcome.replace("_", " ")
    made = replace(CHANGE, kind=Kind.DIRECT_ROLLBACK, outcome=outcome)
    assert made.subject == f"Direct rollback: {words}, dev blue v1 to green v2"
    assert made.summary == f"Direct rollback: {words} after 3.1 s, by ann, blue v1 → green v2 (friday)"


def test_a_change_without_traffic_names_what_it_was_of() -> None:
    made = replace(CHANGE, kind=Kind.UP, source=ColorSnapshot(), target=ColorSnapshot(), reason="", error="no access")
    assert made.summary == "Up: ok after 3.1 s, by ann (no access)"


def test_what_was_written_is_read_again_and_what_is_not_known_is_left_out() -> None:
    made = replace(BOOT, lines=("one", "two"), step_seconds={"run": 1.5})
    assert BootFailed.parse(json.loads(body(made)) | {"weather": "fine"}) == made
    assert ChangeRecord.parse(json.loads(body(CHANGE))) == CHANGE
    with pytest.raises(TypeError):
        BootFailed.parse({"kind": "boot_failed"})


def test_a_time_is_utc_with_milliseconds() -> None:
    assert timestamp(1.0625) == "1970-01-01T00:00:01.062Z"
    assert BOOT.time.endswith("Z")


def test_the_stream_of_an_instance_without_user_data() -> None:
    assert log_stream("", "", "i-1") == "none/none/i-1/failure"


@pytest.fixture
def told(machine: Machine) -> Machine:
    """Of its stack and a secret."""
    machine.known = Known(stack="dev", color="blue", version="v1")
    machine.secrets.add(SECRET)
    return machine


def test_an_instance_makes_its_boot_failure_without_secrets(told: Machine) -> None:
    told.status.error, told.status.finished = f"asked with {SECRET}", "2026-01-01T00:00:00.000Z"
    made = failure_of(told, "config", ["a", f"pw={SECRET}"])
    assert (made.error, made.lines, made.time) == ("asked with ***", ("a", "pw=***"), told.status.finished)
    assert (made.stack, made.color, made.release, made.instance) == ("dev", "blue", "v1", told.identity.instance_id)


def test_an_instance_makes_a_crash_without_secrets(told: Machine) -> None:
    how = {"exit_code": 3, "lines": (f"pw={SECRET}",)}
    made = Watch(told)._crash(AppExited, f"it ended with {SECRET}", 1.0, None, **how)
    assert (made.error, made.lines, made.time) == ("it ended with ***", ("pw=***",), "1970-01-01T00:00:01.000Z")
    require_valid(json.loads(json.dumps(content(made))))


def test_the_definition_needs_the_standard_library_alone() -> None:
    """It is in the machine image, which has nothing else of this project."""
    source = sys.modules["ami.boot.messages"].__file__
    assert source is not None
    with open(source) as file:  # noqa: PTH123
        imports = {line.split()[1].partition(".")[0] for line in file if line.startswith(("import ", "from "))}
    assert imports - {""} <= sys.stdlib_module_names

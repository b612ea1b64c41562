"""Messages: no secret in any field, within SNS's limits, valid against the schema."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import pytest

from ami.boot.__main__ import boot_failure
from ami.boot.boot_context import BootContext
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
from ami.boot.user_data import ReportingInfo
from ami.boot.watch import ContainerWatch
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
    message = sanitized(message, Secrets([SECRET]))
    assert "***" in body(message)
    assert SECRET not in body(message) + message.subject
    assert type(message) is type(message)
    require_valid(json.loads(body(message)))


def test_a_secret_that_goes_on_in_the_next_line_is_masked_in_both() -> None:
    secret = "0123456789abcdefghijklmnopqrstuvwxyz"
    message = sanitized(replace(BOOT, lines=(f"key {secret[:20]}", secret[20:])), Secrets([secret]))
    assert message.lines == ("key ***", "***")


def test_long_texts_are_cut_and_the_last_lines_stay() -> None:
    raw = replace(BOOT, error="e" * 10_000, lines=tuple(f"{number:03}" * 500 for number in range(60)))
    message = sanitized(raw, Secrets())
    assert (len(message.error), len(message.lines), len(message.lines[0])) == (MAX_TEXT, 50, 1000)
    assert message.lines[-1].startswith("059")


def test_a_message_that_is_too_long_for_sns_keeps_its_sentences_and_names_what_it_lacks() -> None:
    boot = replace(BOOT, lines=("😀" * 1000,) * 50)
    whole = replace(FAILED, boot_failure=boot, evidence=("é" * 1000,) * 60, launches_stopped=("dev-blue-v1-1a2b",))
    found = json.loads(body(whole))
    assert len(body(whole).encode()) < MAX_BYTES
    require_valid(found)
    assert (found["error"], found["boot_failure"], found["evidence"]) == ("no", None, [])
    assert found["left_out"] == ["launches_stopped", "boot_failure", "evidence"]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_change_names_its_outcome(outcome: Outcome) -> None:
    words = outcome.replace("_", " ")
    message = replace(CHANGE, kind=Kind.DIRECT_ROLLBACK, outcome=outcome)
    assert message.subject == f"Direct rollback: {words}, dev blue v1 to green v2"
    assert message.summary == f"Direct rollback: {words} after 3.1 s, by ann, blue v1 → green v2 (friday)"


def test_a_change_without_traffic_names_what_it_was_of() -> None:
    message = replace(
        CHANGE, kind=Kind.UP, source=ColorSnapshot(), target=ColorSnapshot(), reason="", error="no access"
    )
    assert message.summary == "Up: ok after 3.1 s, by ann (no access)"


def test_what_was_written_is_read_again_and_what_is_not_known_is_left_out() -> None:
    message = replace(BOOT, lines=("one", "two"), step_seconds={"run": 1.5})
    assert BootFailed.parse(json.loads(body(message)) | {"weather": "fine"}) == message
    assert ChangeRecord.parse(json.loads(body(CHANGE))) == CHANGE
    with pytest.raises(TypeError):
        BootFailed.parse({"kind": "boot_failed"})


def test_a_time_is_utc_with_milliseconds() -> None:
    assert timestamp(1.0625) == "1970-01-01T00:00:01.062Z"
    assert BOOT.time.endswith("Z")


def test_the_stream_of_an_instance_without_user_data() -> None:
    assert log_stream("", "", "i-1") == "none/none/i-1/failure"


@pytest.fixture
def reporting(context: BootContext) -> BootContext:
    """A context with a stack and a secret."""
    context.reporting_info = ReportingInfo(stack="dev", color="blue", version="v1")
    context.secrets.add(SECRET)
    return context


def test_a_boot_failure_has_no_secrets(reporting: BootContext) -> None:
    reporting.status.error, reporting.status.finished = f"asked with {SECRET}", "2026-01-01T00:00:00.000Z"
    message = boot_failure(reporting, "config", ["a", f"pw={SECRET}"])
    assert (message.error, message.lines, message.time) == (
        "asked with ***",
        ("a", "pw=***"),
        reporting.status.finished,
    )
    assert (message.stack, message.color, message.release, message.instance) == (
        "dev",
        "blue",
        "v1",
        reporting.identity.instance_id,
    )


def test_a_crash_has_no_secrets(reporting: BootContext) -> None:
    how = {"exit_code": 3, "lines": (f"pw={SECRET}",)}
    message = ContainerWatch(reporting)._crash(AppExited, f"it exited with {SECRET}", 1.0, None, **how)
    assert (message.error, message.lines, message.time) == (
        "it exited with ***",
        ("pw=***",),
        "1970-01-01T00:00:01.000Z",
    )
    require_valid(json.loads(json.dumps(content(message))))


def test_the_definition_needs_the_standard_library_alone() -> None:
    """It is in the machine image, which has nothing else of this project."""
    source = sys.modules["ami.boot.messages"].__file__
    assert source is not None
    with open(source) as file:  # noqa: PTH123
        imports = {line.split()[1].partition(".")[0] for line in file if line.startswith(("import ", "from "))}
    assert imports - {""} <= sys.stdlib_module_names

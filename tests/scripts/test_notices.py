from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import boto3
import pytest

from scripts.notices import MESSAGE_BYTES, TOLD, tell
from scripts.stacks import StackFacts, read_facts
from tests.ami.front import fronted
from tests.ami.releases import free_port
from tests.scripts.world import REGION, TOKEN, World, WorldStack


@pytest.fixture
def facts(world: World) -> StackFacts:
    return read_facts(WorldStack(world, {}))


def heard(world: World) -> Any:
    ((subject, content),) = world.heard()
    return subject, content


def test_a_notice_says_which_stack_and_who_and_what_it_was_given(world: World, facts: StackFacts) -> None:
    assert tell(facts, "dev: delivery failed", release="v2", machines=["i-1"], seconds=1.5) == TOLD
    subject, content = heard(world)
    assert subject == "dev: delivery failed"
    assert content.pop("who")
    assert content == {
        "subject": "dev: delivery failed",
        "stack": "dev",
        "release": "v2",
        "machines": ["i-1"],
        "seconds": 1.5,
    }


def test_no_secret_of_the_stack_is_told(world: World, facts: StackFacts) -> None:
    told = {"error": f"asked with {TOKEN}-green", "facts": {"lines": (f"at https://me:pw@host/x {TOKEN}",)}}
    assert tell(facts, f"failed with {TOKEN}", **told) == TOLD
    subject, content = heard(world)
    assert subject == "failed with ***"
    assert content["error"] == "asked with ***-green"
    assert content["facts"] == {"lines": ["at https://***@host/x ***"]}
    assert TOKEN not in json.dumps(content)


def test_a_subject_is_one_that_sns_takes(world: World, facts: StackFacts) -> None:
    assert tell(facts, "é\n" + "x" * 300) == TOLD
    subject, _ = heard(world)
    assert subject == "??" + "x" * 98


def test_what_is_too_long_for_sns_is_told_without_its_evidence(world: World, facts: StackFacts) -> None:
    assert tell(facts, "failed", error="e" * 5_000, lines=["x" * MESSAGE_BYTES]) == TOLD
    _, content = heard(world)
    assert (content["error"], content["left_out"]) == ("e" * 2_000, ["lines"])


def test_a_stack_without_a_topic_tells_nobody_and_says_so(facts: StackFacts) -> None:
    mute = replace(facts, outputs={**facts.outputs, "alertsTopicArn": ""})
    assert tell(mute, "failed") == "not told: the stack has no alerts topic"


@pytest.fixture
def nowhere(facts: StackFacts, monkeypatch: pytest.MonkeyPatch) -> StackFacts:
    monkeypatch.undo()  # the real session, not the one of the emulator
    for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    away = replace(facts)
    away.__dict__["session"] = boto3.Session(region_name=REGION)
    return away


def test_sns_out_of_reach_raises_nothing(nowhere: StackFacts) -> None:
    assert tell(nowhere, "failed").startswith("not told: Could not connect to the endpoint URL")


def test_a_message_whose_answer_is_late_is_published_once(
    world: World, facts: StackFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.notices.READ_SECONDS", 0.2)
    with fronted(world.session.client("sns").meta.endpoint_url) as front:
        monkeypatch.setenv("AWS_ENDPOINT_URL", front.url)
        front.late.add("sns")
        away = replace(facts)
        away.__dict__["session"] = boto3.Session(region_name=REGION)
        assert tell(away, "failed").startswith("not told: Read timeout on endpoint URL")
        assert front.asked == ["sns"]


def test_a_topic_that_is_gone_raises_nothing(facts: StackFacts) -> None:
    gone = replace(facts, outputs={**facts.outputs, "alertsTopicArn": f"arn:aws:sns:{REGION}:123456789012:gone"})
    assert tell(gone, "failed").startswith("not told: An error occurred (NotFound)")

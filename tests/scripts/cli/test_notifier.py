from __future__ import annotations

from dataclasses import replace
from typing import Any

import boto3
import pytest

from ami.boot.messages import MAX_BYTES, DeploymentFailed, content, sanitized
from scripts.cli.notifier import PUBLISHED, publish, secrets_of
from scripts.stack.automation import StackFacts, read_facts
from tests.ami.fault_proxy import fault_proxy
from tests.ami.releases import free_port
from tests.scripts.world import REGION, TOKEN, World, WorldStack


@pytest.fixture
def facts(world: World) -> StackFacts:
    return read_facts(WorldStack(world, {}))


def heard(world: World) -> Any:
    ((subject, content),) = world.heard()
    return subject, content


FAILED = DeploymentFailed(
    stack="dev",
    color="green",
    release="v2",
    ami="ami-1",
    who="ann",
    error="release v2 does not come up",
)


def test_a_message_is_published_with_its_subject_as_it_is(world: World, facts: StackFacts) -> None:
    assert publish(facts, FAILED) == PUBLISHED
    assert heard(world) == ("Deployment failed, live traffic unchanged: dev green v2", content(FAILED))


def test_no_secret_of_the_stack_is_in_a_sanitized_message(facts: StackFacts) -> None:
    raw = replace(FAILED, error=f"asked with {TOKEN}-green", evidence=(f"at https://me:pw@host/x {TOKEN}",))
    made = sanitized(raw, secrets_of(facts))
    assert (made.error, made.evidence) == ("asked with ***-green", ("at https://***@host/x ***",))


def test_what_is_too_long_for_sns_is_published_without_its_evidence(world: World, facts: StackFacts) -> None:
    assert publish(facts, replace(FAILED, evidence=("x" * MAX_BYTES,))) == PUBLISHED
    _, found = heard(world)
    assert found == {**content(FAILED), "left_out": ["evidence"]}


def test_a_stack_without_a_topic_tells_nobody_and_says_so(facts: StackFacts) -> None:
    mute = replace(facts, outputs={**facts.outputs, "alertsTopicArn": ""})
    assert publish(mute, FAILED) == "not published: the stack has no alerts topic"


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
    assert publish(nowhere, FAILED).startswith("not published: Could not connect to the endpoint URL")


def test_a_message_whose_answer_is_late_is_published_once(
    world: World, facts: StackFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.cli.notifier.READ_SECONDS", 0.2)
    with fault_proxy(world.session.client("sns").meta.endpoint_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        proxy.late.add("sns")
        away = replace(facts)
        away.__dict__["session"] = boto3.Session(region_name=REGION)
        assert publish(away, FAILED).startswith("not published: Read timeout on endpoint URL")
        assert proxy.requested == ["sns"]


def test_a_topic_that_is_gone_raises_nothing(facts: StackFacts) -> None:
    gone = replace(facts, outputs={**facts.outputs, "alertsTopicArn": f"arn:aws:sns:{REGION}:123456789012:gone"})
    assert publish(gone, FAILED).startswith("not published: An error occurred (NotFound)")

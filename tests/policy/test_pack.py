"""The pack as the Pulumi CLI runs it: a process of its own, asked over its socket."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import analyzer_pb2 as messages
from pulumi.runtime.proto.analyzer_pb2_grpc import AnalyzerStub
from pulumi_policy import PolicyProviderResource
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from policy import pack
from policy.rules import RULES
from policy.stack import UNKNOWN
from tests.declared import ROOT

START_SECONDS, ANSWER_SECONDS = 60, 30
BUCKET = "aws:s3/bucket:Bucket"
BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
TAGS = {"Stack": "dev", "Project": "bluegreen", "ManagedBy": "pulumi"}


@pytest.fixture(scope="module", params=["false", "true"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[AnalyzerStub, bool]]:
    """The pack in a process, asked about a stack whose setting `protect` is false or true."""
    environment = os.environ | {
        "PULUMI_PROJECT": "bluegreen",
        "PULUMI_STACK": "dev",
        "PULUMI_DRY_RUN": "true",
        "PULUMI_CONFIG": f'{{"bluegreen:protect": "{request.param}"}}',
    }
    place = tmp_path_factory.mktemp("elsewhere")
    with subprocess.Popen(
        [sys.executable, str(ROOT / "policy")], cwd=place, env=environment, stdout=subprocess.PIPE
    ) as process:
        try:
            with grpc.insecure_channel(f"127.0.0.1:{_port(process)}") as channel:
                yield AnalyzerStub(channel), request.param == "true"
        finally:
            process.kill()


def _port(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(START_SECONDS), f"the pack said no port within {START_SECONDS} s"
    return int(process.stdout.readline())


def of(type_: str, **props: Any) -> dict[str, Any]:
    return {"urn": f"urn:pulumi:dev::bluegreen::{type_}::it", "type": type_, "name": "it", "properties": struct(props)}


def struct(props: dict[str, Any]) -> Any:
    request = messages.AnalyzeRequest()
    request.properties.update(props)
    return request.properties


def told(answer: Any) -> list[tuple[str, str]]:
    assert all(each.enforcementLevel == messages.MANDATORY for each in answer.diagnostics)
    return [(each.policyName, each.message.splitlines()[-1]) for each in answer.diagnostics]


def test_every_rule_is_a_policy(served: tuple[AnalyzerStub, bool]) -> None:
    info = served[0].GetAnalyzerInfo(Empty(), timeout=ANSWER_SECONDS)
    assert info.name == "bluegreen"
    assert {each.name: each.description for each in info.policies} == {rule.name: rule.description for rule in RULES}


def test_one_resource_is_judged_before_it_is_made(served: tuple[AnalyzerStub, bool]) -> None:
    analyzer, protected = served
    asked = messages.AnalyzeRequest(**of(BUCKET, acl="public-read", tags=TAGS))
    acl = ("public-acl", "acl is public-read; allowed are ACLs for the account's own use, such as private")
    protect = ("deletion-protection", "protect is false; allowed is true in a protected stack")
    assert told(analyzer.Analyze(asked, timeout=ANSWER_SECONDS)) == [acl, *([protect] if protected else [])]


def test_what_a_preview_does_not_know_is_left_to_the_update(served: tuple[AnalyzerStub, bool]) -> None:
    asked = messages.AnalyzeRequest(**of("aws:sns/topic:Topic", kmsMasterKeyId=UNKNOWN_STRING_VALUE, tags=TAGS))
    assert told(served[0].Analyze(asked, timeout=ANSWER_SECONDS)) == []


def test_the_providers_default_tags_count(served: tuple[AnalyzerStub, bool]) -> None:
    topic = of("aws:sns/topic:Topic", kmsMasterKeyId="alias/ours", tags={"Stack": "dev"})
    defaults = struct({"defaultTags": '{"tags": {"Project": "bluegreen", "ManagedBy": "pulumi"}}'})
    provider = messages.AnalyzerProviderResource(type="pulumi:providers:aws", name="default", properties=defaults)
    analyze = served[0].Analyze
    assert told(analyze(messages.AnalyzeRequest(**topic, provider=provider), timeout=ANSWER_SECONDS)) == []
    assert told(analyze(messages.AnalyzeRequest(**topic), timeout=ANSWER_SECONDS)) == [
        ("required-tags", "tags lack Project, ManagedBy; allowed is a resource with Stack, Project, ManagedBy")
    ]


def test_the_whole_stack_is_judged_together(served: tuple[AnalyzerStub, bool]) -> None:
    block = of(BLOCK, bucket=UNKNOWN_STRING_VALUE, blockPublicAcls=True, blockPublicPolicy=False)
    block["properties"].update({"ignorePublicAcls": True, "restrictPublicBuckets": True})
    bucket = of(BUCKET, tags=TAGS)
    resources = [
        messages.AnalyzerResource(**bucket),
        messages.AnalyzerResource(**block, dependencies=[bucket["urn"]]),
    ]
    answer = served[0].AnalyzeStack(messages.AnalyzeStackRequest(resources=resources), timeout=ANSWER_SECONDS)
    assert told(answer) == [
        ("public-access-block", "blockPublicPolicy is false; allowed is true"),
        (
            "bucket-encryption",
            "there is no encryption configuration for the bucket; allowed is a bucket with one",
        ),
    ]


def test_the_policys_own_config_goes_before_the_stacks_setting(served: tuple[AnalyzerStub, bool]) -> None:
    analyzer, protected = served
    config = messages.PolicyConfig(enforcementLevel=messages.MANDATORY)
    config.properties.update({"protected": not protected})
    request = messages.ConfigureAnalyzerRequest(policyConfig={"deletion-protection": config})
    analyzer.Configure(request, timeout=ANSWER_SECONDS)
    try:
        found = told(
            analyzer.Analyze(messages.AnalyzeRequest(**of("aws:ec2/vpc:Vpc", tags=TAGS)), timeout=ANSWER_SECONDS)
        )
    finally:
        analyzer.Configure(messages.ConfigureAnalyzerRequest(), timeout=ANSWER_SECONDS)
    assert [rule for rule, _ in found] == ([] if protected else ["deletion-protection"])


def test_plain_values_come_out_of_pulumis_wrapping() -> None:
    given = unknown_checking_proxy({"a": [{"b": UNKNOWN_STRING_VALUE}, 1, "text"], "c": UNKNOWN_STRING_VALUE})
    assert pack.plain(given) == {"a": [{"b": UNKNOWN}, 1, "text"], "c": UNKNOWN}


@pytest.mark.parametrize(
    ("settings", "tags"),
    [
        ({}, {}),
        ({"defaultTags": {"tags": {"a": "b"}}}, {"a": "b"}),
        ({"defaultTags": '{"tags": {"a": "b"}}'}, {"a": "b"}),
        ({"defaultTags": "{}"}, {}),
        ({"defaultTags": UNKNOWN_STRING_VALUE}, UNKNOWN),
    ],
)
def test_default_tags_of_a_provider(settings: dict[str, Any], tags: Any) -> None:
    provider = PolicyProviderResource("pulumi:providers:aws", unknown_checking_proxy(settings), "urn", "default")
    assert pack.properties({"tags": {"c": "d"}}, provider)["tagsAll"] == tags


def test_the_packs_file_leads_to_the_projects_environment() -> None:
    options = yaml.safe_load((ROOT / "policy" / "PulumiPolicy.yaml").read_text())["runtime"]["options"]
    assert (ROOT / "policy" / options["virtualenv"]).resolve() == (ROOT / ".venv").resolve()


def test_the_config_of_a_protected_stack_is_for_rules_that_ask() -> None:
    config = json.loads((ROOT / "policy" / "protected.json").read_text())
    assert config == {"deletion-protection": {"protected": True}, "zones": {"protected": True}}
    assert config.keys() <= {rule.name for rule in RULES}

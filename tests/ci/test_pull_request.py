"""A pull request, from its checks to the comments that it gets, against an account in which dev is up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3

from rehearsal.cloud.client import CloudClient
from tests.ci.conftest import VARIABLES, Repository
from tests.ci.runner import Runner
from tests.github import REPOSITORY, GitHubServer

NUMBER = 7


def event(*labels: str, head: str = REPOSITORY) -> dict[str, Any]:
    return {
        "pull_request": {
            "number": NUMBER,
            "labels": [{"name": label} for label in labels],
            "head": {"repo": {"full_name": head}},
        }
    }


def other_network(tree: Path) -> None:
    file = tree / "Pulumi.dev.yaml"
    file.write_text(file.read_text().replace("config:\n", "config:\n  bluegreen:vpcCidr: 10.99.0.0/16\n"))


def test_the_checks_of_a_fork_run_whole_and_ask_for_nothing(runner: Runner) -> None:
    runner.variables = {}
    done = runner.run("checks.yml", event(head="stranger/shop"), event_name="pull_request", ref="refs/pull/7/merge")
    assert {name: job.result for name, job in done.items()} == {
        "check": "success",
        "test": "success",
        "rehearse": "success",
    }
    assert done["check"].commands == ["make check", "summary"]
    assert done["test"].commands == ["apt-get update", "make test", "summary"]
    assert done["rehearse"].commands == ["apt-get update", "make rehearse", "summary"]
    assert "--junit-xml=build/tests.xml" in done["test"].steps[1].said
    assert "make check ended with success" in done["check"].summary


def test_a_fork_gets_no_preview_and_no_comment(runner: Runner, github: GitHubServer) -> None:
    done = runner.run("preview.yml", event(head="stranger/shop"), event_name="pull_request", ref="refs/pull/7/merge")
    assert {job.result for job in done.values()} == {"skipped", "success"}
    assert [job.steps for job in done.values() if job.steps] == []
    assert github.requests == []


def test_a_stack_that_is_up_is_previewed_for_a_pull_request_and_looked_at_each_night(
    runner: Runner, repository: Repository, github: GitHubServer, calls: CloudClient
) -> None:
    """One account for both: bringing dev up takes as long as what follows."""
    repository.stack("dev").up()
    before = calls.write_calls()
    repository.change = other_network
    each_stack_gets_one_comment_and_a_new_network_is_refused_until_it_has_the_label(runner, github)
    assert calls.write_calls() == before
    repository.change = lambda tree: None
    the_night_finds_what_somebody_changed_by_hand(runner)


def each_stack_gets_one_comment_and_a_new_network_is_refused_until_it_has_the_label(
    runner: Runner, github: GitHubServer
) -> None:
    refused = runner.run("preview.yml", event("something"), event_name="pull_request", ref="refs/pull/7/merge")
    assert {name: job.result for name, job in refused.items()} | {"preview": ""} == {
        "preview": "",
        "preview dev": "failure",
        "preview prod": "success",
    }
    assert [step.code for step in refused["preview dev"].steps] == [0, 0, 3, 0]
    assert refused["preview dev"].commands == ["make setup", "sync-config", "preview", "comment"]
    first, second = github.bodies(NUMBER)
    assert first.startswith("<!-- bluegreen:preview-dev -->\n### Preview of `dev`")
    assert "VPC network would be replaced; if that is intended, say --allow-replace" in first
    assert (
        "| +- | replace | `aws:ec2/vpc:Vpc` | `network` | **destroys a VPC**, `cidrBlock` (forces replacement) |"
        in first
    )
    assert second.startswith("<!-- bluegreen:preview-prod -->\n### Preview of `prod`")
    assert "Refused" not in second
    assert first.split("\n", 1)[1].strip() in refused["preview dev"].summary

    allowed = runner.run("preview.yml", event("allow-replace"), event_name="pull_request", ref="refs/pull/7/merge")
    assert allowed["preview dev"].result == "success"
    assert len(github.bodies(NUMBER)) == 2
    assert "**Allowed by hand:** replace of VPC `network`" in github.bodies(NUMBER)[0]
    assert (runner.artifacts / "preview-dev" / "preview.md").read_text() in github.bodies(NUMBER)[0]


def the_night_finds_what_somebody_changed_by_hand(runner: Runner) -> None:
    quiet = runner.run("drift.yml", event_name="schedule")
    assert quiet["drift dev"].result == "success", quiet["drift dev"].steps[-1].said
    logs: Any = boto3.client("logs", region_name=VARIABLES["AWS_REGION"])
    group = logs.describe_log_groups()["logGroups"][0]["logGroupName"]
    logs.put_retention_policy(logGroupName=group, retentionInDays=1)
    found = runner.run("drift.yml", event_name="schedule")
    assert found["drift dev"].result == "failure"
    assert "retentionInDays" in found["drift dev"].summary

"""What must hold for every workflow, and what actionlint and zizmor (`make check`) don't ask."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.ci.expressions import condition, contains
from tests.ci.runner import STAND_INS
from tests.ci.workflows import FILES, OWN, ROOT, WORKFLOWS, jobs, steps_of, triggers, workflow
from tests.github import REPOSITORY
from tests.test_docs import make_targets, options_of

PINNED = re.compile(r"uses: ([\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)")
COMMAND = re.compile(r"\./bluegreen ([a-z-]+)( .*)?")
VERB = re.compile(r"make ([a-z-]+)( [A-Z]+=\S+)?")
PACKAGES = re.compile(r"apt-get update && apt-get install --yes --no-install-recommends [a-z0-9 -]+")
CHANGING = ("up", "publish build/release", "deploy", "canary", "cutover", "rollback", "restart", "retire")
DOCUMENT = (ROOT / "docs" / "ci.md").read_text()
ALL = [pytest.param(job, id=f"{file}/{name}") for file, name, job in jobs()]
RUNNING = [pytest.param(job, id=f"{file}/{name}") for file, name, job in jobs() if "steps" in job]
SOURCES = [*sorted(WORKFLOWS.glob("*.yml")), *sorted((ROOT / ".github" / "actions").rglob("action.yml"))]


def runs(job: dict[str, Any]) -> list[str]:
    return [step["run"].strip() for step in steps_of(job) if "run" in step]


def changes_a_stack(job: dict[str, Any]) -> bool:
    return any(f"./bluegreen {word}" in command for word in CHANGING for command in runs(job))


@pytest.mark.parametrize("file", FILES)
def test_nothing_is_permitted_unless_a_job_says_so(file: str) -> None:
    assert workflow(file)["permissions"] == {}


@pytest.mark.parametrize("job", ALL)
def test_a_job_is_permitted_to_read_the_repository_and_little_more(job: dict[str, Any]) -> None:
    assert job["permissions"]["contents"] == "read"
    assert job["permissions"].items() <= {"contents": "read", "id-token": "write", "pull-requests": "write"}.items()


@pytest.mark.parametrize("job", RUNNING)
def test_every_job_has_an_end(job: dict[str, Any]) -> None:
    assert 5 <= job["timeout-minutes"] <= 90


@pytest.mark.parametrize("job", RUNNING)
def test_every_command_is_a_make_target_or_a_command_of_this_project(job: dict[str, Any]) -> None:
    for command in runs(job):
        own, verb = COMMAND.fullmatch(command), VERB.fullmatch(command)
        if own:
            assert set(re.findall(r"(?<= )--[a-z0-9-]+", own[2] or "")) <= options_of(own[1]), command
        elif verb:
            assert verb[1] in make_targets(), command
        else:
            assert "container" in job, f"{command}: neither a make target nor a command"
            assert PACKAGES.fullmatch(command), command


@pytest.mark.parametrize("job", RUNNING)
def test_no_expression_is_written_into_a_command(job: dict[str, Any]) -> None:
    assert [command for command in runs(job) if "${{" in command] == []


def test_every_action_is_pinned_by_commit_once_for_all_and_has_a_stand_in() -> None:
    pins: dict[str, set[tuple[str, str]]] = {}
    for source in SOURCES:
        for line in source.read_text().splitlines():
            if "uses: " in line and f"uses: {OWN}" not in line:
                match = PINNED.search(line)
                assert match, f"{source.name}: {line.strip()}"
                pins.setdefault(match[1], set()).add((match[2], match[3]))
    assert {name for name, versions in pins.items() if len(versions) > 1} == set()
    assert pins.keys() == STAND_INS.keys()


def test_the_cli_is_the_one_that_the_sdk_belongs_to() -> None:
    action = (ROOT / ".github" / "actions" / "stack" / "action.yml").read_text()
    [cli] = re.findall(r"pulumi-version: ([\d.]+)", action)
    [sdk] = re.findall(r"^pulumi==([\d.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert cli == sdk


# -- forks ----------------------------------------------------------------------------------------------------------


def pull_request(head: str) -> dict[str, Any]:
    event = {"pull_request": {"number": 7, "labels": [], "head": {"repo": {"full_name": head}}}}
    github = {"event": event, "repository": REPOSITORY, "event_name": "pull_request", "ref": "refs/pull/7/merge"}
    return {"github": github, "vars": {"AWS_PREVIEW_ROLE": "arn", "AWS_REGION": "eu-central-1"}, "inputs": {}}


def starts(job: dict[str, Any], contexts: dict[str, Any]) -> bool:
    functions: dict[str, Callable[..., Any]] = {"success": lambda: True, "contains": contains}
    return condition(job.get("if", "true"), contexts, functions)


def test_what_a_fork_starts_gets_no_identity_no_secret_and_may_write_nothing() -> None:
    started = [(name, job) for file, name, job in jobs() if "pull_request" in triggers(file)]
    mine = [name for name, job in started if starts(job, pull_request(REPOSITORY))]
    forks = {name: job for name, job in started if starts(job, pull_request("stranger/shop"))}
    assert sorted(mine) == ["check", "preview", "rehearse", "test"]
    assert sorted(forks) == ["check", "rehearse", "test"]
    for job in forks.values():
        assert job["permissions"] == {"contents": "read"}
        assert "environment" not in job


def test_no_workflow_runs_a_pull_requests_code_with_the_repositorys_rights() -> None:
    known = {"pull_request", "push", "schedule", "workflow_call", "workflow_dispatch"}
    assert {trigger for file in FILES for trigger in triggers(file)} == known


def test_no_secret_is_used_at_all() -> None:
    assert [source.name for source in SOURCES if re.search(r"\bsecrets\b", source.read_text())] == []


# -- stacks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", RUNNING)
def test_a_stack_is_opened_with_what_was_delivered_before_anything_else_is_done_to_it(job: dict[str, Any]) -> None:
    commands = runs(job)
    if not any('--stack "$STACK"' in command for command in commands):
        return
    opened = [step.get("uses", "").split("@")[0] for step in job["steps"][:2]]
    assert opened == ["actions/checkout", "./.github/actions/stack"]
    assert commands[:2] == ["make setup", './bluegreen sync-config --stack "$STACK"']


@pytest.mark.parametrize("job", [job for job in RUNNING if changes_a_stack(job.values[0])])  # type: ignore[arg-type]
def test_what_changes_a_stack_waits_for_its_turn_and_is_never_cut_off(job: dict[str, Any]) -> None:
    assert job["concurrency"] == {"group": "stack-${{ inputs.stack }}", "cancel-in-progress": False}
    assert "environment" in job


def test_those_that_change_a_stack_are_the_ones_meant() -> None:
    assert [file for file, _, job in jobs() if "steps" in job and changes_a_stack(job)] == [
        "canary.yml",
        "cutover.yml",
        "deploy-stack.yml",
        "rollback.yml",
    ]


def test_whatever_deploys_starts_on_main_only() -> None:
    branch = {**pull_request(REPOSITORY)["github"], "event_name": "workflow_dispatch", "ref": "refs/heads/mine"}
    contexts = {"github": branch, "vars": {"AWS_REGION": "x", "AWS_PREVIEW_ROLE": "x"}, "inputs": {"stack": "prod"}}
    for file, name, job in jobs():
        first = not job.get("needs") or (file == "deploy.yml" and name == "dev")
        if "workflow_dispatch" in triggers(file) and "id-token" in job["permissions"] and first:
            assert not starts(job, contexts), f"{file}/{name}"
            assert starts(job, {**contexts, "github": {**branch, "ref": "refs/heads/main"}}), f"{file}/{name}"


@pytest.mark.parametrize("job", RUNNING)
def test_whatever_is_kept_is_kept_for_a_while(job: dict[str, Any]) -> None:
    kept = [step["with"] for step in steps_of(job) if step.get("uses", "").startswith("actions/upload-artifact")]
    assert all(1 <= one["retention-days"] <= 90 for one in kept)


# -- the document ---------------------------------------------------------------------------------------------------


def test_the_document_names_every_workflow_variable_and_environment() -> None:
    text = "".join(source.read_text() for source in SOURCES)
    assert set(re.findall(r"`([\w-]+\.yml)`", DOCUMENT)) == set(FILES)
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", DOCUMENT, re.MULTILINE)) == set(re.findall(r"vars\.([A-Z_]+)", text))
    bootstrap = (ROOT / "docs" / "bootstrap.md").read_text()
    assert set(re.findall(r"gh variable set ([A-Z_]+)", bootstrap)) <= set(re.findall(r"vars\.([A-Z_]+)", text))
    assert {"`dev`", "`production`", "`allow-replace`"} <= set(re.findall(r"`[\w-]+`", DOCUMENT))

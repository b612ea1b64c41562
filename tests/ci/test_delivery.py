"""From a commit on main to users, and what hands can do then: the workflows' commands, on real machines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import boto3
import pulumi.automation as auto
import pytest
import requests

from rehearsal.environment import LOOPBACK, Options, Stage, built
from rehearsal.host import install
from rehearsal.scenario import BAD_DATABASE_HOST
from tests.ci.conftest import STACKS, VARIABLES, Repository, make_repository
from tests.ci.runner import JobResult, Runner

LIMIT_S = 900

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.timeout(LIMIT_S),
    pytest.mark.skipif(os.geteuid() != 0, reason="the rehearsal needs root"),
]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    missing = install.missing(install.Host())
    if missing:
        pytest.skip(f"this machine can't rehearse: {', '.join(tool.program for tool in missing)} missing")
    before = dict(os.environ)
    try:
        with built(Options(), print) as stage:
            stage.bake()
            stage.create_stack()
            _configure(stage)
            yield stage
    finally:
        os.environ.clear()
        os.environ.update(before)


def _configure(stage: Stage) -> None:
    """Both stacks beside each other on one machine: half of the network, and a port, each; one machine a color."""
    networks = stage.ground.network.subnets(prefixlen_diff=1)
    for name, network, port in zip(STACKS, networks, (stage.http_port, stage.ground.port(LOOPBACK)), strict=True):
        stack = auto.create_or_select_stack(stack_name=name, work_dir=str(stage.project))
        base = stage.stack.get_config("bluegreen:baseImage").value
        own = {"aws:region": "eu-central-1", "bluegreen:baseImage": base, "bluegreen:zoneCount": "2"}
        own |= {"bluegreen:vpcCidr": str(network), "bluegreen:httpPort": str(port), "bluegreen:natGateways": "single"}
        own |= {f"bluegreen:{color}.minSize": "1" for color in ("blue", "green")}
        for key, value in own.items():
            stack.set_config(key, auto.ConfigValue(value), path="." in key)
        for key, value in stage.parameters().items():
            path = f"/bluegreen/{name}/app/{key}"
            stage.client("ssm").put_parameter(Name=path, Value=value, Type="SecureString", Overwrite=True)


@pytest.fixture(scope="module")
def repository(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return make_repository(tmp_path_factory.mktemp("repository"), stage.project)


@pytest.fixture(scope="module")
def runner(stage: Stage, repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    folder = tmp_path_factory.mktemp("github")
    environment = stage.ground.environment | stage.environment
    variables = VARIABLES | {"PULUMI_BACKEND_URL": environment["PULUMI_BACKEND_URL"]}
    return Runner(folder=folder, environment=environment, variables=variables, check_out=repository.check_out)


def served(repository: Repository, name: str) -> tuple[str, str]:
    """Release and color that answer users of a stack."""
    headers = requests.get(repository.stack(name).outputs()["url"].value, timeout=10).headers
    return headers["X-Release"], headers["X-Color"]


def require(done: dict[str, JobResult]) -> dict[str, JobResult]:
    broken = [job for job in done.values() if job.result != "success" and job.steps]
    assert not broken, f"{broken[0].name}: {broken[0].steps[-1].command}\n{broken[0].steps[-1].said}"
    return done


DELIVERY = ["make setup", "recall", "up", "publish_release", "deploy", "cutover", "smoke_test"]


def test_main_to_dev_and_prod_then_by_hand_and_at_night(runner: Runner, repository: Repository) -> None:
    """One story, as each step stands on the one before: a stage takes a minute to build."""
    first_release(runner, repository)
    second_release(runner, repository)
    hands(runner, repository)
    bad_release(runner, repository)
    fresh_image(runner, repository)


def first_release(runner: Runner, repository: Repository) -> None:
    done = require(runner.run("deploy.yml"))
    packed = done["bundle"].outputs
    assert packed["version"] == "v1"
    assert (done["dev/deliver"].environment, done["prod/deliver"].environment) == ("dev", "production")
    assert done["dev/deliver"].commands == done["prod/deliver"].commands == DELIVERY
    for stack in STACKS:
        assert served(repository, stack) == ("v1", "blue")
        assert published(repository, stack, "v1") == packed["sha256"]
    assert done["dev"].outputs["ami"] == done["prod/deliver"].outputs["ami"]


def second_release(runner: Runner, repository: Repository) -> None:
    (repository.folder / "examples" / "hello" / "NEWS").write_text("second\n")
    repository.commit("v2")
    done = require(runner.run("deploy.yml"))
    assert [served(repository, stack) for stack in STACKS] == [("v2", "green"), ("v2", "green")]
    assert published(repository, "dev", "v2") == published(repository, "prod", "v2") == done["bundle"].outputs["sha256"]
    up = next(step for step in done["dev/deliver"].steps if "scripts.up" in step.command)
    assert "nothing changes" in up.summary, up.summary


def hands(runner: Runner, repository: Repository) -> None:
    for percent in (20, 0):
        require(runner.run("canary.yml", inputs={"stack": "dev", "percent": percent}, event_name="workflow_dispatch"))
        assert repository.stack("dev").outputs()["canaryPercent"].value == percent
    back = require(runner.run("rollback.yml", inputs={"stack": "dev"}, event_name="workflow_dispatch"))
    assert back["rollback"].commands == ["make setup", "recall", "rollback", "smoke_test"]
    assert (served(repository, "dev"), served(repository, "prod")) == (("v1", "blue"), ("v2", "green"))
    wrong = {"stack": "dev", "color": "green", "release": "v1"}
    refused = runner.run("cutover.yml", inputs=wrong, event_name="workflow_dispatch")["cutover"]
    assert (refused.result, refused.steps[-1].code) == ("failure", 3)
    assert "green holds release v2, not v1" in refused.summary
    require(runner.run("cutover.yml", inputs={**wrong, "release": "v2"}, event_name="workflow_dispatch"))
    assert served(repository, "dev") == ("v2", "green")
    assert {job.result for job in require(runner.run("drift.yml", event_name="schedule")).values()} == {"success"}


def bad_release(runner: Runner, repository: Repository) -> None:
    """A release that can't reach its database is stopped in dev before a user sees it, and prod never hears of it."""
    dockerfile = repository.folder / "examples" / "hello" / "Dockerfile"
    text = dockerfile.read_text()
    dockerfile.write_text(text.replace('DATABASE_HOST=""', f'DATABASE_HOST="{BAD_DATABASE_HOST}"'))
    repository.commit("v3")
    done = runner.run("deploy.yml")
    assert (done["dev"].result, done["prod"].result) == ("failure", "skipped")
    assert done["dev/deliver"].commands == DELIVERY[: DELIVERY.index("cutover") + 1]
    assert done["dev/deliver"].steps[-1].code == 3
    assert [served(repository, stack) for stack in STACKS] == [("v2", "green"), ("v2", "green")]


def fresh_image(runner: Runner, repository: Repository) -> None:
    """The week's image; what builds it is `make image`, which the rehearsal's own bake stands for."""
    done = require(runner.run("image.yml", event_name="schedule"))
    assert done["image"].commands == ["make image"]
    assert done["dev/deliver"].commands == [name for name in DELIVERY if name != "publish_release"]
    assert [served(repository, stack) for stack in STACKS] == [("v2", "blue"), ("v2", "blue")]


def published(repository: Repository, stack: str, version: str) -> str:
    """The checksum that the stack's own bucket holds a release with."""
    s3: Any = boto3.client("s3")
    bucket = repository.stack(stack).outputs()["artifactsBucket"].value
    return str(s3.head_object(Bucket=bucket, Key=f"releases/{version}/bundle.tar.gz")["Metadata"]["sha256"])

"""From a commit on main to users, and what people can do then: the workflows' commands, in an AWS without instances.

What instances make of a release, the rehearsal shows; here a stub answers in their place.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pulumi.automation as auto
import pytest
import requests

from rehearsal.workspace import Workspace
from tests.ci.conftest import STACKS, Repository, make_repository
from tests.ci.runner import JobResult, Runner
from tests.ci.workflows import ROOT
from tests.rehearsal.cloud.fleet import REGION, Running
from tests.rehearsal.pulumi import packer_stub
from tests.rehearsal.pulumi.load_balancer_stub import LoadBalancerStub

LIMIT_S = 900

pytestmark = [pytest.mark.engine, pytest.mark.timeout(LIMIT_S)]


@pytest.fixture
def load_balancers(cloud: Running) -> Iterator[dict[str, LoadBalancerStub]]:
    """The load balancer of each stack."""
    opened = {name: LoadBalancerStub(cloud.client, stack=name) for name in STACKS}
    yield opened
    for load_balancer in opened.values():
        load_balancer.close()


@pytest.fixture
def repository(
    tmp_path: Path,
    workspace: Workspace,
    secrets_provider: str,
    cloud: Running,
    load_balancers: dict[str, LoadBalancerStub],
) -> Repository:
    """Both stacks beside each other, each with a load balancer of its own, and a machine image in the account."""
    for name, load_balancer in load_balancers.items():
        stack = workspace.create_stack(name, secrets_provider=secrets_provider)
        own = workspace.provider_config(cloud.aws) | {"bluegreen:httpPort": str(load_balancer.port)}
        stack.set_all_config({key: auto.ConfigValue(value) for key, value in own.items()}, path=True)
    bake()
    return make_repository(tmp_path / "repository", workspace.project)


def bake() -> str:
    """The id of another machine image, as `make image` would build it."""
    return packer_stub.build(ROOT / "ami", [f"region={REGION}", f"git_commit={'0' * 40}"])


def served(repository: Repository, name: str) -> tuple[str, str]:
    """Release and color that answer users of a stack."""
    headers = requests.get(repository.stack(name).outputs()["url"].value, timeout=10).headers
    return headers["X-Release"], headers["X-Color"]


def require(done: dict[str, JobResult]) -> dict[str, JobResult]:
    broken = [job for job in done.values() if job.result != "success" and job.steps]
    assert not broken, f"{broken[0].name}: {broken[0].steps[-1].command}\n{broken[0].steps[-1].said}"
    return done


DELIVERY = ["make setup", "sync-config", "up", "publish", "deploy", "cutover", "smoke-test"]


def test_main_to_dev_and_prod_then_by_hand_and_at_night(
    runner: Runner, repository: Repository, load_balancers: dict[str, LoadBalancerStub]
) -> None:
    """One test, as each step stands on the one before."""
    runner.environment = {**runner.environment, "BLUEGREEN_BAKE_SECONDS": "2"}
    first_release(runner, repository)
    second_release(runner, repository)
    by_hand(runner, repository)
    bad_release(runner, repository, load_balancers["dev"])
    fresh_image(runner, repository)


def first_release(runner: Runner, repository: Repository) -> None:
    done = require(runner.run("deploy.yml"))
    packed = done["bundle"].outputs
    assert packed["version"] == "v1"
    assert (done["dev/deploy"].environment, done["prod/deploy"].environment) == ("dev", "production")
    assert done["dev/deploy"].commands == done["prod/deploy"].commands == DELIVERY
    for stack in STACKS:
        assert served(repository, stack) == ("v1", "blue")
        assert published(repository, stack, "v1") == packed["sha256"]
    assert done["dev"].outputs["ami"] == done["prod/deploy"].outputs["ami"]


def second_release(runner: Runner, repository: Repository) -> None:
    (repository.folder / "examples" / "hello" / "NEWS").write_text("second\n")
    repository.commit("v2")
    done = require(runner.run("deploy.yml"))
    assert [served(repository, stack) for stack in STACKS] == [("v2", "green"), ("v2", "green")]
    assert published(repository, "dev", "v2") == published(repository, "prod", "v2") == done["bundle"].outputs["sha256"]
    up = next(step for step in done["dev/deploy"].steps if "./bluegreen up" in step.command)
    assert "no changes" in up.summary, up.summary


def by_hand(runner: Runner, repository: Repository) -> None:
    for percent in (20, 0):
        require(runner.run("canary.yml", inputs={"stack": "dev", "percent": percent}, event_name="workflow_dispatch"))
        assert repository.stack("dev").outputs()["canaryPercent"].value == percent
    back = require(runner.run("rollback.yml", inputs={"stack": "dev"}, event_name="workflow_dispatch"))
    assert back["rollback"].commands == ["make setup", "sync-config", "rollback", "smoke-test"]
    assert (served(repository, "dev"), served(repository, "prod")) == (("v1", "blue"), ("v2", "green"))
    wrong = {"stack": "dev", "color": "green", "release": "v1"}
    refused = runner.run("cutover.yml", inputs=wrong, event_name="workflow_dispatch")["cutover"]
    assert (refused.result, refused.steps[-1].code) == ("failure", 3)
    assert "green holds release v2, not v1" in refused.summary
    require(runner.run("cutover.yml", inputs={**wrong, "release": "v2"}, event_name="workflow_dispatch"))
    assert served(repository, "dev") == ("v2", "green")
    assert {job.result for job in require(runner.run("drift.yml", event_name="schedule")).values()} == {"success"}


def bad_release(runner: Runner, repository: Repository, load_balancer: LoadBalancerStub) -> None:
    """A release that can't reach its database is stopped in dev before a user sees it, and prod never gets it."""
    (repository.folder / "examples" / "hello" / "NEWS").write_text("third\n")
    repository.commit("v3")
    load_balancer.broken.add("blue")
    done = runner.run("deploy.yml")
    load_balancer.broken.clear()
    assert (done["dev"].result, done["prod"].result) == ("failure", "skipped")
    assert done["dev/deploy"].commands == DELIVERY[: DELIVERY.index("cutover") + 1]
    assert done["dev/deploy"].steps[-1].code == 3
    assert [served(repository, stack) for stack in STACKS] == [("v2", "green"), ("v2", "green")]


def fresh_image(runner: Runner, repository: Repository) -> None:
    """The week's image: fresh instances of it, and of the release that is live."""
    image = bake()
    done = require(runner.run("image.yml", event_name="schedule"))
    assert done["image"].commands == ["make image"]
    assert [done[name].outputs["ami"] for name in ("dev", "prod/deploy")] == [image, image]
    assert done["dev/deploy"].commands == [name for name in DELIVERY if name != "publish"]
    assert [served(repository, stack) for stack in STACKS] == [("v2", "blue"), ("v2", "blue")]


def published(repository: Repository, stack: str, version: str) -> str:
    """The checksum that the stack's own bucket holds a release with."""
    s3: Any = boto3.client("s3")
    bucket = repository.stack(stack).outputs()["artifactsBucket"].value
    return str(s3.head_object(Bucket=bucket, Key=f"releases/{version}/bundle.tar.gz")["Metadata"]["sha256"])

"""A repository with workflows, beside an AWS that knows no machines."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pulumi.automation as auto
import pytest

from rehearsal.workspace import Workspace
from tests.ci.runner import Runner
from tests.ci.workflows import ROOT
from tests.github import GitHubServer, github_server
from tests.rehearsal.pulumi.conftest import _cloud, _fork_server, calls, cli, cloud, secrets_provider, workspace

__all__ = ["_cloud", "_fork_server", "calls", "cli", "cloud", "secrets_provider", "workspace"]

STACKS = ("dev", "prod")
STACK_FILES = tuple(f"Pulumi.{stack}.yaml" for stack in STACKS)
VARIABLES = {
    "AWS_REGION": "eu-central-1",
    "AWS_PREVIEW_ROLE": "arn:aws:iam::123456789012:role/preview",
    "AWS_DEPLOY_ROLE": "arn:aws:iam::123456789012:role/deploy",
}
WHO = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")


@dataclass
class Repository:
    """This project's tree as a commit of its own, and what a checkout of it is on another machine.

    `project` is the folder whose stack files are committed, as `pulumi stack init` left them.
    """

    folder: Path
    project: Path
    change: Callable[[Path], None] = lambda tree: None

    def stack(self, name: str) -> auto.Stack:
        return auto.select_stack(stack_name=name, work_dir=str(self.project))

    def check_out(self, place: Path) -> None:
        """The commit's files, with no config but the commit's: what another job wrote into its own is lost."""
        subprocess.run(["git", "clone", "--quiet", str(self.folder), str(place)], check=True)
        (place / ".venv").symlink_to(ROOT / ".venv")
        self.change(place)

    def commit(self, tag: str) -> None:
        subprocess.run(["git", *WHO, "-C", str(self.folder), "add", "--all"], check=True)
        subprocess.run(["git", *WHO, "-C", str(self.folder), "commit", "--quiet", "-m", tag], check=True)
        subprocess.run(["git", *WHO, "-C", str(self.folder), "tag", tag], check=True)


def make_repository(folder: Path, project: Path) -> Repository:
    """What is committed here or could be: also a change that is being worked on is tested."""
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for name in STACK_FILES:
        shutil.copy2(project / name, folder / name)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(folder)], check=True)
    made = Repository(folder=folder, project=project)
    made.commit("v1")
    return made


@pytest.fixture
def github() -> Iterator[GitHubServer]:
    with github_server() as server:
        yield server


@pytest.fixture
def repository(tmp_path: Path, workspace: Workspace, secrets_provider: str) -> Repository:
    for stack in STACKS:
        workspace.create_stack(stack, secrets_provider=secrets_provider)
    return make_repository(tmp_path / "repository", workspace.project)


@pytest.fixture
def runner(tmp_path: Path, repository: Repository, github: GitHubServer) -> Runner:
    return Runner(
        folder=tmp_path / "runs",
        environment={"GITHUB_API_URL": github.url},
        variables=VARIABLES | {"PULUMI_BACKEND_URL": os.environ["PULUMI_BACKEND_URL"]},
        check_out=repository.check_out,
    )

"""A repository with workflows, beside an AWS that knows no machines."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.ci.runner import Runner
from tests.ci.workflows import ROOT
from tests.github import GitHubServer, github_server

STACKS = ("dev", "prod")
VARIABLES = {
    "AWS_REGION": "eu-central-1",
    "AWS_PREVIEW_ROLE": "arn:aws:iam::123456789012:role/preview",
    "AWS_DEPLOY_ROLE": "arn:aws:iam::123456789012:role/deploy",
    "PULUMI_BACKEND_URL": "s3://state",
}
WHO = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")


@dataclass
class Repository:
    """This project's tree as a commit of its own, and what a checkout of it is on another machine.

    `config` holds the stack files of the commit where they aren't this project's own.
    """

    folder: Path
    state: Path
    config: dict[str, str] = field(default_factory=dict)
    change: Callable[[Path], None] = lambda tree: None

    def check_out(self, place: Path) -> None:
        """The commit's files, with no config but the commit's: what another job wrote into its own is lost."""
        subprocess.run(["git", "clone", "--quiet", str(self.folder), str(place)], check=True)
        (place / ".venv").symlink_to(ROOT / ".venv")
        self.change(place)
        for stack in STACKS:
            own = self.state / f"Pulumi.{stack}.yaml"
            own.unlink(missing_ok=True)
            if stack in self.config:
                own.write_text(self.config[stack])

    def commit(self, tag: str) -> None:
        subprocess.run(["git", *WHO, "-C", str(self.folder), "add", "--all"], check=True)
        subprocess.run(["git", *WHO, "-C", str(self.folder), "commit", "--quiet", "-m", tag], check=True)
        subprocess.run(["git", *WHO, "-C", str(self.folder), "tag", tag], check=True)


def make_repository(folder: Path, state: Path) -> Repository:
    """What is committed here or could be: also a change that is being worked on is tested."""
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(folder)], check=True)
    state.mkdir(exist_ok=True)
    made = Repository(folder=folder, state=state)
    made.commit("v1")
    return made


@pytest.fixture
def github() -> Iterator[GitHubServer]:
    with github_server() as server:
        yield server


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path / "repository", tmp_path / "state")


@pytest.fixture
def runner(tmp_path: Path, repository: Repository, github: GitHubServer, traffic: object) -> Runner:
    environment = {
        "BLUEGREEN_STACKS": "rehearsal.engine:open_stack",
        "BLUEGREEN_STATE_DIR": str(repository.state),
        "GITHUB_API_URL": github.url,
    }
    return Runner(
        folder=tmp_path / "runs", environment=environment, variables=VARIABLES, check_out=repository.check_out
    )

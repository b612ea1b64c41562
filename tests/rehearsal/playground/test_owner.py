"""Ownership of files that root creates under sudo."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rehearsal.playground.owner import Owner

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change owners")
CALLER = Owner(uid=4242, gid=4243)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in (
        "build/rehearsal/run-1/log",
        "build/old",
        "fleet/__pycache__/a.pyc",
        "fleet/a.py",
        ".venv/__pycache__/b.pyc",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def owners(project: Path) -> dict[str, int]:
    return {str(path.relative_to(project)): path.lstat().st_uid for path in project.rglob("*") if path.is_file()}


def test_the_caller_is_who_called_sudo() -> None:
    assert Owner.caller({"SUDO_UID": "4242", "SUDO_GID": "4243"}) == CALLER


@pytest.mark.parametrize("environment", [{}, {"SUDO_UID": "4242"}, {"SUDO_UID": "x", "SUDO_GID": "y"}])
def test_without_sudo_it_is_the_process(environment: dict[str, str]) -> None:
    assert Owner.caller(environment) == Owner(uid=os.getuid(), gid=os.getgid())


@needs_root
def test_folders_are_adopted_with_all_in_them_and_links_are_not_followed(project: Path) -> None:
    outside = project / "outside"
    outside.touch()
    (project / "build" / "link").symlink_to(outside)
    CALLER.adopt(project / "build")
    assert {path.lstat().st_uid for path in (project / "build").rglob("*")} == {4242}
    assert (project / "build").stat().st_gid == 4243
    assert outside.stat().st_uid == 0


@needs_root
def test_in_the_callers_project_only_new_caches_and_reports_are_adopted(project: Path) -> None:
    os.chown(project, 4242, 4243)
    began = time.time() - 100
    CALLER.adopt_new(project, began)
    adopted = {name for name, uid in owners(project).items() if uid == 4242}
    assert adopted == {"build/rehearsal/run-1/log", "build/old", "fleet/__pycache__/a.pyc"}


@needs_root
def test_older_files_keep_their_owner(project: Path) -> None:
    os.chown(project, 4242, 4243)
    CALLER.adopt_new(project, time.time() + 100)
    assert set(owners(project).values()) == {0}


@needs_root
def test_a_project_of_another_user_is_left_alone(project: Path) -> None:
    CALLER.adopt_new(project, 0.0)
    assert set(owners(project).values()) == {0}


@needs_root
def test_root_keeps_its_own(project: Path) -> None:
    os.chown(project / "build" / "old", 4242, 4243)
    Owner(uid=0, gid=0).adopt(project)
    assert owners(project)["build/old"] == 4242

"""The sample's variants do what their drill is about, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psutil
import pytest
import requests

from rehearsal.drills import releases
from rehearsal.drills.drill import DrillError
from rehearsal.drills.fixture import SAMPLE, Scene
from rehearsal.host.sandbox import Ground, url_answers, wait_until


class Shelf:
    """Takes a release as a scene does; its version is its folder here."""

    stage = SimpleNamespace(database=SimpleNamespace(host="10.0.0.5"))

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def publish(self, name: str, change: Callable[[Path], None]) -> str:
        folder = self.folder / name
        shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        change(folder)
        return str(folder)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with Ground.open(runs=tmp_path_factory.mktemp("runs"), with_network=False) as opened:
        yield opened


@contextmanager
def running(ground: Ground, folder: str, **environment: str) -> Iterator[tuple[str, int]]:
    """URL and pid of the app."""
    port = ground.port()
    given = {"PATH": os.environ["PATH"], "PORT": str(port), "RELEASE": "v9", "COLOR": "green", **environment}
    popen = subprocess.Popen([sys.executable, "app.py"], cwd=folder, env=given, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(url_answers(f"{url}/health"), what="the variant", deadline=20)
        yield url, popen.pid
    finally:
        popen.kill()
        popen.wait(10)


def published(variant: Callable[[Scene], str], folder: Path) -> str:
    return variant(cast(Scene, Shelf(folder)))


def statuses(url: str, count: int) -> list[int]:
    with requests.Session() as session:
        return [session.get(url, timeout=5).status_code for _ in range(count)]


def test_the_unsteady_release_fails_one_in_ten_and_says_whose_answer_it_is(ground: Ground, tmp_path: Path) -> None:
    with running(ground, published(releases.unsteady, tmp_path)) as (url, _):
        assert set(statuses(f"{url}/health", 40)) == {200}
        # The first two are no load yet.
        found = statuses(f"{url}/", 62)
    assert [number for number, status in enumerate(found) if status == 500] == [11, 21, 31, 41, 51, 61]
    assert set(found) == {200, 500}


def test_the_unsteady_releases_bad_answer_names_it(ground: Ground, tmp_path: Path) -> None:
    with running(ground, published(releases.unsteady, tmp_path)) as (url, _), requests.Session() as session:
        bad = next(one for one in (session.get(f"{url}/", timeout=5) for _ in range(40)) if one.status_code == 500)
    assert (bad.headers["X-Release"], bad.headers["X-Color"]) == ("v9", "green")


def test_the_degrading_release_answers_without_its_database(ground: Ground, tmp_path: Path) -> None:
    refused = f"postgresql://hello@127.0.0.1:{ground.port()}/hello"
    with running(ground, published(releases.degrading, tmp_path), DATABASE_URL=refused) as (url, _):
        answer = requests.get(f"{url}/visits", timeout=10)
        assert (answer.status_code, answer.json()) == (200, {"error": "the database does not answer"})
        assert statuses(f"{url}/health", 1) == [200]
        assert statuses(f"{url}/health?deep=1", 1) == [503]


def test_the_release_that_needs_its_database_says_so_without_the_parameter(ground: Ground, tmp_path: Path) -> None:
    folder = published(releases.needs_database, tmp_path)
    assert 'ENV DATABASE_HOST="10.0.0.5" ' in (Path(folder) / "Dockerfile").read_text()
    with running(ground, folder, DATABASE_HOST="10.0.0.5") as (url, _):
        answer = requests.get(f"{url}/health?deep=1", timeout=10)
    assert (answer.status_code, answer.json()["checks"]) == (503, {"database": "DATABASE_URL is not set"})


def test_the_leaking_release_grows_with_each_answer(ground: Ground, tmp_path: Path) -> None:
    with running(ground, published(releases.leaking, tmp_path)) as (url, pid):
        statuses(f"{url}/", 5)
        before = psutil.Process(pid).memory_info().rss
        assert set(statuses(f"{url}/", 80)) == {200}
        assert psutil.Process(pid).memory_info().rss - before >= 75 * (128 << 10)


def test_a_text_that_the_sample_has_no_more_is_told(tmp_path: Path) -> None:
    with pytest.raises(DrillError, match=r"app\.py has no 'no such text' to change"):
        published(releases.edited("odd", "no such text", ""), tmp_path)

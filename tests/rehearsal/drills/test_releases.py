"""Broken variants of the sample, as their drills need them."""

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
from rehearsal.drills.fixture import SAMPLE, Fixture
from rehearsal.host.sandbox import Sandbox, url_answers, wait_until


class FakeFixture:
    """Publishes a release to a folder, which is its version here."""

    environment = SimpleNamespace(database=SimpleNamespace(host="10.0.0.5"))

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def publish(self, name: str, change: Callable[[Path], None]) -> str:
        folder = self.folder / name
        shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        change(folder)
        return str(folder)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox.open(runs=tmp_path_factory.mktemp("runs"), with_network=False) as opened:
        yield opened


@contextmanager
def running(sandbox: Sandbox, folder: str, **environment: str) -> Iterator[tuple[str, int]]:
    """URL and pid of the app."""
    port = sandbox.port()
    variables = {"PATH": os.environ["PATH"], "PORT": str(port), "RELEASE": "v9", "COLOR": "green", **environment}
    popen = subprocess.Popen([sys.executable, "app.py"], cwd=folder, env=variables, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(url_answers(f"{url}/health"), what="the variant", deadline=20)
        yield url, popen.pid
    finally:
        popen.kill()
        popen.wait(10)


def published(variant: Callable[[Fixture], str], folder: Path) -> str:
    return variant(cast(Fixture, FakeFixture(folder)))


def statuses(url: str, count: int) -> list[int]:
    with requests.Session() as session:
        return [session.get(url, timeout=5).status_code for _ in range(count)]


def test_the_unsteady_release_fails_one_request_in_ten_under_load(sandbox: Sandbox, tmp_path: Path) -> None:
    with running(sandbox, published(releases.unsteady, tmp_path)) as (url, _):
        assert set(statuses(f"{url}/health", 40)) == {200}
        # The first two are no load yet.
        found = statuses(f"{url}/", 62)
    assert [number for number, status in enumerate(found) if status == 500] == [11, 21, 31, 41, 51, 61]
    assert set(found) == {200, 500}


def test_a_failed_response_of_the_unsteady_release_names_it(sandbox: Sandbox, tmp_path: Path) -> None:
    with running(sandbox, published(releases.unsteady, tmp_path)) as (url, _), requests.Session() as session:
        bad = next(one for one in (session.get(f"{url}/", timeout=5) for _ in range(40)) if one.status_code == 500)
    assert (bad.headers["X-Release"], bad.headers["X-Color"]) == ("v9", "green")


def test_the_degrading_release_responds_without_its_database(sandbox: Sandbox, tmp_path: Path) -> None:
    refused = f"postgresql://hello@127.0.0.1:{sandbox.port()}/hello"
    with running(sandbox, published(releases.degrading, tmp_path), DATABASE_URL=refused) as (url, _):
        answer = requests.get(f"{url}/visits", timeout=10)
        assert (answer.status_code, answer.json()) == (200, {"error": "the database does not answer"})
        assert statuses(f"{url}/health", 1) == [200]
        assert statuses(f"{url}/health?deep=1", 1) == [503]


def test_the_release_that_needs_its_database_says_so_without_the_parameter(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = published(releases.needs_database, tmp_path)
    assert 'ENV DATABASE_HOST="10.0.0.5" ' in (Path(folder) / "Dockerfile").read_text()
    with running(sandbox, folder, DATABASE_HOST="10.0.0.5") as (url, _):
        answer = requests.get(f"{url}/health?deep=1", timeout=10)
    assert (answer.status_code, answer.json()["checks"]) == (503, {"database": "DATABASE_URL is not set"})


def test_the_leaking_release_grows_with_each_response(sandbox: Sandbox, tmp_path: Path) -> None:
    with running(sandbox, published(releases.leaking, tmp_path)) as (url, pid):
        statuses(f"{url}/", 5)
        before = psutil.Process(pid).memory_info().rss
        assert set(statuses(f"{url}/", 80)) == {200}
        assert psutil.Process(pid).memory_info().rss - before >= 75 * (128 << 10)


def test_a_missing_text_to_replace_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DrillError, match=r"app\.py has no 'no such text' to change"):
        published(releases.edited("odd", "no such text", ""), tmp_path)

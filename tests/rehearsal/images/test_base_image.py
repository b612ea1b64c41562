from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.host.docker_engine import DockerEngine
from rehearsal.host.sandbox import Sandbox, wait_until
from rehearsal.images.base_image import prepare_base
from rehearsal.images.cache import ensure_image, files_under, key_of

pytestmark = [
    pytest.mark.docker,
    pytest.mark.network,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("dockerd") is None, reason="needs root and dockerd"),
]
ROOT = Path(__file__).resolve().parents[3]
HELLO = ROOT / "examples" / "hello"
# Each instance pulls it while it boots: detects unnecessary packages.
MAX_BYTES = 80_000_000
REQUEST = """
import json, sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen("http://127.0.0.1:8080" + sys.argv[1], timeout=5)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, answer.headers["X-Release"], json.load(answer)]))
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox.open(runs=tmp_path_factory.mktemp("runs"), with_network=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def engine(sandbox: Sandbox) -> DockerEngine:
    return DockerEngine.start(sandbox)


@pytest.fixture(scope="module")
def base(engine: DockerEngine) -> str:
    return prepare_base(engine, ROOT / "build" / "cache")


@pytest.fixture(scope="module")
def hello(engine: DockerEngine, base: str) -> str:
    """The sample release, built as on an instance: from its Dockerfile, without a network."""
    engine.run("build", "--network", "none", "--build-arg", f"BASE_IMAGE={base}", "--tag", "hello:1", str(HELLO))
    return "hello:1"


def get(engine: DockerEngine, container: str, path: str) -> list[object]:
    found: list[object] = json.loads(engine.run("exec", container, "python3", "-c", REQUEST, path))
    return found


def start(engine: DockerEngine, image: str, name: str, **environment: str) -> str:
    variables = [part for item in environment.items() for part in ("--env", "=".join(item))]
    engine.run("run", "--detach", "--network", "none", "--name", name, *variables, image)

    def reason() -> str | None:
        if not engine.inspect(name)["State"]["Running"]:
            return engine.run("logs", name)
        try:
            return None if get(engine, name, "/health")[0] == 200 else "unhealthy"
        except Exception as error:
            return str(error)

    wait_until(reason, what=name, deadline=20)
    return name


def test_the_base_is_small_and_has_what_the_sample_needs(engine: DockerEngine, base: str) -> None:
    assert engine.inspect(base)["Size"] < MAX_BYTES
    # A module without its compiled form costs each start of an app a second.
    probe = "import aiohttp, asyncpg, ssl, os; print(os.path.exists(aiohttp.__cached__))"
    assert engine.run("run", "--rm", "--network", "none", base, "python3", "-c", probe) == "True"
    assert engine.run("run", "--rm", "--network", "none", base, "sh", "-c", "echo shell") == "shell"


def test_the_sample_runs_as_nobody_and_stops_on_sigterm(engine: DockerEngine, hello: str) -> None:
    name = start(engine, hello, "serves", RELEASE="v1", COLOR="blue")
    assert get(engine, name, "/health") == [200, "v1", {"status": "ok", "release": "v1", "checks": {}}]
    assert engine.run("exec", name, "id", "-u") == "65534"
    engine.run("stop", "--time", "10", name)
    # 137 would be SIGKILL's: then SIGTERM never reached the app.
    assert engine.inspect(name)["State"]["ExitCode"] == 0


def test_the_publisher_builds_the_sample_as_an_image(
    engine: DockerEngine, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network option, as it knows of no rehearsal."""
    engine.run("tag", base, "python:3.12-slim")
    for name, value in engine.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{Path(engine.client).parent}:{os.environ['PATH']}")
    options = ["--version", "v7", "--kind", "image", "--pack-into", str(tmp_path / "packed"), "--json"]
    argv = [sys.executable, "-m", "scripts.publish_release", str(HELLO), *options]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kind"] == "image"
    assert engine.has("release:v7")


def test_a_release_can_carry_a_wrong_database_address(engine: DockerEngine, base: str, tmp_path: Path) -> None:
    bad = Path(shutil.copytree(HELLO, tmp_path / "bad"))
    dockerfile = bad / "Dockerfile"
    changed = dockerfile.read_text().replace('DATABASE_HOST=""', 'DATABASE_HOST="no-such-host.invalid"')
    assert changed != dockerfile.read_text()
    dockerfile.write_text(changed)
    engine.run("build", "--network", "none", "--build-arg", f"BASE_IMAGE={base}", "--tag", "hello:bad", str(bad))
    name = start(engine, "hello:bad", "bad", RELEASE="v3", DATABASE_URL="postgresql://hello:secret@127.0.0.1/hello")
    status, release, body = get(engine, name, "/health?deep=1")
    assert (status, release) == (503, "v3")
    assert "secret" not in json.dumps(body)


def test_an_image_is_built_once_and_loaded_by_other_engines(engine: DockerEngine, base: str, tmp_path: Path) -> None:
    builds: list[str] = []

    def build() -> None:
        builds.append("once")
        engine.run("tag", base, "kept:0011")

    assert ensure_image(engine, tmp_path, "kept:0011", build) is False
    engine.run("rmi", "kept:0011")
    assert ensure_image(engine, tmp_path, "kept:0011", build) is True
    assert builds == ["once"]
    assert engine.has("kept:0011")
    assert {path.name for path in tmp_path.iterdir()} == {"kept-0011.tar", "kept.lock"}


def test_build_folders_are_removed_with_the_run(engine: DockerEngine, sandbox: Sandbox) -> None:
    with engine.scratch("thing") as folder:
        assert Path(folder).is_relative_to(sandbox.folder)
    assert not Path(folder).exists()


def test_a_failed_build_leaves_no_archive(engine: DockerEngine, tmp_path: Path) -> None:
    def build() -> None:
        raise RuntimeError("no mirror")

    with pytest.raises(RuntimeError, match="no mirror"):
        ensure_image(engine, tmp_path, "broken:0022", build)
    assert list(tmp_path.glob("*.tar")) == []


def test_only_the_newest_archives_are_retained(engine: DockerEngine, base: str, tmp_path: Path) -> None:
    for number, age in ((1, 300), (2, 200)):
        old = tmp_path / f"kept-{number}.tar"
        old.touch()
        os.utime(old, (old.stat().st_mtime - age,) * 2)

    def build() -> None:
        engine.run("tag", base, "kept:3")

    ensure_image(engine, tmp_path, "kept:3", build)
    assert {path.name for path in tmp_path.glob("*.tar")} == {"kept-2.tar", "kept-3.tar"}


def test_every_change_changes_the_key(tmp_path: Path) -> None:
    assert key_of(["ab", "c"]) != key_of(["a", "bc"])
    (tmp_path / "a").write_text("one")
    before = key_of(files_under(tmp_path))
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("left by Python")
    assert key_of(files_under(tmp_path)) == before
    (tmp_path / "a").rename(tmp_path / "b")
    assert key_of(files_under(tmp_path)) != before

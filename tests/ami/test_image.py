from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ami.boot.cloud import Cloud
from ami.boot.commands import CommandError
from ami.boot.image import build_command, is_cached, load_command, loaded_image, log_in, prepare, save_record
from ami.boot.retrying import Deadline
from ami.boot.unpack import BundleKind
from ami.boot.user_data import UserData, parse
from tests.ami.releases import source, user_data
from tests.rehearsal.cloud.fleet import REGISTRY, REGISTRY_PASSWORD

Docker = Callable[..., str]


def settings(**changed: object) -> UserData:
    return parse(user_data(**changed))


def test_the_base_image_is_an_argument_only_when_there_is_one() -> None:
    top = Path("/top")
    assert build_command(top, settings()) == ["docker", "build", "--tag", "release:v1", "/top"]
    assert build_command(top, settings(base_image="a/b@sha256:1"))[4:6] == ["--build-arg", "BASE_IMAGE=a/b@sha256:1"]
    assert load_command(top) == ["docker", "load", "--input", "/top/image.tar"]


@pytest.mark.parametrize(
    ("output", "loaded"),
    [
        ("abc: Loading layer\nLoaded image: hello:v1", "hello:v1"),
        ("Loaded image ID: sha256:0123", "sha256:0123"),
    ],
)
def test_what_was_loaded_is_read_from_dockers_answer(output: str, loaded: str) -> None:
    assert loaded_image(output) == loaded


@pytest.mark.parametrize("output", ["", "Loaded image: a:1\nLoaded image: b:1"])
def test_an_archive_holds_exactly_one_image(output: str) -> None:
    with pytest.raises(CommandError, match="must hold exactly one"):
        loaded_image(output)


def test_the_registrys_token_is_written_where_only_root_reads_it(cloud: Cloud, tmp_path: Path) -> None:
    log_in(cloud.client("ecr"), settings(base_image=f"{REGISTRY}/base@sha256:1"), tmp_path)
    path = tmp_path / "config.json"
    assert path.stat().st_mode & 0o777 == 0o600
    auth = json.loads(path.read_text())["auths"][REGISTRY]["auth"]
    assert base64.b64decode(auth).decode() == f"AWS:{REGISTRY_PASSWORD}"


def test_another_registry_gets_no_token(cloud: Cloud, tmp_path: Path) -> None:
    log_in(cloud.client("ecr"), settings(base_image="docker.example.com/base:1"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.docker
def test_source_is_built_on_its_base(docker: Docker, base_image: str, tmp_path: Path) -> None:
    prepare(
        BundleKind.SOURCE, source(tmp_path / "top"), settings(base_image=base_image, version="v-built"), Deadline(60)
    )
    assert "/serve" in docker("image", "inspect", "--format", "{{.Config.Cmd}}", "release:v-built")


@pytest.mark.docker
def test_a_failing_build_shows_its_last_lines(docker: Docker, base_image: str, tmp_path: Path) -> None:
    top = source(tmp_path / "top", Dockerfile=f"FROM {base_image}\nRUN echo no such dependency; exit 3\n")
    with pytest.raises(CommandError, match="no such dependency"):
        prepare(BundleKind.SOURCE, top, settings(version="v-broken"), Deadline(60))


@pytest.mark.docker
def test_a_build_that_hangs_times_out(docker: Docker, base_image: str, tmp_path: Path) -> None:
    top = source(tmp_path / "top", Dockerfile=f"FROM {base_image}\nRUN sleep 300\n")
    with pytest.raises(CommandError, match="docker build timed out"):
        prepare(BundleKind.SOURCE, top, settings(version="v-hung"), Deadline(2))


@pytest.mark.docker
def test_a_saved_image_is_loaded_under_the_releases_tag(docker: Docker, base_image: str, tmp_path: Path) -> None:
    docker("save", "--output", str(tmp_path / "image.tar"), base_image)
    prepare(BundleKind.IMAGE, tmp_path, settings(version="v-loaded"), Deadline(60))
    same = "{{.Id}}"
    assert docker("image", "inspect", "--format", same, "release:v-loaded") == docker(
        "image", "inspect", "--format", same, base_image
    )


@pytest.mark.docker
def test_an_image_is_cached_for_the_same_release_only(docker: Docker, base_image: str, tmp_path: Path) -> None:
    record, data = tmp_path / "image.json", settings(version="v-kept")
    docker("tag", base_image, "release:v-kept")
    assert not is_cached(record, data, Deadline(5))
    save_record(record, data, Deadline(5))
    assert is_cached(record, data, Deadline(5))
    assert not is_cached(record, settings(version="v-kept", url="https://other/v1"), Deadline(5))
    docker("rmi", "release:v-kept")
    assert not is_cached(record, data, Deadline(5))
    record.write_text("half a fi")
    assert not is_cached(record, data, Deadline(5))

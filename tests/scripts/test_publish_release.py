from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ami.boot.unpack import BundleKind
from scripts.cli.display import Display
from scripts.cli.exits import Exit, RefusedError, UsageError
from scripts.publish_release import (
    PublishArgs,
    cli,
    git_commit,
    git_version,
    pack_release,
    packed_release,
    publish,
    store,
)
from scripts.releases.bucket import Migration, ReleaseManifest, find
from scripts.releases.bundle import BundleError, DockerIgnore, pack, source_entries
from tests.scripts.world import BUCKET, World

RELEASE = ReleaseManifest(version="v1", commit="", kind=BundleKind.SOURCE, migration=Migration.NONE)
QUIET = Display(as_json=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    app = tmp_path / "app"
    (app / "src").mkdir(parents=True)
    (app / "Dockerfile").write_text("FROM scratch\n")
    (app / "src" / "main.py").write_text("print('hello')\n")
    (app / "run").write_text("#!/bin/sh\n")
    (app / "run").chmod(0o755)
    return app


def names(folder: Path) -> list[str]:
    return [entry.name for entry in source_entries(folder)]


def test_the_same_files_give_the_same_bytes_whatever_their_times_and_owners(folder: Path, tmp_path: Path) -> None:
    first = pack(source_entries(folder), RELEASE, tmp_path / "one.tar.gz")
    os.utime(folder / "run", (1, 1))
    (folder / "src" / "main.py").chmod(0o600)
    again = folder.rename(tmp_path / "elsewhere")
    assert pack(source_entries(again), RELEASE, tmp_path / "two.tar.gz") == first
    (again / "run").chmod(0o644)
    assert pack(source_entries(again), RELEASE, tmp_path / "three.tar.gz") != first


def test_a_bundle_holds_sorted_plain_entries_and_its_release(folder: Path, tmp_path: Path) -> None:
    pack(source_entries(folder), RELEASE, tmp_path / "bundle.tar.gz")
    with tarfile.open(tmp_path / "bundle.tar.gz") as bundle:
        found = [(member.name, oct(member.mode), member.uid, member.uname) for member in bundle]
        inside = json.load(bundle.extractfile("release.json"))  # type: ignore[arg-type]
    assert found == [
        ("release.json", "0o644", 0, ""),
        ("Dockerfile", "0o644", 0, ""),
        ("run", "0o755", 0, ""),
        ("src/main.py", "0o644", 0, ""),
    ]
    assert inside == {"version": "v1", "commit": "", "kind": "source", "migration": "none"}


@pytest.mark.parametrize(
    ("lines", "name", "ignored"),
    [
        (["*.pyc"], "a.pyc", True),
        (["*.pyc"], "src/a.pyc", False),
        (["**/*.pyc"], "src/deep/a.pyc", True),
        (["**/*.pyc"], "a.pyc", True),
        (["src"], "src/main.py", True),
        (["src/"], "src/main.py", True),
        (["/src/*.py"], "src/main.py", True),
        (["*", "!src"], "src/main.py", False),
        (["src", "!src/main.py"], "src/main.py", False),
        (["!src/main.py", "src"], "src/main.py", True),
        (["# src", ""], "src/main.py", False),
        (["s?c/[a-m]*.py"], "src/main.py", True),
        (["s?c/[n-z]*.py"], "src/main.py", False),
        (["src.py"], "srcxpy", False),
    ],
)
def test_dockerignore_means_what_docker_means(lines: list[str], name: str, ignored: bool) -> None:
    assert DockerIgnore.parse(lines).matches(name) is ignored


def test_what_docker_or_git_ignores_is_left_out(folder: Path) -> None:
    (folder / ".dockerignore").write_text("*\n!src\n")
    assert names(folder) == [".dockerignore", "Dockerfile", "src/main.py"]
    (folder / ".dockerignore").unlink()
    _git(folder, "init", "-q")
    (folder / ".gitignore").write_text("*.secret\n")
    (folder / "key.secret").write_text("x")
    assert names(folder) == [".gitignore", "Dockerfile", "run", "src/main.py"]


def test_a_folder_that_git_ignores_as_a_whole_is_taken_as_it_is(folder: Path) -> None:
    _git(folder.parent, "init", "-q")
    (folder.parent / ".gitignore").write_text("app/\n")
    assert names(folder) == ["Dockerfile", "run", "src/main.py"]


def test_what_cannot_be_in_a_bundle_is_named(folder: Path) -> None:
    (folder / "out").symlink_to("../..")
    with pytest.raises(BundleError, match=r"out links to \.\./\.\., out of its folder"):
        source_entries(folder)
    (folder / "out").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(BundleError, match="pipe is neither a file nor a link"):
        source_entries(folder)
    (folder / "pipe").unlink()
    (folder / "release.json").write_text("{}")
    with pytest.raises(UsageError, match=r"release\.json is in the way"):
        source_entries(folder)
    with pytest.raises(UsageError, match="has no Dockerfile at its top"):
        source_entries(folder / "src")


def test_a_link_inside_the_folder_is_kept(folder: Path, tmp_path: Path) -> None:
    (folder / "link").symlink_to("src/main.py")
    (folder / "dir").symlink_to("src")
    pack(source_entries(folder), RELEASE, tmp_path / "bundle.tar.gz")
    with tarfile.open(tmp_path / "bundle.tar.gz") as bundle:
        assert bundle.getmember("link").linkname == "src/main.py"
        assert bundle.getmember("dir").linkname == "src"


def args(folder: Path, **changes: Any) -> PublishArgs:
    return replace(PublishArgs(folder=folder, bucket=BUCKET, version="v1"), **changes)


def test_published_once_the_same_bytes_are_fine_again_others_are_refused(world: World, folder: Path) -> None:
    first = publish(world.s3, args(folder, migration=Migration.ADDITIVE), QUIET)
    assert first.created
    assert first.url == f"s3://{BUCKET}/releases/v1/bundle.tar.gz"
    stored = world.s3.get_object(Bucket=BUCKET, Key="releases/v1/bundle.tar.gz")["Body"].read()
    assert len(stored) == first.release.size
    assert find(world.s3, BUCKET, "v1") == first.release
    again = publish(world.s3, args(folder, migration=Migration.ADDITIVE), QUIET)
    assert (again.created, again.release) == (False, first.release)
    (folder / "run").write_text("#!/bin/bash\n")
    with pytest.raises(RefusedError, match=r"version v1 is published with other bytes.*choose a new one"):
        publish(world.s3, args(folder, migration=Migration.ADDITIVE), QUIET)
    assert world.s3.get_object(Bucket=BUCKET, Key="releases/v1/bundle.tar.gz")["Body"].read() == stored


def test_whoever_was_cut_off_after_the_bundle_can_finish(world: World, folder: Path) -> None:
    first = publish(world.s3, args(folder), QUIET)
    world.s3.delete_object(Bucket=BUCKET, Key="releases/v1/release.json")
    again = publish(world.s3, args(folder), QUIET)
    assert find(world.s3, BUCKET, "v1") == again.release
    assert again.release.sha256 == first.release.sha256


def test_of_two_that_publish_different_bytes_at_once_one_is_refused(world: World, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "Dockerfile").write_text("FROM other\n")
    start, ends = threading.Barrier(2), list[str]()

    def run(which: Path) -> None:
        start.wait()
        try:
            publish(world.s3, args(which), QUIET)
            ends.append("published")
        except RefusedError:
            ends.append("refused")

    threads = [threading.Thread(target=run, args=(which,)) for which in (folder, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["published", "refused"]


@pytest.mark.parametrize("version", ["", "-v1", "a/b", "v 1", "x" * 41, "ü"])
def test_versions_that_names_and_tags_could_not_hold_are_refused(folder: Path, version: str) -> None:
    with pytest.raises(UsageError, match="must match"):
        publish(None, args(folder, version=version), QUIET)


def test_an_image_of_this_machine_becomes_a_bundle(
    world: World, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "docker").write_text('#!/bin/sh\n[ "$1 $2" = "save --output" ] && echo "layers of $4" > "$3"\n')
    (tools / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    published = publish(world.s3, args(folder, kind=BundleKind.IMAGE, image="app:7"), QUIET)
    (tmp_path / "got.tar.gz").write_bytes(
        world.s3.get_object(Bucket=BUCKET, Key="releases/v1/bundle.tar.gz")["Body"].read()
    )
    with tarfile.open(tmp_path / "got.tar.gz") as bundle:
        assert bundle.getnames() == ["release.json", "image.tar"]
        assert bundle.extractfile("image.tar").read() == b"layers of app:7\n"  # type: ignore[union-attr]
    assert published.release.kind is BundleKind.IMAGE


def test_git_names_a_committed_folder_and_refuses_a_changed_one(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"git can't name what .* holds .*: use --version"):
        git_version(folder)
    assert git_commit(folder) == ""
    _git(folder, "init", "-q")
    _git(folder, "add", ".")
    _git(folder, "commit", "-qm", "one")
    _git(folder, "tag", "v1.2")
    assert git_version(folder) == "v1.2"
    assert len(git_commit(folder)) == 40
    (folder / "run").write_text("changed\n")
    with pytest.raises(UsageError, match=r"has changes that aren't committed, so v1\.2 isn't what it holds"):
        git_version(folder)
    assert git_commit(folder) == ""


def test_changes_elsewhere_in_the_checkout_keep_no_release_from_its_name(folder: Path, tmp_path: Path) -> None:
    stack_file = tmp_path / "Pulumi.dev.yaml"
    stack_file.write_text("config: {}\n")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-qm", "one")
    _git(tmp_path, "tag", "v1.2")
    stack_file.write_text("config: {bluegreen:activeColor: green}\n")  # as each deploy does
    (tmp_path / "notes").write_text("untracked\n")
    assert (git_version(folder), len(git_commit(folder))) == ("v1.2", 40)
    (folder / "src" / "new.py").write_text("a file that Git doesn't know goes into the bundle, too\n")
    with pytest.raises(UsageError, match=r"has changes that aren't committed, so v1\.2 isn't what it holds"):
        git_version(folder)
    assert git_commit(folder) == ""


def _git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "-C", str(folder), *words], check=True, capture_output=True)


def test_what_is_packed_once_lies_in_each_bucket_with_the_same_bytes(
    world: World, folder: Path, tmp_path: Path
) -> None:
    release = pack_release(args(folder), tmp_path / "packed", QUIET)
    world.s3.create_bucket(Bucket="other", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    (folder / "run").write_text("changed after it was packed\n")
    for bucket in (BUCKET, "other"):
        packed = packed_release(tmp_path / "packed", release.sha256)
        assert store(world.s3, bucket, packed, tmp_path / "packed" / "bundle.tar.gz", QUIET).release == release
    key = "releases/v1/bundle.tar.gz"
    first, second = (world.s3.get_object(Bucket=bucket, Key=key)["Body"].read() for bucket in (BUCKET, "other"))
    assert first == second
    assert hashlib.sha256(first).hexdigest() == release.sha256


def test_a_packed_release_with_other_bytes_is_refused(folder: Path, tmp_path: Path) -> None:
    release = pack_release(args(folder), tmp_path / "packed", QUIET)
    with pytest.raises(RefusedError, match=f"has the sha256 {release.sha256}, but {'0' * 64} was packed"):
        packed_release(tmp_path / "packed", "0" * 64)
    with (tmp_path / "packed" / "bundle.tar.gz").open("ab") as bundle:
        bundle.write(b"more")
    with pytest.raises(RefusedError, match=f"but {release.sha256} was packed: nothing was published"):
        packed_release(tmp_path / "packed", "")


def test_a_folder_that_holds_no_packed_release_is_named(folder: Path) -> None:
    with pytest.raises(UsageError, match="holds no packed release, as --pack-into writes it"):
        packed_release(folder, "")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--packed", "--version", "v1"], "no --pack-into, no --version"),
        (["--packed", "--pack-into", "x"], "no --pack-into, no --version"),
        (["--sha256", "0"], "--sha256 goes with --packed"),
    ],
)
def test_options_that_contradict_each_other_are_refused(folder: Path, words: list[str], reason: str) -> None:
    done = CliRunner().invoke(cli, [str(folder), *words])
    assert done.exit_code == Exit.USAGE
    assert reason in done.stderr


def test_packing_needs_no_stack_and_no_account(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no Pulumi
    words = [str(folder), "--version", "v1", "--pack-into", str(tmp_path / "packed"), "--json"]
    done = CliRunner().invoke(cli, words)
    told = json.loads(done.stdout)
    assert (done.exit_code, told["version"], len(told["sha256"])) == (Exit.OK, "v1", 64)
    assert packed_release(tmp_path / "packed", told["sha256"]).version == "v1"

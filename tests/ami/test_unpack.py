from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path

import pytest

from ami.boot.unpack import BundleKind, UnpackError, UnpackLimits, kind_of, unpack
from tests.ami.releases import APP, app_bundle, bomb, bundle, entry


def unpacked(source: Path, limits: UnpackLimits | None = None) -> Path:
    return unpack(source, source.parent / "tree", limits)


def refused(source: Path, limits: UnpackLimits | None = None) -> str:
    outside = source.parent / "outside"
    outside.mkdir(exist_ok=True)
    with pytest.raises(UnpackError) as error:
        unpacked(source, limits)
    assert list(outside.iterdir()) == []
    return str(error.value)


def test_a_bundle_lies_in_its_folder_with_plain_modes(tmp_path: Path) -> None:
    extra = (entry("tool", mode=0o6777), entry("closed", tarfile.DIRTYPE, mode=0), entry("closed/file", mode=0))
    top = unpacked(bundle(tmp_path / "b", APP, extra=extra))
    assert top == tmp_path / "tree"
    assert (top / "serve").read_text() == APP["serve"]
    assert (top / "tool").stat().st_mode & 0o7777 == 0o755
    assert (top / "closed").stat().st_mode & 0o7777 == 0o755
    assert (top / "closed/file").stat().st_mode & 0o7777 == 0o644
    assert (top / "serve").stat().st_uid == tmp_path.stat().st_uid


def test_an_archive_with_one_folder_around_everything_starts_there(tmp_path: Path) -> None:
    top = unpacked(bundle(tmp_path / "b", APP, top="project-1.2/"))
    assert top == tmp_path / "tree" / "project-1.2"
    assert kind_of(top, "v1") is BundleKind.SOURCE


def test_links_within_the_folder_are_kept(tmp_path: Path) -> None:
    extra = (
        entry("static", tarfile.DIRTYPE),
        entry("static/latest", tarfile.SYMTYPE, "../serve"),
        entry("again", tarfile.LNKTYPE, "serve"),
    )
    top = unpacked(bundle(tmp_path / "b", APP, extra=extra))
    assert (top / "static/latest").read_text() == APP["serve"]
    assert (top / "again").samefile(top / "serve")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ((entry("../outside/x"),), "entry '../outside/x': leads out of the folder"),
        ((entry("a/../../outside/x"),), "leads out of the folder"),
        ((entry("/etc/x"),), "entry '/etc/x': an absolute path"),
        ((entry("null", tarfile.CHRTYPE),), "entry 'null': a device, pipe, socket or sparse file"),
        ((entry("disk", tarfile.BLKTYPE),), "entry 'disk': a device"),
        ((entry("pipe", tarfile.FIFOTYPE),), "entry 'pipe': a device, pipe"),
        ((entry("out", tarfile.SYMTYPE, "../outside"),), "entry 'out': links to '../outside', out of the folder"),
        ((entry("out", tarfile.SYMTYPE, "/etc/passwd"),), "entry 'out': links to '/etc/passwd'"),
        ((entry("a", tarfile.SYMTYPE, "."), entry("a/x")), "entry 'a/x': leads through the link 'a'"),
        ((entry("a", tarfile.SYMTYPE, "b"), entry("a")), "entry 'a': leads through the link 'a'"),
        ((entry("a", tarfile.SYMTYPE, "b"), entry("a", tarfile.DIRTYPE)), "leads through the link 'a'"),
        ((entry("hard", tarfile.LNKTYPE, "/etc/passwd"),), "entry 'hard': links to '/etc/passwd'"),
        ((entry("hard", tarfile.LNKTYPE, "../outside/x"),), "which is no earlier file"),
        ((entry("s", tarfile.SYMTYPE, "x"), entry("hard", tarfile.LNKTYPE, "s")), "which is no earlier file"),
        ((entry("twice"), entry("./twice")), "entry 'twice': is in the bundle twice"),
        ((entry("a\\..\\b"),), "contains a character"),
        (
            (
                entry("d", tarfile.DIRTYPE),
                entry("d/up", tarfile.SYMTYPE, ".."),
                entry("out", tarfile.SYMTYPE, "d/up/../outside"),
            ),
            "entry 'out': links to 'd/up/../outside', out of the folder",
        ),
        (
            (
                entry("d", tarfile.DIRTYPE),
                entry("out", tarfile.SYMTYPE, "d/up/../outside"),
                entry("d/up", tarfile.SYMTYPE, ".."),
            ),
            "entry 'out': links to 'd/up/../outside', out of the folder",
        ),
    ],
)
def test_what_would_break_out_is_refused_by_name(
    tmp_path: Path, members: tuple[tarfile.TarInfo, ...], message: str
) -> None:
    assert message in refused(bundle(tmp_path / "b", APP, extra=members))


def test_a_sparse_file_is_refused_before_it_fills_the_disk(tmp_path: Path) -> None:
    member = entry("huge")
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 50)}
    member.size = 512
    with tarfile.open(tmp_path / "b", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member, gzip.io.BytesIO(b"1\n0\n1\n".ljust(512, b"\0")))  # type: ignore[attr-defined]
    assert "sparse" in refused(tmp_path / "b")


def test_a_bomb_is_stopped_by_its_ratio_long_before_it_is_unpacked(tmp_path: Path) -> None:
    source = bomb(tmp_path / "b", megabytes=40)
    assert "more than 200 times its size: a bomb" in refused(source, UnpackLimits(ratio_from=4 << 20))
    assert sum(path.stat().st_size for path in (tmp_path / "tree").iterdir()) < 20 << 20


def test_more_bytes_than_allowed_are_refused(tmp_path: Path) -> None:
    assert "more than the allowed 1048576 bytes" in refused(bomb(tmp_path / "b", 2), UnpackLimits(max_bytes=1 << 20))


def test_a_bomb_in_a_header_counts_as_well(tmp_path: Path) -> None:
    member = entry("x")
    member.pax_headers = {"comment": "0" * (8 << 20)}
    with tarfile.open(tmp_path / "b", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member)
    assert "a bomb" in refused(tmp_path / "b", UnpackLimits(ratio_from=1 << 20))


def test_more_entries_than_allowed_are_refused(tmp_path: Path) -> None:
    members = tuple(entry(f"file{number}") for number in range(20))
    assert "more than the allowed 20 entries" in refused(
        bundle(tmp_path / "b", APP, extra=members), UnpackLimits(max_entries=20)
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", gzip.compress(b""), gzip.compress(b"x" * 2000)],
    ids=["nothing", "text", "nothing packed", "text packed"],  # the bytes contain the time, and workers would not agree
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b").write_bytes(content)
    assert "the bundle" in refused(tmp_path / "b")


def test_an_archive_cut_short_is_refused(tmp_path: Path) -> None:
    source = app_bundle(tmp_path / "b")
    source.write_bytes(source.read_bytes()[:-60])
    assert "not a complete tar.gz archive" in refused(source)


def test_a_file_where_a_folder_should_be_is_refused(tmp_path: Path) -> None:
    assert "can't be unpacked" in refused(bundle(tmp_path / "b", APP, extra=(entry("serve/x"),)))


def tops(tmp_path: Path, files: dict[str, str]) -> Path:
    return unpacked(bundle(tmp_path / "b", files))


def test_release_json_names_the_kind(tmp_path: Path) -> None:
    about = json.dumps({"kind": "image", "version": "v1"})
    assert kind_of(tops(tmp_path, {"release.json": about, "image.tar": "x"}), "v1") is BundleKind.IMAGE


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"main.py": "x"}, "of kind source and has no Dockerfile at its top"),
        ({"release.json": '{"kind": "image"}', "Dockerfile": "x"}, "of kind image and has no image.tar"),
        ({"release.json": '{"kind": "wasm"}'}, "kind 'wasm': must be source or image"),
        ({"release.json": '{"version": "v2"}', "Dockerfile": "x"}, "version 'v2': this instance is to run 'v1'"),
        ({"release.json": "{", "Dockerfile": "x"}, "release.json: not JSON"),
        ({"release.json": "[]", "Dockerfile": "x"}, "release.json: must be an object"),
    ],
)
def test_a_bundle_that_can_not_be_run_says_why(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(UnpackError) as error:
        kind_of(tops(tmp_path, files), "v1")
    assert message in str(error.value)


def test_a_dockerfile_that_is_a_link_does_not_count(tmp_path: Path) -> None:
    link = entry("Dockerfile", tarfile.SYMTYPE, "serve")
    top = unpacked(bundle(tmp_path / "b", {"serve": "x"}, extra=(link,)))
    with pytest.raises(UnpackError, match="no Dockerfile"):
        kind_of(top, "v1")

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from scripts.stack.config_file import StackFileError, read_config, write_config

ACTIVE, CANARY = "bluegreen:activeColor", "bluegreen:canaryPercent"
FULL = """\
# The stack dev.
encryptionsalt: v1:abc=:v1:def
config:
  aws:region: eu-central-1
  bluegreen:activeColor: green # since Tuesday
  bluegreen:alertWebhooks:
    - secure: v1:xyz/+==
  "bluegreen:canaryPercent": "10"
  bluegreen:blue:
    release: v1   # 'quoted'
"""


def edited(tmp_path: Path, text: str, **values: str) -> str:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_bytes(text.encode())
    write_config(file, {f"bluegreen:{key}": value for key, value in values.items()})
    return file.read_bytes().decode()


def test_values_are_set_and_every_other_byte_stays(tmp_path: Path) -> None:
    assert edited(tmp_path, FULL, activeColor="blue", canaryPercent="0") == FULL.replace(
        "bluegreen:activeColor: green #", "bluegreen:activeColor: blue #"
    ).replace('"bluegreen:canaryPercent": "10"', '"bluegreen:canaryPercent": 0')


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("config:\n  a:b: 1\n", "config:\n  bluegreen:activeColor: blue\n  a:b: 1\n"),
        ("config:\n    a:b: 1\n", "config:\n    bluegreen:activeColor: blue\n    a:b: 1\n"),
        ("config:\r\n  a:b: 1\r\n", "config:\r\n  bluegreen:activeColor: blue\r\n  a:b: 1\r\n"),
        ("config: # ours\n", "config: # ours\n  bluegreen:activeColor: blue\n"),
        ("config:", "config:\n  bluegreen:activeColor: blue\n"),
        ("encryptionsalt: v1:x", "encryptionsalt: v1:x\nconfig:\n  bluegreen:activeColor: blue\n"),
        ("", "config:\n  bluegreen:activeColor: blue\n"),
        ("config:\n  a:b:\n    bluegreen: 1\nother: 2\n",
         "config:\n  bluegreen:activeColor: blue\n  a:b:\n    bluegreen: 1\nother: 2\n"),
        ("config:\n  bluegreen:activeColor: 'green'", "config:\n  bluegreen:activeColor: blue"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_there_is_put_first(tmp_path: Path, before: str, after: str) -> None:
    assert edited(tmp_path, before, activeColor="blue") == after


def test_what_is_as_wanted_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(FULL)
    file.chmod(0o400)
    assert write_config(file, {ACTIVE: "green", CANARY: "10"}) == []
    assert file.read_text() == FULL


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("config: {aws:region: x}\n", "can't be set in it by a change of one line"),
        ("config:\n  bluegreen:activeColor:\n    secure: v1:abc\n", "can't be set in it"),
        ("config:\n  other:key: |\n    bluegreen:activeColor: green\n", "can't be set in it"),
        ("config: [\n", "it is no YAML"),
        ("- a\n- b\n", "it holds no keys"),
    ],
)
def test_a_file_that_an_edit_by_lines_would_spoil_is_left_alone(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(StackFileError, match=reason):
        edited(tmp_path, text, activeColor="blue")
    assert (tmp_path / "Pulumi.dev.yaml").read_text() == text
    assert [file.name for file in tmp_path.iterdir()] == ["Pulumi.dev.yaml"]


def test_a_file_that_is_not_there_or_may_not_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    with pytest.raises(StackFileError, match="No such file or directory"):
        write_config(file, {ACTIVE: "blue"})
    file.write_bytes(b"config:\n  a:b: \xff\n")
    with pytest.raises(StackFileError, match="can't decode byte 0xff"):
        read_config(file)
    file.write_text(FULL)
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(StackFileError, match="it is write-protected"):
        write_config(file, {ACTIVE: "blue"})
    assert file.read_text() == FULL


def test_a_link_stays_one_and_the_mode_as_it_was(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "Pulumi.dev.yaml"
    real.write_text(FULL)
    real.chmod(0o640)
    link.symlink_to(real)
    assert write_config(link, {ACTIVE: "blue"}) == [ACTIVE]
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert read_config(link)[ACTIVE] == "blue"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_by_sudo_the_file_stays_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(FULL)
    os.chown(file, 4711, 4712)
    write_config(file, {ACTIVE: "blue"})
    assert (file.stat().st_uid, file.stat().st_gid) == (4711, 4712)

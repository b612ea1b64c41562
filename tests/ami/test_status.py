from __future__ import annotations

import json
from pathlib import Path

import pytest

from ami.boot.files import write_atomically
from ami.boot.status import BootState, BootStatus


def test_a_later_boot_knows_that_the_instance_served_before(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    first = BootStatus.begin(path)
    assert not first.served_before
    first.state, first.steps = BootState.READY, {"run": 1.0}
    first.save()
    second = BootStatus.begin(path)
    assert second.served_before
    assert (second.state, second.steps) == (BootState.BOOTING, {})
    second.state = BootState.FAILED
    second.save()
    assert BootStatus.begin(path).served_before


def test_others_read_it_as_json(tmp_path: Path) -> None:
    status = BootStatus.begin(tmp_path / "status.json")
    status.release, status.step, status.steps = "v1", "run", {"identity": 0.01}
    status.save()
    content = json.loads((tmp_path / "status.json").read_text())
    assert content["release"] == "v1"
    assert content["state"] == "booting"
    assert content["steps"] == {"identity": 0.01}
    assert content["started"].endswith("Z")
    assert content["finished"] == ""


@pytest.mark.parametrize("left", ["", "{", "[]", '{"state": "dancing"}', '{"state": "ready", "unknown": 1}'])
def test_an_unreadable_status_is_replaced_by_a_new_one(tmp_path: Path, left: str) -> None:
    path = tmp_path / "status.json"
    path.write_text(left)
    assert BootStatus.load(path) == BootStatus(path=path)


def test_a_file_is_private_from_its_first_byte_and_never_half(tmp_path: Path) -> None:
    path = tmp_path / "new" / "app.env"
    write_atomically(path, "A=1\n", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\udcff", mode=0o644)
    assert path.read_text() == "A=1\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["app.env"]

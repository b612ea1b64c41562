"""Feeds of the observer: a log that rotates, and Pulumi's file backend."""

from __future__ import annotations

import json
from pathlib import Path

from rehearsal.playground.observer import StatusFeed, UpdateFeed


def test_only_new_complete_lines_are_read(tmp_path: Path) -> None:
    file = tmp_path / "status.jsonl"
    feed = StatusFeed(file)
    assert feed.read() == []
    file.write_text('{"time": 1}\n{"time"')
    assert feed.read() == [{"time": 1}]
    assert feed.read() == []
    with file.open("a") as more:
        more.write(': 2}\n{"time": 3}\n')
    assert feed.read() == [{"time": 2}, {"time": 3}]


def test_a_rotated_file_is_read_from_its_start(tmp_path: Path) -> None:
    file = tmp_path / "status.jsonl"
    file.write_text('{"time": 1}\n')
    feed = StatusFeed(file)
    feed.read()
    file.rename(tmp_path / "status.jsonl.old")
    file.write_text('{"time": 2}\n{"time": 3}\n')
    assert feed.read() == [{"time": 2}, {"time": 3}]


def test_each_update_of_the_stack_is_returned_once(tmp_path: Path) -> None:
    folder = tmp_path / ".pulumi" / "history" / "bluegreen" / "playground"
    folder.mkdir(parents=True)
    feed = UpdateFeed(tmp_path, "playground")
    assert feed.read() == []
    (folder / "playground-1.history.json").write_text(json.dumps({"kind": "update"}))
    (folder / "playground-1.checkpoint.json").write_text("{}")
    (folder / "playground-2.history.json").write_text("{")
    assert feed.read() == [{"kind": "update"}]
    (folder / "playground-2.history.json").write_text(json.dumps({"kind": "refresh"}))
    assert feed.read() == [{"kind": "refresh"}]
    assert feed.read() == []


def test_the_backends_lock_says_that_an_update_runs(tmp_path: Path) -> None:
    feed = UpdateFeed(tmp_path, "playground")
    assert not feed.running()
    lock = tmp_path / ".pulumi" / "locks" / "organization" / "bluegreen" / "playground" / "1.json"
    lock.parent.mkdir(parents=True)
    lock.write_text("{}")
    assert feed.running()

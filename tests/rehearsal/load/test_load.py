"""Load figures per second for the report: responses by release, latency and failures."""

from __future__ import annotations

import json
from pathlib import Path

from rehearsal.load.load import latest_second, seconds
from rehearsal.load.request_log import Request


def request(due: float, *, color: str = "blue", release: str = "v1", error: str = "", ms: float = 4.0) -> Request:
    return Request(due, 0.0, ms, 200 if not error else 0, release, color, error)


def test_seconds_are_counted_from_the_first_request_and_gaps_stay() -> None:
    rows = seconds([request(10.0), request(10.9, ms=8.0), request(12.5, color="green", release="v2")])
    assert [row["by"] for row in rows] == [{"blue v1": 2}, {}, {"green v2": 1}]
    assert rows[0]["p99_ms"] == 8.0
    assert rows[1]["p50_ms"] == 0.0


def test_a_failed_request_counts_for_no_release() -> None:
    assert seconds([request(1.0, error="no response within 10 s", color="", release="")])[0]["by"] == {"failed": 1}


def test_no_load_has_no_seconds() -> None:
    assert seconds([]) == []


def status(folder: Path, colors: dict[str, int], releases: dict[str, int]) -> None:
    line = {"colors": colors, "releases": releases, "p50_ms": 1.5, "p99_ms": 9.0, "total_failed": 0}
    (folder / "status.jsonl").write_text(json.dumps(line) + "\n")


def test_the_live_view_names_color_and_release_with_one_live_color(tmp_path: Path) -> None:
    assert latest_second(tmp_path) == {}
    status(tmp_path, {"blue": 600}, {"v1": 600})
    assert latest_second(tmp_path) == {"by": {"blue v1": 600}, "p50_ms": 1.5, "p99_ms": 9.0, "failed_total": 0}


def test_the_live_view_shows_colors_with_traffic_on_both(tmp_path: Path) -> None:
    status(tmp_path, {"blue": 200, "green": 400}, {"v1": 200, "v2": 400})
    assert latest_second(tmp_path)["by"] == {"blue": 200, "green": 400}

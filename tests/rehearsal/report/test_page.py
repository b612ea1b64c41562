"""Report page: self-contained, complete, with charts to scale."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from rehearsal.report import charts
from rehearsal.report.page import write_page

SECONDS = [
    {"by": {"blue v1": 600}, "p50_ms": 2.0, "p99_ms": 8.0},
    {"by": {"blue v1": 300, "green v2": 300}, "p50_ms": 2.0, "p99_ms": 40.0},
    {"by": {"green v2": 600}, "p50_ms": 2.0, "p99_ms": 8.0},
]


@pytest.fixture
def report() -> dict[str, Any]:
    return {
        "engine": "pulumi",
        "resources": 71,
        "hello_seconds": 12.34,
        "seconds": 99.0,
        "error": "",
        "ok": True,
        "steps": [{"name": "cut over to green", "started": 1.0, "seconds": 2.0, "ok": True, "note": "<b>&"}],
        "cutovers": [
            {
                "from": "blue v1",
                "to": "green v2",
                "seconds": 2.5,
                "changed_resources": 1,
                "requests": 1500,
                "failed": 0,
                "started": 11.0,
            }
        ],
        "load": {"requests": 1800, "failed": 0, "rps": 600.0},
        "boots": [{"instance": "i-1", "release": "v1", "steps": {"download": 1.0, "image": 3.0}}],
        "gaps": [{"service": "autoscaling", "action": "Complete", "reason": "moto has none"}],
    }


def page_of(tmp_path: Path, report: dict[str, Any], seconds: list[dict[str, Any]]) -> str:
    path = tmp_path / "report.html"
    write_page(path, report, seconds, load_started=10.0)
    return path.read_text()


def test_the_page_is_self_contained(tmp_path: Path, report: dict[str, Any]) -> None:
    page = page_of(tmp_path, report, SECONDS)
    assert not re.search(r"<(script|link|img|iframe)|(src|href)=|url\(|@import", page)


def test_the_page_shows_the_vpn_steps_of_a_run_with_vpn(tmp_path: Path, report: dict[str, Any]) -> None:
    assert "VPN" not in page_of(tmp_path, report, SECONDS)
    step = {"name": "a tunnel is cut", "seconds": 6.5, "ok": True, "note": "28 pings lost"}
    page = page_of(tmp_path, report | {"vpn": {"steps": [step]}}, SECONDS)
    assert "<h2>VPN: a remote network reaches an instance</h2>" in page
    assert '<td>a tunnel is cut<br><span class="soft">28 pings lost</span></td><td class="n">6.50</td>' in page


def test_the_page_shows_the_figures(tmp_path: Path, report: dict[str, Any]) -> None:
    page = page_of(tmp_path, report, SECONDS)
    for shown in ("passed", "12.3 s", "2.5 s", "1,800", "71", "cut over to green", "moto has none"):
        assert shown in page, shown


def test_text_from_outside_is_escaped(tmp_path: Path, report: dict[str, Any]) -> None:
    page = page_of(tmp_path, report, SECONDS)
    assert "&lt;b&gt;&amp;" in page
    assert "<b>&" not in page


def test_an_aborted_run_has_a_page_too(tmp_path: Path, report: dict[str, Any]) -> None:
    report |= {"ok": False, "hello_seconds": None, "cutovers": [], "load": {}, "boots": [], "error": "no docker"}
    page = page_of(tmp_path, report, [])
    assert "no docker" in page
    assert "failed" in page
    assert "<svg" not in page


def shapes(svg: str, kind: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(svg.split("</svg>")[0] + "</svg>")  # noqa: S314 - drawn a line above
    return list(root.iter(kind))


def test_requests_are_stacked_to_the_top_of_the_scale() -> None:
    svg = charts.stacked([row["by"] for row in SECONDS], charts.shades(["blue v1", "green v2"]), [])  # type: ignore[misc]
    blue, green = shapes(svg, "polygon")
    tops = [tuple(map(float, point.split(","))) for point in blue.attrib["points"].split()[:3]]
    assert [x for x, _ in tops] == [56.0, 522.0, 988.0]
    full, half, none = (y for _, y in tops)
    assert full == charts.TOP
    assert none == charts.HEIGHT - charts.BOTTOM
    assert half == (full + none) / 2
    assert green.attrib["points"].split()[2] == f"988.0,{charts.TOP:.1f}"


def test_a_boot_is_cut_into_steps_by_their_seconds() -> None:
    svg = charts.boots([{"instance": "i-1", "release": "v1", "steps": {"download": 1.0, "image": 3.0}}])
    download, image = shapes(svg, "rect")
    assert float(image.attrib["width"]) == 3 * float(download.attrib["width"])
    assert float(image.attrib["x"]) == float(download.attrib["x"]) + float(download.attrib["width"])


def test_each_release_of_a_color_has_a_shade_of_it() -> None:
    chosen = charts.shades(["blue v1", "green v2", "blue v3", "failed"])
    assert chosen == {
        "blue v1": charts.BLUES[0],
        "green v2": charts.GREENS[0],
        "blue v3": charts.BLUES[1],
        "failed": charts.OTHER[0],
    }

"""HTML report of a rehearsal: one self-contained page with the figures and charts of report.json."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from rehearsal.report import charts

LATENCY_COLORS = {"p50": "#2f6fde", "p99": "#e4572e"}


def host_description() -> str:
    """Operating system, architecture, cores and memory: figures are comparable only with these."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB"


def write_page(
    path: Path, report: Mapping[str, Any], seconds: Sequence[Mapping[str, Any]], load_started: float
) -> None:
    """Write the page.

    `report`: the content of report.json. `seconds`: one row per second of load with `by` {color release: count},
    `p50_ms`, `p99_ms`. `load_started`: when the first of them began, in seconds since the start of the rehearsal.
    """
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    template = environment.get_template("page.html.j2")
    drawn = {name: Markup(svg) for name, svg in _charts(report, seconds, load_started).items()}  # noqa: S704
    extra = {"when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "host": host_description()}
    path.write_text(template.render(r={**report, **extra}, charts=drawn))


def _charts(report: Mapping[str, Any], seconds: Sequence[Mapping[str, Any]], load_started: float) -> dict[str, str]:
    marks = [
        (cutover["started"] - load_started, f"→ {cutover['to']}")
        for cutover in report["cutovers"]
        if 0 <= cutover["started"] - load_started <= len(seconds)
    ]
    by = [row["by"] for row in seconds]
    names = dict.fromkeys(name for row in by for name in row)
    latencies = {name: [row[f"{name}_ms"] or 0.0 for row in seconds] for name in LATENCY_COLORS}
    return {
        "load": charts.stacked(by, charts.shades(names), marks),
        "latency": charts.lines(latencies, LATENCY_COLORS, marks) if seconds else "",
        "boots": charts.boots(report["boots"]),
    }

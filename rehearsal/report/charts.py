"""SVG charts of the report: drawn from plain numbers, without a library or a script in the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 1000, 220
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 26, 26
BLUES = ("#2f6fde", "#7fa9ee", "#1b448c")
GREENS = ("#2e9e5b", "#86cfa3", "#1c6339")
OTHER = ("#c0392b",)
BOOT_SHADES = (
    "#4c78a8",
    "#72b7b2",
    "#eeca3b",
    "#f58518",
    "#e45756",
    "#54a24b",
    "#b279a2",
    "#9d755d",
    "#ff9da6",
    "#bab0ac",
)


def shades(names: Iterable[str]) -> dict[str, str]:
    """Fill color of each `color release` pair: blues for blue, greens for green, red for failed requests."""
    palettes = {"blue": list(BLUES), "green": list(GREENS)}
    chosen: dict[str, str] = {}
    for name in names:
        palette = palettes.get(name.split(" ")[0], list(OTHER))
        chosen[name] = palette[sum(1 for other in chosen if other.split(" ")[0] == name.split(" ")[0]) % len(palette)]
    return chosen


def stacked(
    series: Sequence[Mapping[str, float]], colors: Mapping[str, str], marks: Sequence[tuple[float, str]]
) -> str:
    """Requests per second by release, stacked; `series[i]` holds second i. `marks` are (second, label)."""
    if not series:
        return ""
    peak = max(sum(row.values()) for row in series) or 1.0
    x, y = _scales(len(series), peak)
    floor = [0.0] * len(series)
    shapes = []
    for name, color in colors.items():
        roof = [low + row.get(name, 0.0) for low, row in zip(floor, series, strict=True)]
        points = [(x(i), y(v)) for i, v in enumerate(roof)]
        points += [(x(i), y(v)) for i, v in reversed(list(enumerate(floor)))]
        shapes.append(f'<polygon points="{_points(points)}" fill="{color}"><title>{escape(name)}</title></polygon>')
        floor = roof
    return _frame(shapes + _marks(marks, x), len(series), peak, "requests/s") + _legend(colors)


def lines(rows: Mapping[str, Sequence[float]], colors: Mapping[str, str], marks: Sequence[tuple[float, str]]) -> str:
    """Several lines over the same seconds, such as latencies in milliseconds."""
    length = max((len(values) for values in rows.values()), default=0)
    if not length:
        return ""
    peak = max(max(values) for values in rows.values()) or 1.0
    x, y = _scales(length, peak)
    shapes = [
        f'<polyline points="{_points([(x(i), y(v)) for i, v in enumerate(values)])}" '
        f'fill="none" stroke="{colors[name]}" stroke-width="1.6"/>'
        for name, values in rows.items()
    ]
    return _frame(shapes + _marks(marks, x), length, peak, "ms") + _legend(colors)


def boots(rows: Sequence[Mapping[str, Any]]) -> str:
    """One bar per instance, divided into boot steps; each row has `instance`, `release`, `steps` {name: seconds}."""
    if not rows:
        return ""
    names = list(dict.fromkeys(name for row in rows for name in row["steps"]))
    colors = {name: BOOT_SHADES[i % len(BOOT_SHADES)] for i, name in enumerate(names)}
    longest = max(sum(row["steps"].values()) for row in rows) or 1.0
    height = 22 * len(rows) + 8
    parts = []
    for number, row in enumerate(rows):
        left, top = 240.0, 4 + 22 * number
        label = escape(f"{row['release']} on {row['instance']}")
        parts.append(f'<text x="232" y="{top + 13}" text-anchor="end">{label}</text>')
        for name, seconds in row["steps"].items():
            width = 680 * seconds / longest
            title = f"<title>{escape(name)} {seconds:.2f} s</title>"
            parts.append(
                f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="16" fill="{colors[name]}">{title}</rect>'
            )
            left += width
        parts.append(f'<text x="{left + 6:.1f}" y="{top + 13}">{sum(row["steps"].values()):.1f} s</text>')
    return f'<svg viewBox="0 0 {WIDTH} {height}">{"".join(parts)}</svg>' + _legend(colors)


def _scales(length: int, peak: float) -> tuple[Any, Any]:
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return (lambda i: LEFT + wide * i / max(1, length - 1)), (lambda v: TOP + high * (1 - v / peak))


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{px:.1f},{py:.1f}" for px, py in points)


def _frame(shapes: list[str], length: int, peak: float, unit: str) -> str:
    x, y = _scales(length, peak)
    grid = [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(v):.1f}" y2="{y(v):.1f}" class="grid"/>'
        f'<text x="{LEFT - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.0f}</text>'
        for v in (0.0, peak / 2, peak)
    ]
    every = max(1, round(length / 10 / 5) * 5)
    grid += [
        f'<text x="{x(i):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{i} s</text>' for i in range(0, length, every)
    ]
    unit_text = f'<text x="{LEFT}" y="12">{escape(unit)}</text>'
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}">{unit_text}{"".join(grid + shapes)}</svg>'


def _marks(marks: Sequence[tuple[float, str]], x: Any) -> list[str]:
    return [
        f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" class="mark"/>'
        f'<text x="{x(at) + 3:.1f}" y="{TOP + 10 + 11 * (n % 3)}" class="mark">{escape(label)}</text>'
        for n, (at, label) in enumerate(marks)
    ]


def _legend(colors: Mapping[str, str]) -> str:
    items = (f'<span><i style="background:{color}"></i>{escape(name)}</span>' for name, color in colors.items())
    return f'<p class="legend">{"".join(items)}</p>'

"""Plots as inline SVG that takes its colors from the page: bars, histograms, curves. Text in, markup out, escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from x2i.inspect.formatting import describe_number
from x2i.inspect.histograms import Histogram

ROW = 26
CHARACTER = 6.3
"""Pixels that a letter of a label takes, about."""
MOST_LABELS = 0.45


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart. parts: (value, CSS class) side by side; note: what stands behind the bar."""

    label: str
    parts: tuple[tuple[float, str], ...]
    note: str = ""

    @property
    def total(self) -> float:
        return sum(value for value, _ in self.parts)


def bar_chart(bars: Sequence[Bar], width: int = 760, label_width: int = 200, title: str = "") -> Markup:
    """Returns horizontal bars on one scale. Raises ValueError if there are none.

    label_width: of the column of labels, in pixels; it grows with them to at most MOST_LABELS of the width.
    """
    if not bars:
        raise ValueError("a bar chart needs at least one bar")
    longest = max(len(bar.label) for bar in bars)
    label_width = max(label_width, min(round(longest * CHARACTER) + 12, round(width * MOST_LABELS)))
    letters = int((label_width - 12) / CHARACTER)
    note_width = 24 + round(6.9 * max(len(bar.note) for bar in bars))
    room = max(120, width - label_width - note_width)
    scale = room / (max(bar.total for bar in bars) or 1)
    rows = []
    for number, bar in enumerate(bars):
        y = number * ROW
        label = _cut(bar.label, letters)
        rows.append(f'<text class="label" x="{label_width - 12}" y="{y + 17}" text-anchor="end">{label}</text>')
        x = float(label_width)
        for value, kind in bar.parts:
            length = value * scale
            if value > 0:
                shown = max(length, 1.5)
                rows.append(
                    f'<rect class="{kind}" x="{x:.1f}" y="{y + 4}" width="{shown:.1f}" height="{ROW - 8}" rx="2"/>'
                )
            x += length
        rows.append(f'<text class="note" x="{x + 9:.1f}" y="{y + 17}">{escape(bar.note)}</text>')
    return _svg(width, len(bars) * ROW, "".join(rows), title)


def histogram_plot(data: Histogram, width: int = 330, height: int = 130) -> Markup:
    """Returns a histogram with its range, its median and its largest bin marked."""
    base, top = height - 22, 8
    most = max(data.counts) or 1
    step = width / len(data.counts)
    parts = [f'<line class="axis" x1="0" y1="{base}" x2="{width}" y2="{base}"/>']
    for number, count in enumerate(data.counts):
        if count:
            tall = max(1.5, (base - top) * count / most)
            tip = f"{describe_number(data.edges[number])} to {describe_number(data.edges[number + 1])}: {count:,}"
            box = f'x="{number * step + 0.5:.1f}" y="{base - tall:.1f}" width="{step - 1:.1f}" height="{tall:.1f}"'
            parts.append(f'<rect class="kept" {box}><title>{tip}</title></rect>')
    low, high = data.edges[0], data.edges[-1]
    at = _place_in_bins(data) * width
    parts.append(f'<line class="median" x1="{at:.1f}" y1="{top - 4}" x2="{at:.1f}" y2="{base}"/>')
    ends = describe_number(low), describe_number(high)
    if ends[0] != ends[1]:  # otherwise all values are the same, and the median says which
        parts.append(f'<text class="tick" x="0" y="{height - 6}">{ends[0]}</text>')
        parts.append(f'<text class="tick" x="{width}" y="{height - 6}" text-anchor="end">{ends[1]}</text>')
    if 70 < at < width - 70:
        median = f"median {describe_number(data.median)}"
        parts.append(f'<text class="tick strong" x="{at:.1f}" y="{height - 6}" text-anchor="middle">{median}</text>')
    return _svg(width, height, "".join(parts), data.title)


@dataclass(frozen=True)
class Curve:
    """Points (x, y) joined by a line of a CSS class."""

    name: str
    points: tuple[tuple[float, float], ...]
    kind: str


def curve_plot(
    curves: Sequence[Curve], levels: Mapping[str, float], width: int = 760, height: int = 300, x_label: str = "step"
) -> Markup:
    """Returns curves over one pair of axes, and horizontal reference levels with their names.

    Raises ValueError if there is no point to plot.
    """
    points = [point for curve in curves for point in curve.points]
    if not points:
        raise ValueError("a curve plot needs at least one point")
    left, right, top, base = 56, width - 16, 14, height - 34
    x_high = max(max(x for x, _ in points), 1)
    values = [y for _, y in points] + list(levels.values())
    y_low, y_high, y_step = _nice_range(min(values), max(values))

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * x / x_high, base - (base - top) * (y - y_low) / (y_high - y_low)

    parts = []
    for k in range(round((y_high - y_low) / y_step) + 1):
        value = y_low + k * y_step
        y = place(0, value)[1]
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        label = describe_number(round(value, 10))
        parts.append(f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    _, x_top, x_step = _nice_range(0, x_high)
    for k in range(round(x_top / x_step) + 1):
        if k * x_step <= x_high:
            x = place(k * x_step, y_low)[0]
            label = describe_number(round(k * x_step, 10))
            parts.append(f'<text class="tick" x="{x:.1f}" y="{base + 17}" text-anchor="middle">{label}</text>')
    parts.append(f'<text class="tick" x="{right}" y="{height - 3}" text-anchor="end">{escape(x_label)}</text>')
    for curve in curves:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in curve.points))
        parts.append(f'<polyline class="{curve.kind}" points="{path}"><title>{escape(curve.name)}</title></polyline>')
    for name, value in levels.items():
        y = place(0, value)[1]
        parts.append(f'<line class="level" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(f'<text class="note" x="{right}" y="{y - 5:.1f}" text-anchor="end">{escape(name)}</text>')
    return _svg(width, height, "".join(parts), "loss curve")


def smoothed(points: Sequence[tuple[int, float]], window: int) -> tuple[tuple[float, float], ...]:
    """Returns the running mean of the last `window` values at every point."""
    means = []
    for number, (x, _) in enumerate(points):
        recent = [y for _, y in points[max(0, number + 1 - window) : number + 1]]
        means.append((float(x), sum(recent) / len(recent)))
    return tuple(means)


def _place_in_bins(data: Histogram) -> float:
    """Returns where the median stands on an axis that gives every bin one width, however wide it is: 0 to 1."""
    for number, (low, high) in enumerate(zip(data.edges, data.edges[1:])):
        if data.median <= high:
            return (number + (data.median - low) / (high - low)) / len(data.counts)
    return 1.0


def _nice_range(low: float, high: float) -> tuple[float, float, float]:
    """Returns (low, high, step) of an axis: multiples of 1, 2 or 5 times a power of ten, four to eight steps."""
    span = (high - low) or abs(high) or 1.0
    raw = span / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    return math.floor(low / step) * step, math.ceil(high / step) * step or step, step


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return escape(text)
    return escape(f"{text[: most - 3]}...") + Markup("<title>{}</title>").format(text)


def _svg(width: int, height: int, body: str, title: str) -> Markup:
    label = f' aria-label="{escape(title, quote=True)}"' if title else ""
    return Markup(f'<svg role="img"{label} viewBox="0 0 {width} {height}" style="max-width:{width}px">{body}</svg>')

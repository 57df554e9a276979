"""Charts as SVG files that stand alone: bars with their spread, and curves over a common axis."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

Bar = tuple[str, float | None, float | None, float | None]
"""A label, its mean, its spread, and a value to compare it with."""

WIDTH, LABEL, VALUE, LINE, HEAD, GAP = 760, 190, 150, 22, 26, 22
HUES = ("#2f6fb3", "#c2571a", "#2e8b57", "#8a5bb5", "#a8324a", "#7a6a2f", "#3f8f9b")
_STYLE = (
    "text { font: 12.5px system-ui, sans-serif; fill: #1d1f23; font-variant-numeric: tabular-nums } "
    ".head { font-weight: 620 } .soft { fill: #6a6f78 } .rule { stroke: #d4d6da } .spread { stroke: #1d1f23 } "
    ".bar { fill: #2f6fb3 } .mark { fill: #c2571a } .curve { fill: none; stroke-width: 1.6 }"
)


def bars(panels: Mapping[str, Sequence[Bar]]) -> str:
    """Draw a panel of horizontal bars for each measure: mean, spread as a whisker, the compared value as a diamond."""
    parts, y = [], 8
    for title, rows in panels.items():
        shown = [row for row in rows if row[1] is not None or row[3] is not None]
        if not shown:
            continue
        parts.append(_words(0, y + 14, title, "head"))
        y += HEAD
        ends = [0.0, *[mark or 0 for *_, mark in shown]]
        ends += [(mean or 0) + sign * (spread or 0) for _, mean, spread, _ in shown for sign in (-1, 1)]
        low, high = min(0, *(mean or 0 for _, mean, *_ in shown), *(mark or 0 for *_, mark in shown)), max(ends)
        scale = (WIDTH - LABEL - VALUE) / ((high - low) or 1)
        zero = LABEL - low * scale
        for row in shown:
            parts.append(_bar(row, y, zero, scale))
            y += LINE
        if low < 0:
            parts.append(
                f'<line class="spread" x1="{zero:.1f}" x2="{zero:.1f}" y1="{y - LINE * len(shown)}" y2="{y}"/>'
            )
        y += GAP
    if any(mark is not None for rows in panels.values() for *_, mark in rows):
        parts.append(
            f'<path class="mark" d="{_diamond(LABEL, y)}"/>{_words(LABEL + 12, y + 4, "the paper’s value", "soft")}'
        )
        y += LINE
    return _page(y, parts)


def _bar(row: Bar, y: int, zero: float, scale: float) -> str:
    label, mean, spread, mark = row
    middle, parts = y + LINE // 2, [_words(0, y + 15, label)]
    if mean is not None:
        length, end = abs(mean) * scale, zero + mean * scale
        left = min(zero, end)
        parts.append(f'<rect class="bar" x="{left:.1f}" y="{y + 3}" width="{length:.1f}" height="{LINE - 6}" rx="2"/>')
        text = f"{mean:.4g}"
        if spread is not None:
            low, high = max(LABEL, end - spread * scale), end + spread * scale
            parts.append(f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>')
            text += f" ± {spread:.2g}"
        parts.append(_words(WIDTH - VALUE + 12, y + 15, text, "soft"))
    if mark is not None:
        parts.append(f'<path class="mark" d="{_diamond(zero + mark * scale, middle)}"/>')
    return "".join(parts)


def curves(panels: Mapping[str, tuple[Sequence[float], Mapping[str, Sequence[float]]]], *, unit: str = "") -> str:
    """Draw a panel of curves for each title: (x, {name: y}); a value that is not finite breaks the curve.

    unit: what the y axis shows.
    """
    names = list(dict.fromkeys(name for _, lines in panels.values() for name in lines))
    hue = {name: HUES[i % len(HUES)] for i, name in enumerate(names)}
    parts, y, height = [], 8, 190
    for title, (x, lines) in panels.items():
        finite = [value for line in lines.values() for value in line if math.isfinite(value)]
        low, high = min(finite, default=0.0), max(finite, default=1.0)
        parts.append(_words(0, y + 14, title, "head") + _words(WIDTH, y + 14, unit, "soft", "end"))
        top, bottom = y + HEAD, y + HEAD + height

        def place(
            a: float, b: float, x: Sequence[float] = x, low: float = low, high: float = high, bottom: int = bottom
        ) -> str:
            across = 40 + (a - x[0]) / ((x[-1] - x[0]) or 1) * (WIDTH - 40)
            return f"{across:.1f} {bottom - (b - low) / ((high - low) or 1) * height:.1f}"

        parts.append(f'<line class="rule" x1="40" x2="{WIDTH}" y1="{bottom}" y2="{bottom}"/>')
        parts += [
            _words(34, top + 8, f"{high + 0.0:.3g}", "soft", "end"),
            _words(34, bottom, f"{low + 0.0:.3g}", "soft", "end"),
        ]
        parts += [
            _words(40, bottom + 16, f"{x[0]:.4g}", "soft"),
            _words(WIDTH, bottom + 16, f"{x[-1]:.4g}", "soft", "end"),
        ]
        for name, line in lines.items():
            points, path = zip(x, line, strict=True), ""
            pen = "M"
            for a, b in points:
                path += pen + place(a, b) if math.isfinite(b) else ""
                pen = "L" if math.isfinite(b) else "M"
            parts.append(f'<path class="curve" stroke="{hue[name]}" d="{path}"/>')
        y = bottom + HEAD + GAP
    across = 40
    for name in names:
        width = 34 + 7 * len(name)
        if across + width > WIDTH:
            across, y = 40, y + LINE
        parts.append(f'<rect x="{across}" y="{y}" width="14" height="3" fill="{hue[name]}"/>')
        parts.append(_words(across + 20, y + 6, name))
        across += width
    return _page(y + LINE, parts)


def _page(height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 0 {WIDTH + 24} {height + 8}" width="{WIDTH + 24}">'
        f'<style>{_STYLE}</style><rect x="-12" width="{WIDTH + 24}" height="{height + 8}" fill="#fff"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _words(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _diamond(x: float, y: float) -> str:
    return f"M{x:.1f} {y - 5}l5 5l-5 5l-5 -5z"

"""`report.html`: one file that shows a run to people, with its pictures, its figures and its curves inside it."""

from __future__ import annotations

import base64
import html
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from i2i.files import writing

Point = tuple[float, float]

POINTS = 600  # a curve; more cannot be told apart on a screen
STRIP = 8  # earlier sample pictures; each is embedded whole and weighs up to a megabyte
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 520, 190, 52, 24, 8, 10

_STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #fff; --ink: #1d1f23; --soft: #6a6f78; --rule: #e4e5e7;
  --hue0: #2f6fb3; --hue1: #c2571a; --hue2: #2e8b57; --hue3: #8a5bb5; --hue4: #a8324a; }
@media (prefers-color-scheme: dark) { :root { --page: #141518; --card: #1b1d21; --ink: #e6e7ea; --soft: #9599a2;
  --rule: #2d3036; --hue0: #74abe6; --hue1: #eb9560; --hue2: #6cc596; --hue3: #bd97e3; --hue4: #e57f95; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 72px; }
h1 { margin: 0; font-size: 27px; font-weight: 620; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { margin: 48px 0 14px; font-size: 18px; font-weight: 620; }
h3 { margin: 26px 0 4px; font-size: 15px; font-weight: 620; }
code { font-family: ui-monospace, monospace; }
p { margin: 0 0 12px; max-width: 75ch; }
.note, figcaption, dt { color: var(--soft); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)); gap: 14px 28px; margin: 24px 0 0;
  padding: 18px 0; border: solid var(--rule); border-width: 1px 0; }
dt { font-size: 13px; }
dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
figure { margin: 0; }
figcaption { font-size: 13px; }
.latest img { display: block; width: 100%; border-radius: 6px; }
.latest figcaption { margin-top: 6px; }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)); gap: 14px; margin-top: 20px; }
.strip img { display: block; width: 100%; border-radius: 4px; }
.strip figure:target { position: fixed; inset: 0; z-index: 1; padding: 3vmin; background: var(--page); }
.strip figure:target img { width: 100%; height: calc(94vh - 30px); object-fit: contain; }
.strip .close { display: none; color: inherit; }
.strip figure:target .close { display: inline; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 18px; }
.curves:has(> :only-child) { max-width: 551px; }
.curve { padding: 12px 14px 8px; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; }
.curve figcaption { display: flex; gap: 8px; align-items: baseline; margin-bottom: 4px; }
.curve figcaption b { color: var(--ink); font: 600 13px ui-monospace, monospace; overflow-wrap: anywhere; }
.curve figcaption b::before { content: ""; display: inline-block; width: 14px; height: 3px; margin: 0 8px 4px 0;
  border-radius: 2px; background: var(--hue); }
.curve figcaption span { margin-left: auto; white-space: nowrap; font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { fill: var(--soft); font: 11.5px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
svg line { stroke: var(--rule); }
svg path { fill: none; stroke: var(--hue); stroke-linejoin: round; stroke-linecap: round; }
.thin { stroke-width: 1; opacity: .35; }
.bold { stroke-width: 2; }
.curve .note { margin: 6px 0 4px; font-size: 13px; }
.warning { margin: 18px 0 0; padding: 10px 14px; border-left: 4px solid var(--hue1); background: var(--card); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 28px 7px 0; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
th:first-child { text-align: left; }
thead th { color: var(--soft); font-weight: 400; font-size: 13px; }
tbody th { font: 600 13px ui-monospace, monospace; }
summary { cursor: pointer; font-size: 18px; font-weight: 620; }
details { margin-top: 48px; }
pre { padding: 14px 16px; overflow-x: auto; background: var(--card); border: 1px solid var(--rule); border-radius: 8px;
  font: 13px/1.5 ui-monospace, monospace; }
@media print { .strip { display: none; } }
"""


def write_report(
    path: Path,
    *,
    title: str,
    summary: Mapping[str, str],
    log: Sequence[Mapping[str, float]] = (),
    notes: Mapping[str, str] | None = None,
    warnings: Sequence[str] = (),
    metrics: Mapping[str, Mapping[str, float | str]] | None = None,
    samples: Sequence[tuple[str, Path]] = (),
    recipe: str = "",
) -> None:
    """Write a report that needs nothing but itself: no network, no script. An interrupted write leaves the old one.

    summary: facts by label. log: rows of values by name, each with its `step`; a name `group/term` puts a curve into
    its group. A value that is not finite is a gap. notes: by name, what its curve should look like. warnings: what went
    wrong, in sentences. metrics: by metric, its value in each column (translated, untranslated ...). samples:
    captions and PNG files, the latest last. recipe: the resolved recipe.

    ResourceError when it cannot be written.
    """
    body = [
        f"<header><h1>{_text(title)}</h1>{_summary(summary)}</header>",
        "".join(f'<p class="warning">{_text(warning)}</p>' for warning in warnings),
        _metrics(metrics or {}),
        _samples(samples),
        _curves(log, notes or {}),
        f"<details><summary>Recipe</summary><pre>{_text(recipe)}</pre></details>" if recipe else "",
    ]
    write_page(path, title, body)


def write_page(path: Path, title: str, parts: Sequence[str]) -> None:
    """Write parts of HTML as a page in the looks of a report, which needs nothing but itself; errors as there."""
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<style>{_STYLE}</style></head>
<body><main>
{chr(10).join(part for part in parts if part)}
</main></body></html>
"""
    with writing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _text(value: object) -> str:
    return html.escape(str(value))


def _number(value: float | str) -> str:
    """Return a value with four significant digits."""
    if isinstance(value, str):
        return value
    if value == 0 or not math.isfinite(value) or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}"
    digits, _, exponent = f"{value:.3e}".partition("e")
    return f"{float(digits):g}e{int(exponent)}"


def _summary(summary: Mapping[str, str]) -> str:
    facts = "".join(f"<div><dt>{_text(label)}</dt><dd>{_text(fact)}</dd></div>" for label, fact in summary.items())
    return f"<dl>{facts}</dl>" if facts else ""


def _samples(samples: Sequence[tuple[str, Path]]) -> str:
    if not samples:
        return ""
    *earlier, (caption, latest) = samples
    shown = earlier
    if len(earlier) > STRIP:
        shown = [earlier[round(i * (len(earlier) - 1) / (STRIP - 1))] for i in range(STRIP)]
    strip = "".join(
        f'<figure id="sample-{i}"><a href="#sample-{i}">{_image(old, at)}</a>'
        f'<figcaption>{_text(at)} <a class="close" href="#samples">close</a></figcaption></figure>'
        for i, (at, old) in enumerate(shown)
    )
    left_out = f", {len(shown)} of {len(earlier)}" if len(shown) < len(earlier) else ""
    return (
        f'<section id="samples"><h2>Samples</h2><figure class="latest">{_image(latest, caption)}'
        f"<figcaption>{_text(caption)}</figcaption></figure>"
        + (f'<h3>Earlier{left_out}</h3><div class="strip">{strip}</div></section>' if strip else "</section>")
    )


def _image(path: Path, caption: str) -> str:
    try:
        data = base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        return f'<p class="note">{_text(path.name)} cannot be read: {_text(error.strerror)}</p>'
    return f'<img alt="{_text(caption)}" src="data:image/png;base64,{data}">'


def _measure(value: float | str) -> str:
    """Return a value with four significant digits, the last of them 0 or not: 17.00 beside 8.607."""
    plain = isinstance(value, str) or not 1e-3 <= abs(value) < 1e3
    return _number(value) if plain else f"{value:#.4g}"


def _metrics(metrics: Mapping[str, Mapping[str, float | str]]) -> str:
    if not metrics:
        return ""
    columns = list(dict.fromkeys(column for values in metrics.values() for column in values))
    head = "".join(f"<th>{_text(column)}</th>" for column in columns)
    rows = "".join(
        f"<tr><th>{_text(name)}</th>"
        + "".join(f"<td>{_text(_measure(values[column])) if column in values else ''}</td>" for column in columns)
        + "</tr>"
        for name, values in metrics.items()
    )
    return (
        '<section><h2>On pictures never trained on</h2><div class="scroll"><table>'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _curves(log: Sequence[Mapping[str, float]], notes: Mapping[str, str]) -> str:
    names = dict.fromkeys(name for row in log for name in row if name != "step")
    if not names:
        return '<section><h2>Curves</h2><p class="note">Nothing has been logged yet.</p></section>'
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.rpartition("/")[0], []).append(name)
    # What belongs to no group (speed, learning rate) says least about the pictures.
    order = sorted(groups, key=lambda group: group == "")
    sections = [_group(group, hue, groups[group], log, notes) for hue, group in enumerate(order)]
    legend = "Over training steps. Thin: the values as logged; bold: their running mean. On the right: the latest mean."
    return f'<section><h2>Curves</h2><p class="note">{legend}</p>{"".join(sections)}</section>'


def _group(
    group: str, hue: int, names: Sequence[str], log: Sequence[Mapping[str, float]], notes: Mapping[str, str]
) -> str:
    head = f"<h3><code>{_text(group)}</code></h3>" if group else "<h3>Progress</h3>"
    figures = []
    for name in names:
        points = [(float(row["step"]), float(row[name])) for row in log if name in row]
        figures.append(_figure(name, points, notes.get(name, "")))
    return f'{head}<div class="curves" style="--hue: var(--hue{hue % 5})">{"".join(figures)}</div>'


def _figure(name: str, points: Sequence[Point], note: str) -> str:
    thin = thinned(points, POINTS)
    finite = [(x, y) for x, y in thin if math.isfinite(y)]
    if not finite:
        return f'<figure class="curve"><figcaption><b>{_text(name)}</b> never a finite number</figcaption></figure>'
    mean = _running_mean(thin)
    latest = next(y for _, y in reversed(mean) if math.isfinite(y))
    return (
        f'<figure class="curve"><figcaption><b>{_text(name)}</b><span>{_number(latest)}</span></figcaption>'
        f"{_plot(name, thin, mean, finite)}{_note(note)}</figure>"
    )


def _note(text: str) -> str:
    return f'<p class="note">{_text(text)}</p>' if text else ""


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most `most` points, each the mean of its share of consecutive ones; of gaps alone, a gap (NaN)."""
    size = math.ceil(len(points) / most)
    return [_mean(points[i : i + size]) for i in range(0, len(points), size)] if size > 1 else list(points)


def _mean(points: Sequence[Point]) -> Point:
    values = [y for _, y in points if math.isfinite(y)]
    x = math.fsum(x for x, _ in points) / len(points)
    return x, math.fsum(values) / len(values) if values else math.nan


def _running_mean(points: Sequence[Point]) -> list[Point]:
    """Return the centred mean over a twentieth of the curve, gaps left as gaps."""
    reach = len(points) // 40
    means = (_mean(points[max(0, i - reach) : i + reach + 1])[1] for i in range(len(points)))
    return [(x, mean if math.isfinite(y) else math.nan) for (x, y), mean in zip(points, means, strict=True)]


def _plot(name: str, thin: Sequence[Point], mean: Sequence[Point], finite: Sequence[Point]) -> str:
    x0, x1 = _span([x for x, _ in thin], air=0)
    y0, y1 = _span([y for _, y in finite], air=0.05)

    def place(x: float, y: float) -> Point:
        across = _LEFT + (x - x0) / (x1 - x0) * (_WIDTH - _LEFT - _RIGHT)
        return across, _HEIGHT - _BOTTOM - (y - y0) / (y1 - y0) * (_HEIGHT - _BOTTOM - _TOP)

    grid = []
    for tick in _ticks(y0, y1, 5):
        _, y = place(x0, tick)
        grid.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        grid.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    for tick in _ticks(x0, x1, 6):
        x, _ = place(tick, y0)
        grid.append(f'<text x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{tick:,.10g}</text>')
    lines = [("bold", mean)] if len(thin) < 40 else [("thin", thin), ("bold", mean)]
    paths = "".join(f'<path class="{kind}" d="{_path([place(*p) for p in points])}"/>' for kind, points in lines)
    label = _text(f"{name} over training steps, from {_number(finite[0][1])} to {_number(finite[-1][1])}")
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(grid)}{paths}</svg>'


def _path(points: Sequence[Point]) -> str:
    """Return SVG path data; a point that is not finite breaks the line."""
    runs = itertools.groupby(points, key=lambda point: math.isfinite(point[1]))
    strokes = [[f"{x:.1f} {y:.1f}" for x, y in run] for finite, run in runs if finite]
    # A run of one point is drawn as a dot: a line to itself, with round ends.
    return "".join(f"M{stroke[0]}L{' '.join(stroke[1:] or stroke)}" for stroke in strokes)


def _span(values: Sequence[float], air: float) -> tuple[float, float]:
    """Return bounds that hold the values, never empty; air: the share of their range left free at either end."""
    low, high = min(values), max(values)
    margin = (high - low) * air if high > low else abs(high) * 0.05 or 1.0
    return low - margin, high + margin


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Return the round numbers within the bounds, evenly spaced, `count` at the most."""
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]

"""`i2i train --profile`: some steps measured span by span, and `profile.html`, which says where their time went."""

from __future__ import annotations

import gzip
import html
import itertools
import os
import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch.profiler import ProfilerActivity, schedule
from torch.profiler import profile as torch_profile

from i2i.errors import told
from i2i.report import write_page

SKIP, STEPS = 10, 20
"""Steps that are left to warm up, and steps that are measured after them, in a session that is long enough."""
DEAREST = 10
LARGE = 10_000_000  # bytes; a trace beyond is compressed
REST = "rest"


@dataclass(frozen=True)
class Breakdown:
    """Where the time of a step went, as means over the steps measured, in milliseconds.

    whole: from its beginning to the next one's. parts: by name, in the order of a step, the last `REST`, what is in no
    span. busy: of `whole`, how long the GPU was at work; None without one. device: that by part; what a CUDA graph does
    is in no part. operators: (name, milliseconds of its own, calls), dearest first.
    """

    steps: int
    whole: float
    parts: Mapping[str, float]
    operators: Sequence[tuple[str, float, float]] = ()
    busy: float | None = None
    device: Mapping[str, float] = field(default_factory=dict)

    def shares(self) -> dict[str, Any]:
        """Return the breakdown as plain numbers: each part's share of a step."""
        found: dict[str, Any] = {"steps": self.steps, "milliseconds": self.whole}
        found["shares"] = {name: time / self.whole for name, time in self.parts.items()}
        if self.busy is not None:
            found["gpu_busy"] = self.busy / self.whole
            found["gpu_shares"] = {name: time / self.whole for name, time in self.device.items()}
        return found


def window(steps: int) -> tuple[int, int] | None:
    """Return how many of a session's steps are skipped and how many are measured then; None for too few."""
    if steps < 3:
        return None
    return (SKIP, STEPS) if steps >= SKIP + STEPS else (steps // 3, steps - steps // 3)


class Profiler:
    """Measures some steps of a training: a context around its loop, told of each step's end.

    folder: the run's, for `profile.html` and `trace.json`. steps: how many steps this session has before it. facts: by
    label, for the head of the page. note: how to say a thing. What goes wrong is noted, and costs no run.
    """

    def __init__(
        self, folder: Path, device: torch.device, steps: int, facts: Mapping[str, str], note: Callable[[str], None]
    ) -> None:
        self.folder, self.facts, self.note = folder, facts, note
        self.found: Breakdown | None = None
        self._ended = 0
        self._profile: Any = None
        chosen = window(steps)
        if chosen is None:
            note(f"no profile: with {steps} step{'s' * (steps != 1)} there is nothing to measure; 3 are the least.")
            return
        self._skip, count = chosen
        self._last = self._skip + count
        if steps < SKIP + STEPS:
            note(f"profile: a short run: measuring {count} of its {steps} steps, after the first {self._skip}.")
        os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # no remarks on stderr, such as that there is no GPU
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
        self._profile = torch_profile(
            activities=activities,
            schedule=schedule(skip_first=self._skip - 1, wait=0, warmup=1, active=count, repeat=1),
            on_trace_ready=self._ready,
        )

    def __enter__(self) -> Profiler:
        if self._profile:
            self._profile.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._profile:
            self._profile.stop()

    def step(self) -> None:
        """Take note of the end of a step."""
        self._ended += 1
        if self._profile:
            self._profile.step()
            if self._ended == self._last:
                self._profile.stop()
                self._profile = None

    def _ready(self, profile: Any) -> None:
        if self._ended <= self._skip:  # broken off before the first whole step
            return
        try:
            self.found = read(profile, self._ended - self._skip)
            trace = _write_trace(profile, self.folder)
            write(self.folder / "profile.html", self.found, self.facts, trace.name)
        except Exception as error:
            self.note(f"no profile: {told(error)}")
        else:
            where = f"{self.folder / 'profile.html'}, and step by step in {trace.name} (chrome://tracing, Perfetto)"
            self.note(f"where the time of {self.found.steps} steps went: {where}")


def _write_trace(profile: Any, folder: Path) -> Path:
    plain, packed = folder / "trace.json", folder / "trace.json.gz"
    for old in (plain, packed):
        old.unlink(missing_ok=True)
    profile.export_chrome_trace(str(plain))
    if plain.stat().st_size <= LARGE:
        return plain
    with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=3) as target:
        shutil.copyfileobj(source, target)
    plain.unlink()
    return packed


@dataclass(frozen=True)
class Span:
    """A named stretch of the host's time, in microseconds."""

    name: str
    begin: float
    end: float


def read(profile: Any, most: int) -> Breakdown:
    """Return where the time of a profile's steps went; of at most so many steps, for the last may be broken off."""
    events = [event for event in profile.events() if event.device_type.name == "CPU"]
    steps = _spans(event for event in events if event.name.startswith("ProfilerStep"))[:most]
    thread = next(event.thread for event in events if event.name.startswith("ProfilerStep"))
    # Torch marks what its own parts do (a loader's next, an optimizer's step) in the same way, inside of ours.
    own = [event for event in events if event.is_user_annotation and event.thread == thread and _is_own(event)]
    stretches = [stretch for step in steps for stretch in pieces(step, _spans(own))]
    count = len(steps)
    times = _sums((piece.name, piece.end - piece.begin) for piece in stretches)
    whole = sum(step.end - step.begin for step in steps)
    parts = {name: time / count / 1e3 for name, time in times.items() if name != REST}
    parts[REST] = times.get(REST, 0.0) / count / 1e3
    return Breakdown(count, whole / count / 1e3, parts, _dearest(profile, count), *_device(profile, stretches, steps))


def _is_own(event: Any) -> bool:
    return "#" not in event.name and not event.name.startswith("ProfilerStep")


def _spans(events: Iterable[Any]) -> list[Span]:
    spans = [Span(event.name, event.time_range.start, event.time_range.end) for event in events]
    return sorted(spans, key=lambda span: (span.begin, -span.end))


def pieces(step: Span, spans: Sequence[Span]) -> list[Span]:
    """Cut a step into pieces that do not overlap, each named after the innermost span that it lies in.

    A piece "forward" is named after the player whose turn it belongs to: that of the backward that follows, or, behind
    the last, the one before.
    """
    within = [span for span in spans if step.begin <= span.begin < step.end]
    names = _forwards(within)
    # The edges of all spans; between two of them, the innermost is the one that began last.
    edges = sorted({step.begin, step.end, *(t for span in within for t in (span.begin, min(span.end, step.end)))})
    cut = []
    for begin, end in itertools.pairwise(edges):
        inside = [name for span, name in zip(within, names, strict=True) if span.begin <= begin and end <= span.end]
        cut.append(Span(inside[-1] if inside else REST, begin, end))
    return cut


def _forwards(spans: Sequence[Span]) -> list[str]:
    player, names = "", [span.name for span in spans]
    for i in range(len(names) - 1, -1, -1):
        if names[i].endswith(": backward"):
            player = names[i].removesuffix(": backward")
        elif names[i] == "forward" and player:
            names[i] = f"{player}: forward"
    last = next((name.removesuffix(": backward") for name in reversed(names) if name.endswith(": backward")), "")
    return [f"{last}: forward" if name == "forward" and last else name for name in names]


def _sums(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for name, value in pairs:
        sums[name] = sums.get(name, 0.0) + value
    return sums


def _dearest(profile: Any, steps: int) -> list[tuple[str, float, float]]:
    """Return the operators that took the most time of their own, on the GPU where there is one."""
    averages = [average for average in profile.key_averages() if not average.is_user_annotation]
    on_device = any(average.self_device_time_total for average in averages)
    own = "self_device_time_total" if on_device else "self_cpu_time_total"
    dear = sorted(averages, key=lambda average: -getattr(average, own))[:DEAREST]
    return [(average.key, getattr(average, own) / steps / 1e3, average.count / steps) for average in dear]


def _device(profile: Any, stretches: Sequence[Span], steps: Sequence[Span]) -> tuple[float | None, dict[str, float]]:
    """Return how long the GPU was at work in a step, and for which parts: those that launched its work."""
    begin, end, count = steps[0].begin, steps[-1].end, len(steps)
    work = [event for event in profile.events() if event.device_type.name == "CUDA"]
    ran = sorted((e.time_range.start, e.time_range.end) for e in work if not e.is_user_annotation)
    if not ran:
        return None, {}
    busy, reached = 0.0, begin
    for first, last in ran:
        first, last = max(first, reached), min(last, end)
        busy, reached = busy + max(0.0, last - first), max(reached, last)
    begins = [stretch.begin for stretch in stretches]
    launched = []
    for event in profile.events():
        if event.device_type.name != "CPU" or event.is_user_annotation or not event.kernels:
            continue
        place = bisect_right(begins, event.time_range.start) - 1
        if place >= 0 and event.time_range.start < stretches[place].end:
            launched.append((stretches[place].name, float(sum(kernel.duration for kernel in event.kernels))))
    return busy / count / 1e3, {name: time / count / 1e3 for name, time in _sums(launched).items()}


def write(path: Path, found: Breakdown, facts: Mapping[str, str], trace: str) -> None:
    """Write the page: the parts of a step with their shares, the dearest operators, and what may be done about it."""
    shown = {"a step": f"{found.whole:.4g} ms", "steps measured": str(found.steps), **facts}
    if found.busy is not None:
        shown["GPU at work"] = f"{found.busy / found.whole:.1%} of the time"
    summary = "".join(f"<div><dt>{_text(label)}</dt><dd>{_text(fact)}</dd></div>" for label, fact in shown.items())
    advice = "".join(f"<p>{_text(sentence)}</p>" for sentence in advise(found))
    note = (
        f"Means of {found.steps} steps, measured while the profiler watched, which slows small operators. Every moment "
        f"is in one part only: “augment” is not counted in “data”. All of it, step by step: {trace}, for "
        "chrome://tracing or ui.perfetto.dev."
    )
    parts = [
        f"<header><h1>Where the time of a step goes</h1><dl>{summary}</dl></header>",
        f'<section><h2>Parts of a step</h2><p class="note">{_text(note)}</p>{_parts(found)}</section>',
        f"<section><h2>What may help</h2>{advice}</section>",
        f"<section><h2>The dearest operators</h2>{_operators(found)}</section>",
    ]
    write_page(path, "Where the time of a step goes", parts)


def _text(value: object) -> str:
    return html.escape(str(value))


def _bar(share: float) -> str:
    width = f"width:{max(0.0, min(1.0, share)):.1%}"
    return (
        '<td style="width:100%;min-width:120px;padding-right:0"><div style="height:12px;border-radius:2px;'
        f'background:var(--hue0);{width}"></div></td>'
    )


def _parts(found: Breakdown) -> str:
    on_device = found.busy is not None
    head = "".join(f"<th>{name}</th>" for name in ("ms", *(["ms of the GPU"] if on_device else []), "share", ""))
    rows = []
    for name, time in found.parts.items():
        gpu = f"<td>{found.device.get(name, 0.0):.2f}</td>" if on_device else ""
        share = time / found.whole
        rows.append(f"<tr><th>{_text(name)}</th><td>{time:.2f}</td>{gpu}<td>{share:.1%}</td>{_bar(share)}</tr>")
    total = f"<td>{found.busy:.2f}</td>" if on_device else ""
    rows.append(f"<tr><th>a step</th><td>{found.whole:.2f}</td>{total}<td>100%</td><td></td></tr>")
    return _table(head, rows)


def _operators(found: Breakdown) -> str:
    head = "<th>ms of its own</th><th>calls</th><th>share</th><th></th>"
    rows = [
        f"<tr><th>{_text(name[:80])}</th><td>{time:.2f}</td><td>{calls:,.4g}</td>"
        f"<td>{time / found.whole:.1%}</td>{_bar(time / found.whole)}</tr>"
        for name, time, calls in found.operators
    ]
    return _table(head, rows)


def _table(head: str, rows: Sequence[str]) -> str:
    return (
        f'<div class="scroll"><table style="width:100%"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def advise(found: Breakdown) -> list[str]:
    """Return sentences on what to do about a step's dearest parts."""
    share = {name: time / found.whole for name, time in found.parts.items()}
    idle = 0.0 if found.busy is None else 1 - found.busy / found.whole
    # What the host does while the GPU is at work costs nothing.
    waits = found.busy is None or idle > 0.1
    limit = 0.1 if found.busy is None else 0.05
    optimizers = sum(part for name, part in share.items() if name.endswith(": optimizer"))
    said = []
    if waits and share.get("data", 0.0) > limit:
        said.append(
            f"Reading and preparing pictures takes {share['data']:.0%}. Where there is a cache, that is so in the "
            "first epoch only. Resize in [[source.prepare]], where that is done once as well, or resize the files "
            "beforehand. Beside a GPU, more train.workers read while it works."
        )
    if waits and share.get("augment", 0.0) > limit:
        said.append(
            f"Augmentation takes {share['augment']:.0%}. Crops and flips cost little: resize in [[source.prepare]], "
            "and leave out the warps and changes of colour that do not help."
        )
    if optimizers > 0.2:
        said.append(
            f"The optimizers take {optimizers:.0%}, however many pictures a step has: a larger train.batch shares it."
        )
    if waits and share.get("log", 0.0) > limit:
        said.append(
            f"Logging, samples and saving take {share['log']:.0%}: raise train.log_every, sample_every or save_every. "
            "A sample, or a save, that fell into the steps measured weighs more here than in the run."
        )
    if idle > 0.1:
        said.append(f"The GPU idles {idle:.0%} of the time: a larger train.batch gives it more to do at once.")
    if not said:
        said.append(
            "The networks take nearly all of it, as they should. What is left to choose: smaller or fewer layers, "
            "smaller pictures, bf16 where the device multiplies it in hardware (train.precision), a faster machine."
        )
    return said

"""Ablations: named variants of a recipe, each trained with several seeds, measured alike and put into one table."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from i2i import build, images, recipe, train
from i2i.build import Part, Problem
from i2i.chart import bars, curves
from i2i.checkpoint import Run, read_description, slug
from i2i.compose import compose, rehearse
from i2i.contracts import Count, Natural
from i2i.errors import DivergedError, I2IError, Interrupted, UsageError, nearest
from i2i.evaluate import HeldOut, judged_by, measured, values_of
from i2i.files import read_json, write_json, writing
from i2i.recipe import Recipe
from i2i.train import Display

INPUT, TRUTH = "untranslated input", "ground truth"
"""The rows below the variants, of what a metric measures beside them."""


Histograms = Mapping[str, tuple[list[float], list[float], list[float]]]
"""By name: the edges of the bins, the shares of the translations in each, and those of the truth."""


@dataclass(frozen=True)
class Base:
    """A recipe file and what is set in it: `base`, and `set`, each as after `--set`."""

    base: Path
    set: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ablation:
    """The file of an ablation.

    base: the recipe that all variants start from, beside this file. variants: by name, what each sets, as after
    `--set`. set: what all of them set. seeds: each variant is trained with every one. rows: held-out pictures in the
    grid. scorer: a segmentation recipe, trained first; its run judges the translations (see the metric `fcn_score`).
    paper: values to stand beside the measured ones, by variant and metric. source: where these are from.
    """

    base: Path
    variants: dict[str, list[str]]
    set: list[str] = field(default_factory=list)
    seeds: list[Natural] = field(default_factory=lambda: [0])
    rows: Count = 4
    scorer: dict[str, Any] | None = None
    paper: dict[str, dict[str, float]] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table: by metric, the value of each seed; None where there is none."""

    name: str
    values: Mapping[str, Sequence[float | None]]
    paper: Mapping[str, float] = field(default_factory=dict)

    def mean(self, metric: str) -> float | None:
        """Return the mean over the seeds."""
        found = self._found(metric)
        return statistics.fmean(found) if found else None

    def spread(self, metric: str) -> float | None:
        """Return the standard deviation over the seeds, where there are two or more."""
        found = self._found(metric)
        return statistics.stdev(found) if len(found) > 1 else None

    def _found(self, metric: str) -> list[float]:
        return [value for value in self.values.get(metric, ()) if value is not None]


def read(path: Path) -> Ablation:
    """Read the file of an ablation; UsageError lists every problem."""
    text, table = recipe.read_toml(path)
    if "task" in table:
        raise UsageError(f"{path}: is a recipe, and no ablation of one: i2i train {path}.")
    problems: list[Problem] = []
    arguments = build.check(Ablation, table, (), problems)
    scorer = arguments.get("scorer")
    if scorer is not None:
        arguments["scorer"] = build.check(Base, scorer, ("scorer",), problems)
    if not problems:
        if not arguments["variants"] or not arguments.get("seeds", [0]):
            problems.append(Problem(("variants",), "name at least one variant, and one of the seeds."))
        problems += _misnamed(arguments["variants"], arguments.get("paper", {}))
        if len(set(arguments.get("seeds", []))) < len(arguments.get("seeds", [])):
            problems.append(Problem(("seeds",), "name each seed once."))
    if problems:
        raise recipe.located(path, text, problems)
    return Ablation(**arguments)


def _misnamed(variants: Mapping[str, object], paper: Mapping[str, object]) -> list[Problem]:
    """Return what is wrong with the names of variants and of a paper's rows."""
    slugs = [slug(name) for name in variants]
    problems = [
        Problem(("variants", name), "is called like another as a folder's name: rename it.")
        for name in variants
        if slugs.count(slug(name)) > 1
    ]
    problems += [
        Problem(("variants", name), "is what a row of its own is called: rename it.")
        for name in variants
        if name in (INPUT, TRUTH)
    ]
    rows = [*variants, INPUT, TRUTH]
    problems += [
        Problem(("paper", name), f"there is no such row.{nearest(name, rows)} Rows: {', '.join(rows)}.")
        for name in paper
        if name not in rows
    ]
    return problems


@dataclass(frozen=True)
class Measures:
    """What a run's metrics came to.

    values: by metric and column. histograms: of every metric that has some.
    """

    values: dict[str, dict[str, float]]
    histograms: Histograms


@dataclass(frozen=True)
class Outcome:
    """What an ablation came to. failed: by variant and seed, why there is no result of it."""

    folder: Path
    rows: list[Row]
    failed: dict[str, str]


def ablate(path: Path, *, runs: Path, settings: Sequence[str] = (), device: str = "auto", display: Display) -> Outcome:
    """Train what is missing of an ablation, measure it, and write its table, plot and grid.

    settings: more to set in every variant; `scorer.KEY=VALUE` sets a key of the scorer's recipe instead. A variant that
    diverges is told of in the outcome, and the others are done.
    """
    ablation = read(path)
    work = _Work(path, runs / slug(path.stem), runs, tuple(settings), device, display)
    plans = _plans(path, ablation, settings)
    scorer = _scorer(path, ablation, settings)
    for (name, seed), plan in plans.items():
        if not _begun(work.place(name, seed), plan) and seed == ablation.seeds[0]:
            rehearse(compose(plan))  # what would fail at the last variant fails before the first
    judge = []
    if scorer:
        work.train(work.folder / "scorer", scorer, "scorer")
        judge = [judged_by(work.folder / "scorer")]
        _try(judge, next(iter(plans.values())))
    found: dict[str, list[Measures | None]] = {name: [] for name in ablation.variants}
    failed: dict[str, str] = {}
    for number, ((name, seed), plan) in enumerate(plans.items(), start=1):
        title = f"{name}, seed {seed}"
        try:
            work.train(work.place(name, seed), plan, f"{title} ({number} of {len(plans)})")
            found[name].append(work.measure(name, seed, plan, judge))
        except DivergedError as error:
            failed[title] = str(error)
            found[name].append(None)
            display.note(f"{title}: {error}")
    rows = _rows(ablation, {name: [one.values if one else {} for one in seeds] for name, seeds in found.items()})
    histograms = {name: seeds[0].histograms for name, seeds in found.items() if seeds[0]}
    _write(work.folder, path.stem, ablation, rows, histograms)
    firsts = {name: (plans[name, ablation.seeds[0]], work.place(name, ablation.seeds[0])) for name in histograms}
    if firsts:
        _grid(work.folder / "grid.png", firsts, ablation.rows, device)
    return Outcome(work.folder, rows, failed)


def _plans(path: Path, ablation: Ablation, settings: Sequence[str]) -> dict[tuple[str, int], Recipe]:
    """Return the recipe of each variant and seed; UsageError with the problems of all variants."""
    ours = [text for text in settings if not text.strip().startswith("scorer.")]
    if any(text.partition("=")[0].strip() == "train.seed" for text in ours):
        raise UsageError(f"--set train.seed: each variant is trained with the seeds of {path}: set them there.")
    plans, problems = {}, []
    for name, chosen in ablation.variants.items():
        try:
            plan = recipe.read(path.parent / ablation.base, [*ablation.set, *chosen, *ours, "train.seed=0"])
            if plan.validation is None:
                raise UsageError(f"{plan.path}: has no [validation], and so nothing to be measured on.")
        except I2IError as error:
            problems.append(f"variant {name!r}: {error}")
            continue
        for seed in ablation.seeds:
            plans[name, seed] = replace(
                plan, train=replace(plan.train, seed=seed), overrides=(*plan.overrides[:-1], f"train.seed={seed}")
            )
    if problems:
        raise UsageError("\n".join(problems))
    return plans


def _scorer(path: Path, ablation: Ablation, settings: Sequence[str]) -> Recipe | None:
    """Return the recipe of the scorer, if there is one."""
    theirs = [text.strip().removeprefix("scorer.") for text in settings if text.strip().startswith("scorer.")]
    if ablation.scorer is None:
        if theirs:
            raise UsageError(f"--set scorer.{theirs[0]}: {path} has no [scorer].")
        return None
    base = Base(**ablation.scorer)
    return recipe.read(path.parent / base.base, [*base.set, *theirs])


def _begun(place: Path, plan: Recipe) -> bool:
    """Whether a run has been begun; UsageError when it was begun with other settings than are wanted now."""
    if not (place / "recipe.toml").is_file():
        return False
    was, wanted = read_json(place / "resolved.json"), json.loads(json.dumps(plan.resolved(), default=str))
    for key in ("task", "source", "validation", "augment", "method", "optimizer", "train"):
        if was.get(key) != wanted[key]:
            raise UsageError(
                f"{place}: was trained with another [{key}] than is wanted now: remove it, rename the variant or the "
                "ablation's file, or choose another folder with --runs."
            )
    return True


def _try(metrics: Sequence[Part], plan: Recipe) -> None:
    """Show metrics one held-out truth: one that cannot measure these pictures says so before hours of training."""
    rehearse(compose(replace(plan, metrics=(*plan.metrics, *metrics))))


@dataclass(frozen=True)
class _Work:
    """Where an ablation's runs are and how they are made."""

    file: Path
    folder: Path
    runs: Path
    settings: tuple[str, ...]
    device: str
    display: Display

    def place(self, name: str, seed: int) -> Path:
        """Return the folder of a variant's run."""
        return self.folder / f"{slug(name)}-{seed}"

    def train(self, place: Path, plan: Recipe, title: str) -> None:
        """Train one run, or go on with it; a finished one stays as it is."""
        begun = _begun(place, plan)
        if begun and Run(place).finished:
            return
        self.display.note(title)
        try:
            if begun:
                train.resume(place, device=self.device, display=self.display)
            else:
                train.start(plan, runs=place.parent, device=self.device, display=self.display, name=place.name)
        except Interrupted as error:
            words = ["i2i", "ablate", str(self.file), "--runs", str(self.runs), "--device", self.device]
            words += [word for text in self.settings for word in ("--set", text)]
            stopped = str(error).partition(" Go on:")[0]
            raise Interrupted(f"{stopped} Go on: {shlex.join(words)}", error.exit_code) from error

    def measure(self, name: str, seed: int, plan: Recipe, judge: Sequence[Part]) -> Measures:
        """Measure a run, at most once for the same model, metrics and scorer: what was found is kept beside it."""
        run = Run.open(self.place(name, seed))
        metrics = [*plan.metrics, *judge]
        wanted = {
            "model": read_description(run.model)["sha256"],
            "scorer": read_description(self.folder / "scorer" / "model")["sha256"] if judge else None,
            "metrics": json.loads(json.dumps([build.describe("metrics", part) for part in metrics], default=str)),
        }
        kept = run.path / "measures.json"
        with contextlib.suppress(I2IError, KeyError, TypeError):  # what is kept only saves time
            found = read_json(kept)
            if found["of"] == wanted:
                return Measures(found["values"], found["histograms"])
        fed = measured(HeldOut.of(run, plan, self.device), metrics)
        problems: list[str] = []
        values = values_of(fed, problems)
        for problem in dict.fromkeys(problems):
            self.display.note(f"{name}, seed {seed}: not measured: {problem}")
        drawn = [
            metric.histograms() for _, column, metric in fed if column == "translated" and hasattr(metric, "histograms")
        ]
        histograms = {key: tuple(part.tolist() for part in parts) for one in drawn for key, parts in one.items()}
        write_json(kept, {"of": wanted, "values": values, "histograms": histograms})
        return Measures(values, histograms)


def _rows(ablation: Ablation, measured: Mapping[str, Sequence[Mapping[str, Mapping[str, float]]]]) -> list[Row]:
    """Return a row for each variant, then those of the untranslated input and of the ground truth."""
    metrics = list(dict.fromkeys(metric for seeds in measured.values() for values in seeds for metric in values))
    rows = [
        Row(
            name,
            {m: [values.get(m, {}).get("translated") for values in seeds] for m in metrics},
            ablation.paper.get(name, {}),
        )
        for name, seeds in measured.items()
    ]
    first = next((values for seeds in measured.values() for values in seeds if values), {})
    for title, column in ((INPUT, "input"), (TRUTH, "truth")):
        values: dict[str, list[float | None]] = {m: [cells[column]] for m, cells in first.items() if column in cells}
        if values or title in ablation.paper:
            rows.append(Row(title, values, ablation.paper.get(title, {})))
    return rows


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Return the metrics of a table in the order in which they were measured, then those that only a paper has."""
    return list(dict.fromkeys([m for row in rows for m in row.values] + [m for row in rows for m in row.paper]))


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return a table's head and lines: mean ± standard deviation, and the paper's value where there is one."""
    metrics = columns_of(rows)
    cited = [metric for metric in metrics if any(metric in row.paper for row in rows)]
    head = [""]
    for metric in metrics:
        head += [metric, "paper"] if metric in cited else [metric]
    lines = []
    for row in rows:
        line = [row.name]
        for metric in metrics:
            mean, spread = row.mean(metric), row.spread(metric)
            line.append("" if mean is None else f"{mean:.4g}" + ("" if spread is None else f" ± {spread:.2g}"))
            if metric in cited:
                line.append(f"{row.paper[metric]:.4g}" if metric in row.paper else "")
        lines.append(line)
    return head, lines


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table as Markdown."""
    escaped = [[cell.replace("|", r"\|") for cell in row] for row in (head, *lines)]
    rows = [escaped[0], ["---", *["---:"] * (len(head) - 1)], *escaped[1:]]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _write(
    folder: Path, name: str, ablation: Ablation, rows: Sequence[Row], histograms: Mapping[str, Histograms]
) -> None:
    head, lines = table(rows)
    seeds = ", ".join(map(str, ablation.seeds))
    text = f"# {name}\n\n{markdown(head, lines)}\nMean ± standard deviation over the seeds {seeds}."
    text += f" Paper: {ablation.source}." if ablation.source else ""
    _text(folder / "table.md", f"{text}\n\n![the variants side by side](grid.png)\n\n![the values](plot.svg)\n")
    if any(histograms.values()):
        _text(
            folder / "histograms.svg",
            curves(_log_shares(histograms), unit=f"log10 of the share of pixels, seed {ablation.seeds[0]}"),
        )
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["variant", "metric", "mean", "standard deviation", "paper", *[f"seed {s}" for s in ablation.seeds]]
    )
    for row in rows:
        for metric in columns_of(rows):
            cells = [row.mean(metric), row.spread(metric), row.paper.get(metric), *row.values.get(metric, ())]
            writer.writerow([row.name, metric, *["" if cell is None else repr(cell) for cell in cells]])
    _text(folder / "table.csv", out.getvalue())
    panels = {
        metric: [(row.name, row.mean(metric), row.spread(metric), row.paper.get(metric)) for row in rows]
        for metric in columns_of(rows)
    }
    _text(folder / "plot.svg", bars(panels))


def _log_shares(histograms: Mapping[str, Histograms]) -> dict[str, tuple[list[float], dict[str, list[float]]]]:
    """Return curves of the marginal distributions, a panel an axis: each variant's and the truth, as in Fig. 7."""
    panels: dict[str, tuple[list[float], dict[str, list[float]]]] = {}
    for variant, axes in histograms.items():
        for axis, (edges, fake, real) in axes.items():
            middles = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
            _, lines = panels.setdefault(axis, (middles, {TRUTH: [math.log10(s) if s else math.nan for s in real]}))
            lines[variant] = [math.log10(share) if share else math.nan for share in fake]
    return panels


def _text(path: Path, text: str) -> None:
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _grid(path: Path, firsts: Mapping[str, tuple[Recipe, Path]], rows: int, device: str) -> None:
    """Write the variants side by side on the same held-out pictures: input, each variant, truth."""
    sheet: list[list[np.ndarray]] = []
    for plan, place in firsts.values():
        held_out = HeldOut.of(Run(place), plan, device)
        for index, (given, made, truth) in enumerate(held_out.rows(rows)):
            if index == len(sheet):
                sheet.append([given, truth])
            sheet[index].insert(-1, made)
    images.write(path, images.contact_sheet(sheet, titles=["input", *firsts, "truth"]), overwrite=True)

"""Ablations: named variants of a recipe, each trained with several seeds, measured alike and put into one table."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from i2i import build, images, recipe, train
from i2i.build import Part, Problem
from i2i.chart import bars, curves
from i2i.checkpoint import Run, load_model, slug
from i2i.compose import compose, make_samples, rebuild, rehearse
from i2i.contracts import Count, Natural
from i2i.engine import pick_device, pick_precision
from i2i.errors import Interrupted, UsageError
from i2i.evaluate import judged_by, measured, sample_row, values_of
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
    """One line of the table: by metric, the value of each seed; None where the metric has none."""

    name: str
    values: Mapping[str, Sequence[float]]
    paper: Mapping[str, float] = field(default_factory=dict)

    def mean(self, metric: str) -> float | None:
        """Return the mean over the seeds."""
        found = self.values.get(metric)
        return statistics.fmean(found) if found else None

    def spread(self, metric: str) -> float | None:
        """Return the standard deviation over the seeds, where there are two or more."""
        found = self.values.get(metric, ())
        return statistics.stdev(found) if len(found) > 1 else None


def read(path: Path) -> Ablation:
    """Read the file of an ablation; UsageError lists every problem."""
    text, table = recipe.read_toml(path)
    problems: list[Problem] = []
    arguments = build.check(Ablation, table, (), problems)
    scorer = arguments.get("scorer")
    if scorer is not None:
        arguments["scorer"] = build.check(Base, scorer, ("scorer",), problems)
    if not problems:
        if not arguments["variants"] or not arguments.get("seeds", [0]):
            problems.append(Problem(("variants",), "name at least one variant, and one of the seeds."))
        names = [slug(name) for name in arguments["variants"]]
        problems += [
            Problem(("variants", name), "is called like another as a folder's name: rename it.")
            for name in arguments["variants"]
            if names.count(slug(name)) > 1
        ]
    if problems:
        raise recipe.located(path, text, problems)
    return Ablation(**arguments)


def ablate(
    path: Path, *, runs: Path, settings: Sequence[str] = (), device: str = "auto", display: Display
) -> tuple[Path, list[Row]]:
    """Train what is missing of an ablation, measure it, and write its table, plot and grid: (their folder, the rows).

    settings: more to set in every variant; `scorer.KEY=VALUE` sets a key of the scorer's recipe instead.
    """
    ablation = read(path)
    folder = runs / slug(path.stem)
    ours = [text for text in settings if not text.strip().startswith("scorer.")]
    plans = {
        (name, seed): recipe.read(path.parent / ablation.base, [*ablation.set, *chosen, f"train.seed={seed}", *ours])
        for name, chosen in ablation.variants.items()
        for seed in ablation.seeds
    }
    scorer = None
    if ablation.scorer:
        base = Base(**ablation.scorer)
        theirs = [text.strip().removeprefix("scorer.") for text in settings if text not in ours]
        scorer = recipe.read(path.parent / base.base, [*base.set, *theirs])
    if unmeasured := next((plan for plan in plans.values() if plan.validation is None), None):
        raise UsageError(f"{unmeasured.path}: has no [validation], and so nothing to be measured on.")
    places = {key: folder / f"{slug(key[0])}-{key[1]}" for key in plans}
    for (name, seed), plan in plans.items():
        if seed == ablation.seeds[0] and not _begun(places[name, seed], plan):
            rehearse(compose(plan))  # what would fail at the last variant fails before the first
    judge = []
    if scorer:
        _train(folder / "scorer", scorer, device, display, "scorer", path)
        judge = [judged_by(folder / "scorer")]
    found: dict[str, list[Measures]] = {name: [] for name in ablation.variants}
    for number, ((name, seed), plan) in enumerate(plans.items(), start=1):
        title = f"{name}, seed {seed} ({number} of {len(plans)})"
        _train(places[name, seed], plan, device, display, title, path)
        found[name].append(_measure(Run.open(places[name, seed]), plan, judge, device))
    rows = _rows(ablation, {name: [one.values for one in seeds] for name, seeds in found.items()})
    _write(folder, path.stem, ablation, rows, {name: seeds[0].histograms for name, seeds in found.items()})
    firsts = {name: (plans[name, ablation.seeds[0]], places[name, ablation.seeds[0]]) for name in ablation.variants}
    _grid(folder / "grid.png", firsts, ablation.rows, device)
    return folder, rows


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


def _train(place: Path, plan: Recipe, device: str, display: Display, title: str, file: Path) -> None:
    """Train one run, or go on with it; a finished one stays as it is."""
    begun = _begun(place, plan)
    if begun and Run(place).finished:
        return
    display.note(title)
    try:
        if begun:
            train.resume(place, device=device, display=display)
        else:
            train.start(plan, runs=place.parent, device=device, display=display, name=place.name)
    except Interrupted as error:
        raise Interrupted(
            f"{str(error).partition('. Go on:')[0]}. Go on: i2i ablate {file}", error.exit_code
        ) from error


@dataclass(frozen=True)
class Measures:
    """What a run's metrics came to.

    values: by metric and column. histograms: of every metric that has some.
    """

    values: dict[str, dict[str, float]]
    histograms: Histograms


def _measure(run: Run, plan: Recipe, judge: Sequence[Part], device: str) -> Measures:
    """Measure a run, at most once for the same model, metrics and scorer: what was found is kept beside it."""
    metrics = [*plan.metrics, *judge]
    wanted = {
        "model": _checksum(run.path),
        "scorer": _checksum(run.path.parent / "scorer") if judge else None,
        "metrics": json.loads(json.dumps([build.describe("metrics", part) for part in metrics], default=str)),
    }
    kept = run.path / "measures.json"
    if kept.exists() and (found := read_json(kept))["of"] == wanted:
        return Measures(found["values"], found["histograms"])
    assert plan.validation is not None
    where = pick_device(device)
    task, method = rebuild(*load_model(run.model))
    precision = pick_precision(plan.train.precision, where)
    fed = measured(task, method.to(where), make_samples(plan.validation, task), metrics, where, precision)
    drawn = [
        metric.histograms() for _, column, metric in fed if column == "translated" and hasattr(metric, "histograms")
    ]
    histograms = {name: tuple(part.tolist() for part in parts) for one in drawn for name, parts in one.items()}
    write_json(kept, {"of": wanted, "values": values_of(fed), "histograms": histograms})
    return Measures(values_of(fed), histograms)


def _checksum(run: Path) -> str:
    return str(read_json(run / "model" / "model.json")["sha256"])


def _rows(ablation: Ablation, measured: Mapping[str, Sequence[Mapping[str, Mapping[str, float]]]]) -> list[Row]:
    """Return a row for each variant, then those of the untranslated input and of the ground truth."""
    metrics = list(dict.fromkeys(metric for seeds in measured.values() for values in seeds for metric in values))
    rows = [
        Row(
            name,
            {m: [values[m]["translated"] for values in seeds if m in values] for m in metrics},
            ablation.paper.get(name, {}),
        )
        for name, seeds in measured.items()
    ]
    first = next(iter(measured.values()))[0]
    for title, column in ((INPUT, "input"), (TRUTH, "truth")):
        values = {metric: [columns[column]] for metric, columns in first.items() if column in columns}
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
    rows = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
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
        _text(folder / "histograms.svg", curves(_log_shares(histograms), unit="log10 of the share of pixels"))
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
    where = pick_device(device)
    sheet: list[list[np.ndarray]] = []
    for plan, place in firsts.values():
        task, method = rebuild(*load_model(Run(place).model))
        assert plan.validation is not None
        samples = make_samples(plan.validation, task)
        precision = pick_precision(plan.train.precision, where)
        for index in range(min(rows, len(samples))):
            given, made, truth = sample_row(task, method.to(where), samples, index, where, precision)
            if index == len(sheet):
                sheet.append([given, truth])
            sheet[index].insert(-1, made)
    images.write(path, images.contact_sheet(sheet, titles=["input", *firsts, "truth"]), overwrite=True)

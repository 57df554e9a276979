"""Measures a method on held-out pictures: the translation beside the untranslated input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from i2i import build, images, recipe
from i2i.build import Part
from i2i.checkpoint import Run, load_model
from i2i.compose import make, make_samples, rebuild, shown, translate_held_out
from i2i.contracts import Images, ImageSpec, Metric, Sample, Task
from i2i.data import Samples, fixed, mix, together
from i2i.engine import pick_device, pick_precision
from i2i.errors import DataError, I2IError, UsageError

BATCH = 8


def groups(samples: Samples, device: torch.device, limit: int | None = None) -> Iterator[tuple[int, Images]]:
    """Yield held-out pictures in batches of equal size, each with the index of its first.

    Each sample is prepared with a seed that never changes.
    """
    pending: list[Sample] = []
    first = 0
    for index in range(min(len(samples), limit or len(samples))):
        sample = samples[index, mix(0, index)]
        if isinstance(sample, I2IError):
            raise sample
        other = pending and any(sample[name].shape != pending[0][name].shape for name in sample)
        if other or len(pending) == BATCH:
            yield first, together(samples, [*pending], device)
            pending, first = [], index
        pending.append(sample)
    if pending:
        yield first, together(samples, [*pending], device)


def evaluate(
    task: Task,
    method: nn.Module,
    samples: Samples,
    metrics: Sequence[Part],
    device: torch.device,
    precision: torch.dtype = torch.float32,
    limit: int | None = None,
) -> dict[str, dict[str, float]]:
    """Return {metric: {"translated": value, "input": value}} over the held-out samples.

    "input" measures the untranslated input against the truth, where both are pictures: what doing nothing would score.
    A metric may ask for "truth" in its place, or for both: the real pictures measured like the translations.
    """
    return values_of(measured(task, method, samples, metrics, device, precision, limit))


Measured = tuple[str, str, Metric]
"""A metric's name, the column of the table that it fills, and the metric, fed."""


def measured(
    task: Task,
    method: nn.Module,
    samples: Samples,
    metrics: Sequence[Part],
    device: torch.device,
    precision: torch.dtype = torch.float32,
    limit: int | None = None,
) -> list[Measured]:
    """Show the held-out samples and their translations to the metrics; return these, each once a column."""
    measures = [(name, column, make(part)) for part in metrics for name, column in _columns(part, task)]
    for first, given in groups(samples, device, limit) if measures else ():
        pictures, batch, fake = translate_held_out(task, method, given, precision, first)
        real = pictures[task.target]
        candidates = {"translated": fake, "truth": real}
        if any(column == "input" for _, column, _ in measures):
            candidates["input"] = shown(task, pictures, batch.a, real.shape[1])
        for _, column, metric in measures:
            metric.update(candidates[column], real, mask=batch.mask, images=pictures)
    return measures


def values_of(measures: Sequence[Measured], problems: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Return what metrics have come to, by metric and column.

    problems: takes up why a metric has no value (too few pictures, say), so that the others are not lost for it.
    """
    results: dict[str, dict[str, float]] = {}
    for name, column, metric in measures:
        try:
            values = _values(name, metric)
        except DataError as error:
            if problems is None:
                raise
            problems.append(str(error))
            continue
        for key, value in values.items():
            results.setdefault(key, {})[column] = value
    return results


def _columns(part: Part, task: Task) -> list[tuple[str, str]]:
    """Return a metric's name with each column of the table that it fills."""
    name = str(build.describe("metrics", part)["name"])
    beside = getattr(getattr(part, "func", part), "beside", ("input",))
    target = task.images.get(task.target) or ImageSpec(task.out_channels)
    given = task.images.get(task.inputs[0]) or ImageSpec(task.in_channels)
    # A photo is no guess at its alpha, nor at its classes.
    comparable = target.classes is None and (target.channels == 3 or given.channels == 1)
    return [(name, column) for column in ("translated", *beside) if column != "input" or comparable]


def _values(name: str, metric: Metric) -> dict[str, float]:
    if variant := getattr(metric, "variant", ""):
        name = f"{name} ({variant})"
    value = metric.compute()
    if isinstance(value, dict):
        return {f"{name}/{key}": float(one) for key, one in value.items()}
    return {name: float(value)}


def judged_by(scorer: Path) -> Part:
    """Return the metric by which a segmentation run judges translations (Isola et al. 2017, section 4.1)."""
    problems: list[build.Problem] = []
    part = build.build("metrics", {"name": "fcn_score", "scorer": str(scorer)}, ("scorer",), problems)
    if part is None:
        raise UsageError("\n".join(problem.message for problem in problems))
    return part


def evaluate_run(
    path: Path,
    overrides: Sequence[str] = (),
    device: str = "auto",
    *,
    scorer: Path | None = None,
    sheet: Path | None = None,
    rows: int = 8,
) -> dict[str, dict[str, float]]:
    """Measure a run's model with its recipe's metrics on its `[validation]`; both can be set anew by overrides.

    scorer: a segmentation run that judges the translations beside these. sheet: a picture file to be written, with
    input, output and truth of the first `rows` held-out samples.
    """
    run = Run.open(path)
    plan = recipe.parse(run.recipe, run.recipe.read_bytes(), [*run.overrides(), *overrides])
    metrics = [*plan.metrics, *([judged_by(scorer)] if scorer else [])]
    if sheet and sheet.exists():
        raise UsageError(f"--sheet {sheet}: exists already; give another name.")
    if plan.validation is None or not (metrics or sheet):
        missing = "metrics" if plan.validation else "[validation]"
        raise UsageError(f"{run.recipe}: has no {missing}; give some with --set, such as --set 'metrics=[\"psnr\"]'.")
    where = pick_device(device)
    precision = pick_precision(plan.train.precision, where)
    task, method = rebuild(*load_model(run.model))
    method, samples = method.to(where), make_samples(plan.validation, task)
    if sheet:
        pictures = [sample_row(task, method, samples, i, where, precision) for i in range(min(rows, len(samples)))]
        images.write(sheet, images.contact_sheet(pictures, titles=["input", "output", "truth"]))
    return evaluate(task, method, samples, metrics, where, precision)


def sample_row(
    task: Task,
    method: torch.nn.Module,
    samples: Samples,
    index: int,
    device: torch.device,
    precision: torch.dtype,
) -> list[np.ndarray]:
    """Return input, output and truth of one sample as pictures H × W × 3, uint8."""
    pictures, batch, fake = translate_held_out(task, method, fixed(samples, [index], device), precision, index)
    palette = getattr(task, "palette", None)
    three = (shown(task, pictures, batch.a), fake, pictures[task.target])
    return [in_colour(picture[0], palette) for picture in three]


def in_colour(picture: torch.Tensor, palette: list[tuple[int, int, int]] | None) -> np.ndarray:
    """Return a picture or class map C × H × W as H × W × 3, uint8."""
    if picture.is_floating_point():
        pixels = images.to_pixels(picture)
        return pixels if pixels.shape[2] == 3 else np.repeat(pixels[:, :, :1], 3, axis=2)
    table = np.zeros((256, 3), dtype=np.uint8)
    if palette:
        table[: len(palette)] = palette
    coloured: np.ndarray = table[picture[0].clamp(0, 255).cpu().numpy()]
    return coloured

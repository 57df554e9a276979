"""Measures a method on held-out pictures: the translation beside the untranslated input."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from i2i import build, images
from i2i.build import Part
from i2i.checkpoint import Run, load_model
from i2i.compose import blamed, check_pairs, forward, make, make_samples, rebuild, shown, with_mask
from i2i.contracts import Batch, Images, ImageSpec, Metric, Sample, Task
from i2i.data import Samples, fixed, mix, together
from i2i.engine import pick_device, pick_precision
from i2i.errors import I2IError, UsageError
from i2i.recipe import Recipe

BATCH = 8

Translated = tuple[Images, Batch, Tensor]
"""Pictures with what the task made of them, the batch, and the translations."""


@dataclass(frozen=True)
class HeldOut:
    """A method before the held-out pictures of its task; each is prepared with a seed that never changes."""

    task: Task
    method: nn.Module
    samples: Samples
    device: torch.device
    precision: torch.dtype = torch.float32

    @classmethod
    def of(cls, run: Run, plan: Recipe, device: str) -> HeldOut:
        """Put a run's model before the `[validation]` of a recipe; UsageError where it has none."""
        if plan.validation is None:
            raise UsageError(f"{run.recipe}: has no [validation], so that no picture is held out; give one with --set.")
        where = pick_device(device)
        task, method = rebuild(run.model, *load_model(run.model))
        samples = make_samples(plan.validation, task)
        precision = pick_precision(plan.train.precision, where, deep=samples.deep)
        return cls(task, method.to(where), samples, where, precision)

    @property
    def titles(self) -> tuple[str, str, str]:
        """What `rows` shows."""
        return ("input", "output", "truth" if self.samples.paired else "another")

    def translated(self, index: int) -> Translated:
        """Translate one sample."""
        return self._translated(fixed(self.samples, [index], self.device), index)

    def all_translated(self) -> Iterator[Translated]:
        """Translate all samples, in batches of equal size."""
        pending: list[Sample] = []
        first = 0
        for index in range(len(self.samples)):
            sample = self.samples[index, mix(0, index)]
            if isinstance(sample, I2IError):
                raise sample
            other = pending and any(sample[name].shape != pending[0][name].shape for name in sample)
            if other or len(pending) == BATCH:
                yield self._translated(together(self.samples, [*pending], self.device), first)
                pending, first = [], index
            pending.append(sample)
        if pending:
            yield self._translated(together(self.samples, [*pending], self.device), first)

    @torch.no_grad()
    def _translated(self, pictures: Images, first: int) -> Translated:
        """Translate pictures, of which the first has the index `first`.

        What the task draws at random for a picture (a hole) follows from its index alone, and is drawn on the CPU:
        neither the batch nor the device changes what is measured.
        """
        task, parts = self.task, []
        with torch.random.fork_rng(devices=[]):
            for i in range(len(next(iter(pictures.values())))):
                torch.manual_seed(mix(0, first + i))
                parts.append(task.batch({name: picture[i : i + 1].cpu() for name, picture in pictures.items()}))

        def joined(one: Callable[[Batch], Tensor]) -> Tensor:
            return torch.cat([one(part) for part in parts]).to(self.device)

        mask = None if parts[0].mask is None else joined(lambda part: cast(Tensor, part.mask))
        batch = Batch(joined(lambda part: part.a), joined(lambda part: part.b), mask)
        pictures = with_mask(pictures, batch)
        if task.target not in pictures:
            pictures = {**pictures, task.target: task.decode(batch.b, pictures)}
        return pictures, batch, task.decode(forward(self.method, batch.a, self.precision), pictures)

    def rows(self, count: int) -> Iterator[list[np.ndarray]]:
        """Yield input, output and truth of up to `count` samples as pictures H × W × 3, uint8.

        They are spread evenly over the samples: the first ones of a film are all alike. Where the samples are no pairs
        there is no truth, and a real picture of its kind in its place.
        """
        palette = getattr(self.task, "palette", None)
        count = min(count, len(self.samples))
        for index in (place * len(self.samples) // count for place in range(count)):
            pictures, batch, fake = self.translated(index)
            three = (shown(self.task, pictures, batch.a), fake, pictures[self.task.target])
            yield [in_colour(picture[0], palette) for picture in three]


Measured = tuple[str, str, Metric]
"""A metric's name, the column of the table that it fills, and the metric, fed."""


def measured(held_out: HeldOut, metrics: Sequence[Part], problems: list[str] | None = None) -> list[Measured]:
    """Show the held-out samples and their translations to the metrics; return these, each once a column.

    "translated" measures the translations; "input" the untranslated input against the truth, where both are pictures:
    what doing nothing would score. A metric may ask for "truth" in its place, or for both: the real pictures measured
    like the translations. problems: takes up why a metric fails, which is then left out, and no other with it.
    """
    task = held_out.task
    measures = [(name, column, make(part)) for part in metrics for name, column in _columns(part, task)]
    for pictures, batch, fake in held_out.all_translated() if measures else ():
        real = pictures[task.target]
        candidates = {"translated": fake, "truth": real}
        if any(column == "input" for _, column, _ in measures):
            candidates["input"] = shown(task, pictures, batch.a, real.shape[1])
        kept = []
        for name, column, metric in measures:
            with _noted(name, problems):
                metric.update(candidates[column], real, mask=batch.mask, images=pictures)
                kept.append((name, column, metric))
        measures = kept
    return measures


def values_of(measures: Sequence[Measured], problems: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Return what metrics have come to: {metric: {column: value}}.

    problems: takes up why a metric has no value (too few pictures, say), so that the others are not lost for it.
    """
    results: dict[str, dict[str, float]] = {}
    for name, column, metric in measures:
        with _noted(name, problems):
            for key, value in _values(name, metric).items():
                results.setdefault(key, {})[column] = value
    return results


@contextlib.contextmanager
def _noted(name: str, problems: list[str] | None) -> Iterator[None]:
    """Make what a metric raises an error that names it, and go on where there are `problems` to take it up."""
    try:
        with blamed(f"metric {name}"):
            yield
    except I2IError as error:
        if problems is None:
            raise
        problems.append(str(error))


def _columns(part: Part, task: Task) -> list[tuple[str, str]]:
    """Return a metric's name with each column of the table that it fills."""
    name = str(build.describe("metrics", part)["name"])
    beside = getattr(build.base(part), "beside", ("input",))
    target = task.images.get(task.target) or ImageSpec(task.out_channels)
    given = task.images.get(task.inputs[0]) or ImageSpec(task.in_channels)
    # A photo is no guess at its alpha, nor at its classes.
    alike = target.channels == given.channels and given.classes is None
    comparable = target.classes is None and (target.channels == 3 or given.channels == 1 or alike)
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
    input, output and truth of `rows` held-out samples, spread evenly over them.
    """
    run = Run.open(path)
    plan = run.plan(overrides)
    metrics = [*plan.metrics, *([judged_by(scorer)] if scorer else [])]
    if sheet and sheet.exists():
        raise UsageError(f"--sheet {sheet}: exists already; give another name.")
    if not (metrics or sheet):
        raise UsageError(f"{run.recipe}: has no metrics; give some with --set, such as --set 'metrics=[\"psnr\"]'.")
    held_out = HeldOut.of(run, plan, device)
    check_pairs(plan, held_out.task, None, held_out.samples)
    if sheet:
        images.write(sheet, images.contact_sheet([*held_out.rows(rows)], titles=held_out.titles))
    return values_of(measured(held_out, metrics))


def parts_shown(specs: Mapping[str, ImageSpec]) -> str:
    """Return words for what `in_colour` shows of pictures that are neither grey nor RGB; "" where there are none."""
    names: dict[int, list[str]] = {}
    for name, spec in specs.items():
        if spec.channels not in (1, 3):
            names.setdefault(spec.channels, []).append(name)
    return "; ".join(
        f"{' and '.join(those)}: channel{'s 1 to 3' if count > 3 else ' 1'} of {count}"
        for count, those in names.items()
    )


def in_colour(picture: torch.Tensor, palette: list[tuple[int, int, int]] | None) -> np.ndarray:
    """Return a picture or class map C × H × W as H × W × 3, uint8: of many channels the first three, of two one."""
    if picture.is_floating_point():
        pixels = images.to_pixels(picture[: 3 if len(picture) >= 3 else 1])
        return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)
    table = np.zeros((256, 3), dtype=np.uint8)
    if palette:
        table[: len(palette)] = palette
    coloured: np.ndarray = table[picture[0].clamp(0, 255).cpu().numpy()]
    return coloured

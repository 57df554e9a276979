"""Measures a method on held-out pictures: the translation beside the untranslated input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from i2i import build, recipe
from i2i.build import Part
from i2i.checkpoint import Run, load_model
from i2i.compose import forward, make, make_samples, rebuild, shown, with_mask
from i2i.contracts import Images, Metric, Task
from i2i.data import Samples, fixed, mix
from i2i.engine import pick_device
from i2i.errors import I2IError, UsageError

BATCH = 8


def groups(samples: Samples, device: torch.device, limit: int | None = None) -> Iterator[Images]:
    """Yield held-out pictures in batches of equal size, each sample prepared with a seed that never changes."""
    count = min(len(samples), limit or len(samples))
    pending: list[int] = []
    size: tuple[int, ...] = ()
    for index in range(count):
        sample = samples[index, mix(0, index)]
        if isinstance(sample, I2IError):
            raise sample
        shape = next(iter(sample.values())).shape
        if pending and (shape != size or len(pending) == BATCH):
            yield fixed(samples, pending, device)
            pending = []
        pending.append(index)
        size = shape
    if pending:
        yield fixed(samples, pending, device)


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
    """
    if not metrics:
        return {}
    names = [str(build.describe("metrics", part)["name"]) for part in metrics]
    translated: list[Metric] = [make(part) for part in metrics]
    untouched: list[Metric] = [make(part) for part in metrics]
    comparable = task.images[task.target].classes is None
    for pictures in groups(samples, device, limit):
        # The hole of an inpainting task is drawn: from the same seed at each evaluation.
        torch.manual_seed(0)
        batch = task.batch(pictures)
        fake = task.decode(forward(method, batch.a, precision), with_mask(pictures, batch))
        real = pictures[task.target]
        for metric in translated:
            metric.update(fake, real)
        if comparable:
            before = shown(batch.a, real.shape[1])
            for metric in untouched:
                metric.update(before, real)
    results = {}
    for name, ours, nothing in zip(names, translated, untouched, strict=True):
        results[name] = {"translated": float(ours.compute())}
        if comparable:
            results[name]["input"] = float(nothing.compute())
    return results


def evaluate_run(path: Path, overrides: Sequence[str] = (), device: str = "auto") -> dict[str, dict[str, float]]:
    """Measure a run's model with its recipe's metrics on its `[validation]`; both can be set anew by overrides."""
    run = Run.open(path)
    plan = recipe.parse(run.recipe, run.recipe.read_bytes(), [*run.overrides(), *overrides])
    if plan.validation is None or not plan.metrics:
        missing = "metrics" if plan.validation else "[validation]"
        raise UsageError(f"{run.recipe}: has no {missing}; give some with --set, such as --set 'metrics=[\"psnr\"]'.")
    where = pick_device(device)
    task, method = rebuild(*load_model(run.model))
    return evaluate(task, method.to(where), make_samples(plan.validation, task), plan.metrics, where)

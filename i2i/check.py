"""What a recipe will build, without training it: parameters, shapes, the memory of a step."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import torch

from i2i.compose import Pipeline, rehearse, takes_channels_last
from i2i.contracts import Batch
from i2i.engine import choices, pick_device, players
from i2i.errors import I2IError, told
from i2i.memory import Count, copy_without_numbers, cut, free_memory, without_numbers
from i2i.products import lay_out
from i2i.train import cache_of, length, readied


@dataclass(frozen=True)
class Summary:
    """The outcome of `i2i check`, in the order in which it is printed."""

    recipe: str
    samples: int
    held_out: int
    steps: int
    batch: int
    pictures: dict[str, tuple[int, ...]]
    """What the source gives, prepared: C x H x W."""
    input: tuple[int, ...]
    target: tuple[int, ...]
    """What the networks see, augmented and encoded: N x C x H x W."""
    parameters: dict[str, int]
    memory: int | None
    """Bytes of tensors at the peak of a step, everything counted that a training holds. None: could not be told."""
    unknown: str
    """Why the memory is not known: what a step without numbers raised, which a part may not be made for."""
    free: int | None
    """Bytes that are free on the device; None where it does not tell."""
    remedies: dict[str, int]
    """Where the memory is more than what is free: settings that need less, and their bytes."""
    device: str
    chosen: dict[str, str]
    """What the recipe's `auto` values come to on this device, and why."""


def summarise(pipeline: Pipeline, device: str = "auto") -> Summary:
    """Compose one batch on the CPU and measure a step without computing it."""
    settings, samples = pipeline.recipe.train, pipeline.samples
    where = pick_device(device)
    raw, batch = rehearse(pipeline, where)
    memory, unknown, free = None, "", free_memory(where)
    remedies: dict[str, int] = {}
    try:
        memory = step_memory(pipeline, batch, settings.batch, where)
        if free is not None and memory > free:
            remedies = _remedies(pipeline, batch, where)
    except I2IError:
        raise
    except Exception as error:
        # Any stranger's code may run here, on tensors that it was not written for: a figure is not worth a failure.
        unknown = told(cut(error))
    return Summary(
        recipe=str(pipeline.recipe.path),
        samples=len(samples),
        held_out=len(pipeline.held_out) if pipeline.held_out else 0,
        steps=length(pipeline.recipe, len(samples)),
        batch=settings.batch,
        pictures={name: tuple(picture.shape[1:]) for name, picture in raw.items()},
        input=(settings.batch, *batch.a.shape[1:]),
        target=(settings.batch, *batch.b.shape[1:]),
        parameters={name: sum(p.numel() for p in weights) for name, weights in players(pipeline.method).items()},
        memory=memory,
        unknown=unknown,
        free=free,
        remedies=remedies,
        device=where.type,
        chosen={**choices(settings, where, deep=samples.deep), "cache": str(cache_of(pipeline, where))},
    )


def step_memory(pipeline: Pipeline, like: Batch, size: int, device: torch.device) -> int:
    """Return the bytes that tensors take at the peak of a training step on a device, which need not be there.

    The step is the engine's own, with its precision, its backward passes, Adam's moments and the moving average, on
    tensors without numbers. like: a batch of any size, which gives the shapes. Not counted: what single operations of
    the libraries take and give back, and on a CPU what the C library keeps in holes between the tensors. Without CUDA,
    a step on "cuda" is taken in float32: torch then has no autocast for it.
    """
    count = Count()
    layout = torch.channels_last if takes_channels_last(pipeline, device) else torch.contiguous_format
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), without_numbers(), count:
        warnings.simplefilter("ignore")  # of a pointer that deepcopy asks a tensor without numbers for
        method = copy_without_numbers(pipeline.method, device)
        lay_out(method, layout)
        training = readied(replace(pipeline, method=method), device, layout)
        training.method.train()
        batch = like.map(
            lambda x: torch.empty((size, *x.shape[1:]), dtype=x.dtype, device=device, memory_format=layout)
        )
        for player, weights in training.players.items():  # Adam makes its moments in its first step
            for weight in weights:
                weight.grad = torch.empty_like(weight)
            training.move(player)
        count.most = count.alive
        training.work(batch)
        return count.most


def _remedies(pipeline: Pipeline, like: Batch, device: torch.device) -> dict[str, int]:
    """Return the settings that need less memory, alone and together, and how much each needs."""
    settings = pipeline.recipe.train
    half = max(1, settings.batch // 2)
    found = {}
    for again, size in dict.fromkeys([(True, settings.batch), (settings.activation_checkpointing, half), (True, half)]):
        if (again, size) == (settings.activation_checkpointing, settings.batch):
            continue
        plan = replace(pipeline.recipe, train=replace(settings, activation_checkpointing=again, batch=size))
        changed = [f"--set train.batch={size}"] if size != settings.batch else []
        changed += ["--set train.activation_checkpointing=true"] if again != settings.activation_checkpointing else []
        found[" ".join(changed)] = step_memory(replace(pipeline, recipe=plan), like, size, device)
    return found

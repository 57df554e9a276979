"""What a recipe will build, without training it: parameters, shapes, the memory of a step."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import torch

from i2i.compose import Pipeline, rehearse
from i2i.contracts import Batch
from i2i.engine import _follow, _turns, pick_device, pick_precision, players
from i2i.errors import I2IError, told
from i2i.memory import Count, copy_without_numbers, free_memory, without_numbers
from i2i.train import length, readied


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
    """Bytes of one step: weights, gradients, optimizer, moving average, activations. None: could not be estimated."""
    unknown: str
    """Why the memory is not known: what a step on torch's meta device raised, which a part may not be made for."""
    device: str
    precision: str


def summarise(pipeline: Pipeline, device: str = "auto") -> Summary:
    """Compose one batch on the CPU and measure a step without computing it."""
    settings, samples = pipeline.recipe.train, pipeline.samples
    where = pick_device(device)
    raw, batch = rehearse(pipeline, where)
    precision = pick_precision(settings.precision, where)
    try:
        memory, unknown = step_memory(pipeline, batch, settings.batch, precision), ""
    except I2IError:
        raise
    except Exception as error:
        # Any stranger's code may run here, on a device that it was not written for: an estimate is not worth a failure.
        memory, unknown = None, told(error)
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
        device=where.type,
        precision=str(precision).removeprefix("torch."),
    )


def step_memory(pipeline: Pipeline, like: Batch, size: int, device: torch.device) -> int:
    """Return the bytes that tensors take at the peak of a training step on a device, which need not be there.

    The step is the engine's own, with its precision, its backward passes, Adam's moments and the moving average, on
    tensors without numbers. like: a batch of any size, which gives the shapes. Not counted: what single operations of
    the libraries take and give back, and on a CPU what the C library keeps in holes between the tensors. Without CUDA,
    a step on "cuda" is taken in float32: torch then has no autocast for it.
    """
    count = Count()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), without_numbers(), count:
        warnings.simplefilter("ignore")  # of a pointer that deepcopy asks a tensor without numbers for
        training = readied(replace(pipeline, method=copy_without_numbers(pipeline.method, device)), device)
        training.method.train()
        batch = Batch(
            *(None if x is None else x.new_empty((size, *x.shape[1:]), device=device) for x in (like.a, like.b, like.mask))  # type: ignore[arg-type]
        )
        for player, optimizer in training.optimizers.items():  # Adam makes its moments in its first step
            for weight in training.players[player]:
                weight.grad = torch.empty_like(weight)
            optimizer.step()
            optimizer.zero_grad()
        count.most = count.alive
        _turns(training, batch)
        _follow(training)
        return count.most

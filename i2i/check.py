"""What a recipe will build, without training it: parameters, shapes, the memory of a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from i2i.compose import Pipeline, on_meta, rehearse
from i2i.contracts import Batch
from i2i.engine import GENERATOR, pick_device, pick_precision, players
from i2i.errors import I2IError, told
from i2i.train import length


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


def step_memory(pipeline: Pipeline, like: Batch, size: int, precision: torch.dtype) -> int:
    """Estimate the bytes of a step by running it on torch's `meta` device, where tensors have shapes but no numbers.

    Counted: what autograd saves until each turn's backward, and 16 bytes a weight (weight, gradient, two moments; of a
    frozen one 4), 4 more for the moving average. Not counted: the libraries' workspaces.
    """
    method, activations = _saved(pipeline, like, size)
    if precision != torch.float32:
        activations //= 2
    weights = sum(p.numel() * (16 if p.requires_grad else 4) for p in method.parameters())
    averaged = sum(p.numel() for p in getattr(method, GENERATOR).parameters()) if pipeline.recipe.train.ema else 0
    return weights + 4 * averaged + activations


def _saved(pipeline: Pipeline, like: Batch, size: int) -> tuple[nn.Module, int]:
    """Return the method without numbers, and the most bytes that autograd holds at the end of a turn."""
    own: set[int] = set()
    kept: dict[int, Any] = {}
    most = 0

    def pack(tensor: Tensor) -> Tensor:
        if id(tensor) not in own:
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        for method in on_meta(pipeline, like, size):
            own = own or {id(p) for p in method.parameters()}
            most = max(most, sum(storage.nbytes() for storage in kept.values()))
            kept.clear()
    return method, most

"""A task that has a network learn the difference, registered in pyproject.toml."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from i2i.contracts import Batch, Images, ImageSpec
from torch import Tensor


class Placeholder:
    """Translate picture `a` into picture `b` by what is to be added to it (Kim et al. 2016, section 3).

    Both pictures are N × 3 × H × W in [0, 1]. In network space a is in [-1, 1], and so is what stands for b: b - a.
    """

    paired = True
    target = "b"
    in_channels = 3
    out_channels = 3

    def __init__(self) -> None:
        self.images: Mapping[str, ImageSpec] = {"a": ImageSpec(), "b": ImageSpec()}
        self.inputs: tuple[str, ...] = ("a",)

    def batch(self, images: Images) -> Batch:
        """Make the training batch: the input, and the difference to be learnt."""
        return Batch(self.encode(images), images["b"] - images["a"])

    def encode(self, images: Images) -> Tensor:
        """Bring picture a into network space, N × 3 × H × W."""
        return images["a"] * 2 - 1

    def activate(self, output: Tensor) -> Tensor:
        """Bound raw scores by tanh, in float32."""
        return torch.tanh(output.float())

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Add the difference to picture a, N × 3 × H × W in [0, 1]."""
        return (images["a"] + output).clamp(0, 1)

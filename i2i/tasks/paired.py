"""The task of translating any picture into another that shows the same scene."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from i2i.contracts import Batch, Count, ImageSpec

if TYPE_CHECKING:
    from i2i.contracts import Images


class Paired:
    """Translate picture `a` into picture `b`; both are in [0, 1], and in network space in [-1, 1].

    in_channels, out_channels: the channels of a and of b, 1 for grey and 3 for RGB.
    """

    paired = True

    def __init__(self, *, in_channels: Count = 3, out_channels: Count = 3) -> None:
        self.images: Mapping[str, ImageSpec] = {"a": ImageSpec(in_channels), "b": ImageSpec(out_channels)}
        self.inputs: tuple[str, ...] = ("a",)
        self.target = "b"
        self.in_channels = in_channels
        self.out_channels = out_channels

    def batch(self, images: Images) -> Batch:
        """Bring both pictures into network space."""
        return Batch(self.encode(images), images["b"] * 2 - 1)

    def encode(self, images: Images) -> Tensor:
        """Bring picture a into network space, N × in_channels × H × W."""
        return images["a"] * 2 - 1

    def activate(self, output: Tensor) -> Tensor:
        """Bound raw scores by tanh, in float32."""
        return torch.tanh(output.float())

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Bring a translation back to [0, 1], N × out_channels × H × W."""
        return ((output + 1) / 2).clamp(0, 1)

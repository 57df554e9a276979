"""The task of translating any picture into another that shows the same scene."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from i2i.contracts import Batch, Bits, Count, ImageSpec

if TYPE_CHECKING:
    from i2i.contracts import Images


class Paired:
    """Translate picture `a` into picture `b`; both are in [0, 1], and in network space in [-1, 1].

    channels: 1 for grey, 3 for RGB, 4 with alpha, or as many as the files (TIFF, .npy) have. bits: 8, 16, or 32 for
    float; by default each file's own. range: the stored values that are 0 and 1 in picture space, as in [0, 4095]. All
    three hold for both pictures; in_channels, in_bits and in_range say otherwise of a, and out_channels, out_bits and
    out_range of b. A translation is written as b is said to be, or with the depth of its input.
    """

    paired = True

    def __init__(
        self,
        *,
        channels: Count = 3,
        bits: Bits | None = None,
        range: tuple[float, float] | None = None,
        in_channels: Count | None = None,
        in_bits: Bits | None = None,
        in_range: tuple[float, float] | None = None,
        out_channels: Count | None = None,
        out_bits: Bits | None = None,
        out_range: tuple[float, float] | None = None,
    ) -> None:
        a = ImageSpec(in_channels or channels, bits=in_bits or bits, range=in_range or range)
        b = ImageSpec(out_channels or channels, bits=out_bits or bits, range=out_range or range)
        self.images: Mapping[str, ImageSpec] = {"a": a, "b": b}
        self.inputs: tuple[str, ...] = ("a",)
        self.target = "b"
        self.in_channels = a.channels
        self.out_channels = b.channels

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

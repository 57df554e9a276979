"""The task of translating between aerial photographs and maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from i2i.contracts import Batch, ImageSpec

if TYPE_CHECKING:
    from i2i.contracts import Images


class Maps:
    """Translate the picture `aerial` into the picture `map`, or the other way; both RGB in [0, 1].

    to: what is made, "map" out of aerial photographs or "aerial" photographs out of maps.
    """

    paired = True
    in_channels = 3
    out_channels = 3

    def __init__(self, *, to: Literal["map", "aerial"] = "map") -> None:
        self.images: Mapping[str, ImageSpec] = {"aerial": ImageSpec(3), "map": ImageSpec(3)}
        self.inputs: tuple[str, ...] = ("aerial" if to == "map" else "map",)
        self.target: str = to

    def batch(self, images: Images) -> Batch:
        """Bring both pictures into network space."""
        return Batch(self.encode(images), images[self.target] * 2 - 1)

    def encode(self, images: Images) -> Tensor:
        """Bring the input into network space, N × 3 × H × W in [-1, 1]."""
        return images[self.inputs[0]] * 2 - 1

    def activate(self, output: Tensor) -> Tensor:
        """Bound raw scores by tanh, in float32."""
        return torch.tanh(output.float())

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Bring a translation back to [0, 1], N × 3 × H × W."""
        return ((output + 1) / 2).clamp(0, 1)
